"""Refusals of everybody, whatever the number: where we stood before, and when to go back there.

Cuts end at a wall: below it something is answered. Where four follow each other and nothing
that was sent after one of them is answered, it was no wall but an outage, and it says
nothing about how many are borne once it is over. To feel the way up from one slot as after a
wall would take a hundred times as long as the outage did.

The way chosen: what stood before the first of those cuts is remembered, and the wall that was
known then. As soon as as many as may be in flight, and at least four, have been answered
without a refusal in between, the limit goes back there by one slot for each answer, for as long
as the slots are used: it doubles with every latency, and what is sent blindly is never more than
what was just borne. What is refused on the way is cut to where it happened, what has no answer in
time to half of that, and a fifth of what was to be regained is given up: so a wall that has
fallen meanwhile is met a few times, not stormed, and while most are refused nothing is tried at
all. A throttle (429) on the way ends it: what was borne and is throttled is a rate that was used
up, and the pacer's to learn.

Pure. Nothing here cuts or waits; `plan.limiter` does.
"""

from typing import Final

CUTS: Final = 4  # in a row without an answer: an outage
ANSWERS: Final = 4  # in a row without a refusal, at least: it is over
_GIVEN_UP: Final = 0.8  # of what was to be regained, at each refusal on the way


class Outage:
    """The outage that one limiter is in, if it is. Not shared between threads."""

    __slots__ = ("_answers", "_cuts", "_from_start", "_is_known", "_wall", "stood")

    def __init__(self) -> None:
        self._cuts = 0  # in a row without an answer
        self._answers = 0  # since the last cut, to what was sent after it
        self._is_known = False
        self.stood = 0.0  # the limit that was borne before the first of those cuts ...
        self._wall: float | None = None  # ... the wall that was known ...
        self._from_start = False  # ... and whether that was still being looked for

    @property
    def is_watched(self) -> bool:
        """True from the first cut until what follows has shown what it was."""
        return self._cuts > 0 or self._is_known

    @property
    def wall(self) -> float | None:
        """The wall that was known before it, or was met on the way back."""
        return self._wall

    @property
    def broke_off_start(self) -> bool:
        """True when it came before any limit was found."""
        return self._from_start and self._wall is None

    def cut(self, borne: float, wall: float | None, *, from_start: bool) -> None:
        """The limit is cut for a refusal; `borne` is what was borne until now."""
        if not self.is_watched:
            self.stood, self._wall, self._from_start = borne, wall, from_start
        self._cuts += 1
        self._answers = 0
        self._is_known |= self._cuts >= CUTS

    def answered(self, limit: int) -> bool:
        """Something sent after the last cut was answered. True when it is time to go back."""
        self._cuts = 0
        self._answers += 1
        return self._is_known and self._answers >= max(ANSWERS, limit)

    def interrupted(self, on_the_way: float | None) -> None:
        """Something else is wrong: what was answered before it counts no more.

        On the way back so many were in flight, and were too many.
        """
        self._answers = 0
        if on_the_way is not None:
            self.refused_on_the_way(on_the_way, is_rate=False)

    def refused_on_the_way(self, flying: float, *, is_rate: bool) -> None:
        """So many were too many again: there is less to be regained, or of a rate nothing."""
        self._answers = 0
        self._wall = flying
        self.stood *= _GIVEN_UP
        if is_rate or self.stood <= flying:
            self.forget()

    def forget(self) -> None:
        """It is over, or was none."""
        self._cuts = self._answers = 0
        self._is_known = False
