"""Which of several jobs takes the next free slot at one backend.

The problem: ten jobs want the same backend. First come, first served lets a job
of a million rows keep somebody waiting who only tries fifty; strict priority
lets the small jobs of a busy day starve the large one of the night; and an equal
share for every job makes the project with nine jobs nine times as important as
the one with a single job.

The way chosen is max-min fairness on the slots that are held: whoever holds
least, for its weight, goes first. Nobody has a reserved share, so what one does not
want the others have; and as a slot comes back with every answer, a job
that is new has its share within about one latency. The question is asked
three times, from the top down:

* *Class.* Prototypes (priority 0) weigh seven, production (1) weighs one: so
  prototypes start at once, and production still keeps an eighth, and never
  less than one slot where there are two.
* *Project.* All weigh the same, however many jobs each has.
* *Job.* By its weight.

*Who is even* is common, above all where there are fewer slots than jobs, and
there "who holds least" decides nothing: everybody who wants holds none. Turns do:
each share has a time of its own that goes on by 1/weight with every slot it
takes, and the one furthest behind goes first. Whoever was away
begins at the time of the last turn, so nobody saves up turns. One slot alone is
thereby handed round, seven turns to one between the classes. So no one that
wants a slot waits for ever: while it holds none, nobody who holds any goes first, and
those that hold none either take turns.

*A deadline* is worth the slots that it needs: rows left, times seconds for
one, over seconds left. A job that holds fewer goes before the others, whatever its
class; but all slots taken in this way together are at most as many as the rest
hold, while the rest want any. So a deadline nobody can meet costs others half. Such a
slot is nobody's share: else the other jobs of its class and project would pay for it
until they had none.

A decision looks at every job that wants a slot, once, and at nobody else; sums are
kept as slots come and go. With one job there is nothing to decide. Pure.
"""

from collections import deque
from collections.abc import Collection
from typing import Final

import msgspec

from nightkiln.core.ids import DEFAULT_PROJECT, ProjectId

