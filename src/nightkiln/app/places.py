"""Who has the places to run in, and who gets the next one.

A roster runs only so many jobs at once. Whose turn a free place is says
`plan/schedule.py`, as it does for slots at a backend: first the class, then the
project that holds fewest, then the oldest job; so a project with a thousand jobs
leaves the others theirs. Jobs run for hours, so a project that has nothing running
does not wait for one of them to end: a run of whoever holds most makes room. It is
stopped as for a restart, keeps its answers, and goes on when it is its turn.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

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

    def makes_room(self) -> JobId | None:
        """A run that is to make room for another project: the youngest of who holds most."""
        mine: dict[ProjectId, list[JobId]] = {}
        for job, standing in self._held.items():
            mine.setdefault(standing.claim.project, []).append(job)
        most = max(mine.values(), key=len, default=[])
        if len(most) < _MANY:
            return None
        self._leaving.add(most[-1])
        return most[-1]

    def without(self, queues: Iterable[Queue]) -> list[Queue]:
        """Of these queues, those of projects that hold no place."""
        there = {one.claim.project for one in self._held.values()}
        return [one for one in queues if one.project not in there]

    @contextmanager
    def turns(self, queues: Iterable[Queue]) -> Iterator["Turns"]:
        """The turns of those that wait, for a while."""
        turns = Turns(self._schedule, self._held, queues)
        try:
            yield turns
        finally:
            turns.end()


class Turns:
    """Whose turn it is, of several queues. Made by `Places.turns`."""

    def __init__(
        self, schedule: Schedule, held: dict[JobId, Standing], queues: Iterable[Queue]
    ) -> None:
        self._schedule = schedule
        self._held = held
        self._waiting = {self._joined(queue): queue for queue in queues}

    def _joined(self, queue: Queue) -> Standing:
        return self._schedule.join(Claim(project=queue.project, priority=queue.priority))

    def next(self) -> Queue | None:
        """Whose turn it is."""
        if not self._waiting:
            return None
        return self._waiting[self._schedule.first(self._waiting.keys())]

    def takes(self, queue: Queue, job: JobId) -> None:
        """A job of that queue takes a place."""
        standing = self._standing(queue)
        del self._waiting[standing]
        self._schedule.took(standing)
        self._held[job] = standing
        self._waiting[self._joined(queue)] = queue

    def drop(self, queue: Queue) -> None:
        """Nobody of that queue can take one now."""
        standing = self._standing(queue)
        del self._waiting[standing]
        self._schedule.leave(standing)

    def _standing(self, queue: Queue) -> Standing:
        return next(one for one, other in self._waiting.items() if other is queue)

    def end(self) -> None:
        """Nobody waits any more."""
        for standing in self._waiting:
            self._schedule.leave(standing)
        self._waiting.clear()
