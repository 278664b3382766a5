"""Who has the places to run in, and who gets the next one.

A roster runs only so many jobs at once. Whose turn a free place is says
`plan/schedule.py`, as it does for slots at a backend: first the class, then the
project that holds fewest, then the oldest job; so a project with a thousand jobs
leaves the others theirs. Where there are more projects than places most of them hold
none, and turns decide; so a turn is remembered for as long as its project wants any.

Jobs run for hours, so a project that has nothing running does not wait for one of
them to end: a run of whoever holds most makes room. It is stopped as for a restart,
keeps its answers, and goes on when it is its turn. The place is owed to the project
it was made for: by its turn alone whoever made room might have it back at once, and
would be stopped again, for ever.
"""

from collections.abc import Iterable

from nightkiln.core.ids import JobId, ProjectId
from nightkiln.plan.schedule import Claim, Schedule, Standing
from nightkiln.store.backlog import Queue

_MANY = 2  # runs of a project, of which one may be asked to make room


class Places:
    """The places of one roster. Not shared between threads."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._schedule = Schedule()
        self._held: dict[JobId, Standing] = {}  # the oldest run first
        self._leaving: set[JobId] = set()  # they make room
        self._owed: ProjectId | None = None  # for whom they make it
        self._waiting: dict[Queue, Standing] = {}  # they want jobs run
        self._able: set[Queue] = set()  # of these, those that may have one to begin now

    @property
    def room(self) -> int:
        """How many runs may begin."""
        return self._at_once - len(self._held)

    @property
    def waits_for_room(self) -> bool:
        """True while somebody is about to make room."""
        return bool(self._leaving)

    def left(self, job: JobId) -> None:
        """A run has ended. One that never had a place is fine."""
        self._leaving.discard(job)
        if (standing := self._held.pop(job, None)) is not None:
            self._schedule.leave(standing)

    def makes_room(self, project: ProjectId) -> JobId | None:
        """A run that is to make room for another project: the youngest of who holds most."""
        mine: dict[ProjectId, list[JobId]] = {}
        for job, standing in self._held.items():
            mine.setdefault(standing.claim.project, []).append(job)
        most = max(mine.values(), key=len, default=[])
        if len(most) < _MANY:
            return None
        self._leaving.add(most[-1])
        self._owed = project
        return most[-1]

    def without(self) -> list[Queue]:
        """Of the queues that want jobs run, those of projects that hold no place."""
        there = {one.claim.project for one in self._held.values()}
        return [one for one in self._waiting if one.project not in there]

    def wanted_by(self, queues: Iterable[Queue]) -> None:
        """Who wants jobs run now. Whoever did before keeps its turn."""
        self._able = set(now := dict.fromkeys(queues))
        for queue in [one for one in self._waiting if one not in self._able]:
            self._schedule.leave(self._waiting.pop(queue))
        for queue in now:
            if queue not in self._waiting:
                self._waiting[queue] = self._joined(queue)

    def next(self) -> Queue | None:
        """Whose turn it is; None when nobody is left who can take a place now."""
        if not self._able:
            return None
        owed = [queue for queue in self._able if queue.project == self._owed]
        if not owed:
            self._owed = None  # it wants none any more
        among = {self._waiting[queue]: queue for queue in owed or self._able}
        return among[self._schedule.first(among.keys())]

    def takes(self, queue: Queue, job: JobId) -> None:
        """A job of that queue takes a place."""
        standing = self._waiting[queue]
        self._schedule.took(standing)
        self._held[job] = standing
        self._waiting[queue] = self._joined(queue)
        if queue.project == self._owed:
            self._owed = None

    def drop(self, queue: Queue) -> None:
        """Nobody of that queue can take one now. It keeps its turn."""
        self._able.discard(queue)

    def _joined(self, queue: Queue) -> Standing:
        return self._schedule.join(Claim(project=queue.project, priority=queue.priority))