PROTOTYPE: Final = 0
PRODUCTION: Final = 1
PROTOTYPE_WEIGHT: Final = 7.0  # to one of production
IN_TIME: Final = 1.2  # of the slots that a deadline needs: what is measured is not exact


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a job says for itself where it shares a backend with others."""

    project: ProjectId = DEFAULT_PROJECT
    priority: int = PROTOTYPE  # 0: somebody waits for it; 1: it has time
    weight: float = 1.0  # among the jobs of its project
    until: float | None = None  # epoch seconds; when it has to be done


def slots_for(rows: int, *, took_s: float, left_s: float) -> float:
    """How many slots answer so many rows in the time that is left; 0 when it is over."""
    return IN_TIME * rows * took_s / left_s if left_s > 0 else 0.0


class Share:
    """A class, a project or a job among its likes: what it holds, and whose turn it is."""

    __slots__ = ("_above", "_at", "_before", "_number", "held", "jobs", "key", "now", "weight")

    def __init__(self, above: "Share | None" = None, *, weight: float = 1.0, number: int = 0):
        self.held = 0  # slots
        self.jobs = 0  # below it
        self.weight = weight
        self.now = 0.0  # the time of the last turn among those below
        self._above = above
        self._number = number  # nobody is quite even
        self._at = 0.0 if above is None else above.now  # its own time
        self._before = self._at  # the same, before its last turn
        self.key = (0.0, self._at, number)  # the least goes first

    def took(self, slots: int = 1) -> None:
        """It takes a slot, or had some before anybody asked."""
        self.held += slots
        if self._above is not None:
            self._before = self._at
            self._above.now = max(self._above.now, self._at)
            self._at = self._above.now + 1.0 / self.weight
        self._measure()

    def gave(self, slots: int = 1) -> None:
        """It gives a slot back."""
        self.held -= slots
        self._measure()

    def unused(self) -> None:
        """It gives a slot back that it never used: that was no turn."""
        self._at = self._before
        self.gave()

    def _measure(self) -> None:
        self.key = (self.held / self.weight, self._at, self._number)


class Standing:
    """A job at a backend: what it holds there, and what it needs. Made by `Schedule.join`."""

    __slots__ = ("claim", "kind", "needs", "own", "pressed", "project", "taken")

    def __init__(self, claim: Claim, kind: Share, project: Share, own: Share) -> None:
        self.claim = claim
        self.needs = 0.0  # slots, to meet its deadline
        self.pressed = 0  # of the slots it holds, those taken for its deadline ...
        self.taken: deque[bool] = deque()  # ... and which those are; the oldest come back first
        self.kind, self.project, self.own = kind, project, own

    @property
    def held(self) -> int:
        """Slots it holds."""
        return self.own.held + self.pressed


class Schedule:
    """The jobs at one backend. Not shared between threads."""

    def __init__(self) -> None:
        self.held = 0  # slots, by all of them
        self._top = Share()
        self._kinds: dict[int, Share] = {}
        self._projects: dict[tuple[int, ProjectId], Share] = {}
        self._halves = Share()
        self._late = Share(self._halves, number=0)
        self._rest = Share(self._halves, number=1)
        self._number = 0

    def join(self, claim: Claim, *, holding: int = 0) -> Standing:
        """A job comes, with slots that it took while it was alone."""
        kind = self._kinds.get(claim.priority)
        if kind is None:
            weight = PROTOTYPE_WEIGHT if claim.priority == PROTOTYPE else 1.0
            kind = Share(self._top, weight=weight, number=claim.priority)
            self._kinds[claim.priority] = kind
        where = (claim.priority, claim.project)
        project = self._projects.get(where)
        self._number += 1
        if project is None:
            project = self._projects[where] = Share(kind, number=self._number)
        standing = Standing(
            claim, kind, project, Share(project, weight=claim.weight, number=self._number)
        )
        for share in (kind, project):
            share.jobs += 1
        if holding:
            self.held += holding
            for share in (self._rest, kind, project, standing.own):
                share.took(holding)
        return standing

    def leave(self, standing: Standing) -> None:
        """A job goes, and what it still holds is free."""
        while standing.held:
            self.gave(standing)
        for share in (standing.kind, standing.project):
            share.jobs -= 1
        claim = standing.claim
        if not standing.project.jobs:
            self._projects.pop((claim.priority, claim.project), None)
        if not standing.kind.jobs:
            self._kinds.pop(claim.priority, None)

    def took(self, standing: Standing) -> None:
        """A job takes a slot."""
        self.held += 1
        if standing.needs or standing.taken:
            is_late = standing.needs > standing.held and self._late.key < self._rest.key
            standing.taken.append(is_late)
            if is_late:
                standing.pressed += 1
                self._late.took()
                return
        self._rest.took()
        standing.kind.took()
        standing.project.took()
        standing.own.took()

    def gave(self, standing: Standing) -> None:
        """A job gives a slot back."""
        self.held -= 1
        if standing.taken and standing.taken.popleft():
            standing.pressed -= 1
            self._late.gave()
            return
        self._rest.gave()
        standing.kind.gave()
        standing.project.gave()
        standing.own.gave()

    def unused(self, standing: Standing) -> None:
        """A job gives back the slot it took last, and had no use for."""
        self.held -= 1
        if standing.taken and standing.taken.pop():
            standing.pressed -= 1
            self._late.unused()
            return
        for share in (self._rest, standing.kind, standing.project, standing.own):
            share.unused()

    def first(self, wanting: Collection[Standing]) -> Standing:
        """Who takes the next slot, of those that want one; there is at least one."""
        late = [one for one in wanting if one.needs and one.needs > one.held]
        if late and (len(late) == len(wanting) or self._late.key < self._rest.key):
            return min(late, key=_lateness)
        return min(wanting, key=_order)


def _order(one: Standing) -> tuple[object, ...]:
    # The key of a class is the same for all its jobs, so comparing in this order asks from the top.
    return one.kind.key, one.project.key, one.own.key


def _lateness(one: Standing) -> tuple[object, ...]:
    return one.held / one.needs, one.own.key
