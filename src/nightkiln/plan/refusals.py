"""What refusals mean: a wall, a rate, an outage, or nothing at all.

The problem: the limiter takes a refusal (429, 503, 529) for the edge of what a
backend bears, and the pacer for the edge of a rate. Some backends refuse for no
such reason: behind a balancer one replica of many is restarting, and one request
in a hundred gets a 503, however few are in flight. Who cuts at each of those is
soon at almost nothing, for no cut can end what no number has caused.

The way chosen is to look at what a cut brings. Cutting is an experiment: below a
wall, or below a rate, refusals vanish; in an outage nearly all are refused; but
refusals that are noise go on at the same share. So only those are judged that came
while a level was *held*, never those of a climb that looks for the edge. Requests have
numbers, and between two that were refused lies a gap of so many that were not. (To
count replies instead would mislead: refusals come back sooner than answers.) When the
level has fallen well below where the refusals began, further than their share could
explain by any edge, and still they come, and come evenly, not some at a time as an
edge that is met again and again brings them, they are noise:

* until that is clear nothing is cut any more, and no rate is learnt from them;
* then what was cut is given back, to where the refusals began;
* and from then on about twice their share is let pass. A bucket holds what may pass: each
  request puts a little in, each refusal takes one out, and one that finds it
  empty is a refusal as any other. So a wall under noise is still found, a few
  refusals later, and an outage still cuts after as many;
* the share is followed, though not far above what was proven, and so is forgotten as the
  gaps grow.

Throttles (429) and overloads (503, 529) are counted apart: 503s that are noise say
nothing about a wall of 429s.

Pure: no clock; `now` is in seconds. Nothing here sends, cuts or waits.
"""

import enum
import math
from collections import deque
from typing import Final

from nightkiln.core.fault import FaultClass
from nightkiln.plan.hold import REFUSED, Hold

MOST_NOISE: Final = 0.12  # of the replies: more than this is never noise
LEAST_NOISE: Final = 0.0002  # less than this does no harm
_BELOW: Final = 0.85  # of the level where they began: no edge refuses MOST_NOISE there any more
_BELOW_RATE: Final = 0.7  # the same, of a learnt rate: it is raised past its edge all the time
_ENOUGH: Final = 5  # refusals in all, to judge ...
_ENOUGH_BELOW: Final = 3  # ... and of them so far down
_KEPT: Final = 32  # refusals whose gaps are remembered
_SHORT: Final = 1 / 8  # of the average: of gaps that chance makes, one in eight is as short ...
_SHORT_MOST: Final = 1 / 3  # ... and hardly ever so many
_LUCK: Final = 6  # requests that chance may take from a few gaps
_SOME: Final = 4  # requests before a refusal: that level was borne, if only for a while
_PASSES: Final = 2.0  # times the share of noise
_PASSES_BY_RATE: Final = 1.3  # a rate a little too high is refused a little, and never shows more
_ROOM: Final = 10.0  # refusals that may pass in a row: chance brings 10 in one of 20,000 cases
_FOLLOWED: Final = 50  # refusals over which the share is averaged
_RISES: Final = 1.5  # times what was proven: higher only by proving it again


class Verdict(enum.Enum):
    """What a refusal is taken for."""

    EDGE = "of a wall, a rate or an outage: cut"
    DOUBTED = "perhaps noise: cut, and see"
    AWAITED = "perhaps noise, and cut enough to see"
    NOISE = "proven noise: give back what was cut"
    PASSED = "noise, as was to be expected"


class Noise:
    """Refusals of one kind at one backend: those held against it, and those let pass."""

    __slots__ = ("_allowed", "_by_rate", "_gap", "_gaps", "_last", "_proven")

    def __init__(self) -> None:
        self._gaps: deque[tuple[float, int]] = deque(maxlen=_KEPT)  # level, not refused before
        self._by_rate = False  # what the levels are
        self._last: int | None = None  # the number of the request that was refused last
        self._proven = 0.0  # share
        self._gap = math.inf  # the average, since it was proven
        self._allowed = 0.0

    @property
    def share(self) -> float:
        """The share of requests whose refusal is taken for noise."""
        most = self._proven if self._by_rate else _RISES * self._proven
        return min(most, 1 / (1 + self._gap))

    @property
    def top(self) -> float:
        """The highest level that bore some requests before one was refused."""
        return max((level for level, gap in self._gaps if gap >= _SOME), default=0.0)

    def passes(self, number: int, level: float | None, *, by_rate: bool) -> bool:
        """One more was refused: take it down, and is it among those that are let pass?"""
        gap = None if self._last is None else max(0, abs(number - self._last) - 1)
        self._last = number
        if gap is None:
            return False
        if level is not None:
            self._take_down(gap, level, by_rate=by_rate)
        passes = _PASSES_BY_RATE if self._by_rate else _PASSES
        self._allowed = min(_ROOM, self._allowed + passes * self.share * (gap + 1))
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def _take_down(self, gap: int, level: float, *, by_rate: bool) -> None:
        if by_rate is not self._by_rate or gap * LEAST_NOISE > 1:
            self._gaps.clear()
            self._by_rate = by_rate
        self._gaps.append((level, gap))
        if self._proven:
            self._gap += (gap - self._gap) / _FOLLOWED
            if self._gap * LEAST_NOISE > 1:
                self._proven = self._allowed = 0.0

    def verdict(self) -> Verdict:
        """What the refusals counted so far are, in sight of where they have gone on."""
        if not self._gaps:
            return Verdict.EDGE
        low = (_BELOW_RATE if self._by_rate else _BELOW) * self.top
        below = [gap for level, gap in self._gaps if level <= low]
        gaps = [gap for _, gap in self._gaps]
        if not (_may_be_noise(gaps) and (not below or _may_be_noise(below))):
            return Verdict.EDGE
        if self._gaps[-1][0] > low:
            return Verdict.DOUBTED
        is_enough = len(gaps) >= _ENOUGH and len(below) >= _ENOUGH_BELOW
        return Verdict.NOISE if is_enough else Verdict.AWAITED

    def prove(self) -> float:
        """Take them for noise from now on; the level at which they began."""
        self._proven = _share_of([gap for _, gap in self._gaps])
        self._gap = 1 / self._proven - 1
        self._allowed = _ROOM
        top = self.top
        self._gaps.clear()
        return top


def _share_of(gaps: list[int]) -> float:
    return len(gaps) / (len(gaps) + sum(gaps))


def _may_be_noise(gaps: list[int]) -> bool:
    borne = sum(gaps)
    short = _SHORT * borne / len(gaps)
    are_even = sum(gap <= short for gap in gaps) <= max(1.0, _SHORT_MOST * len(gaps))
    return are_even and borne + _LUCK >= len(gaps) * (1 / MOST_NOISE - 1)


class Refusals:
    """All refusals of one backend, by kind. Not shared between threads."""

    __slots__ = ("_kinds", "hold")

    def __init__(self) -> None:
        self.hold = Hold()
        self._kinds = {kind: Noise() for kind in REFUSED}

    def share(self, kind: FaultClass) -> float:
        """The share of requests whose refusal of this kind is taken for noise."""
        return self._kinds[kind].share

    def refused(
        self, kind: FaultClass, number: int, level: float | None, *, by_rate: bool = False
    ) -> Verdict:
        """The request of this number was refused: what is that taken for?

        `level` is what was held when it was sent: requests in flight or, `by_rate`, a
        learnt rate; None where none was held.
        """
        noise = self._kinds[kind]
        if noise.passes(number, level, by_rate=by_rate):
            return Verdict.PASSED
        return Verdict.EDGE if level is None else noise.verdict()

    def began_at(self, kind: FaultClass) -> float:
        """What is proven to be noise is taken for it from now on; the level to go back to."""
        return self._kinds[kind].prove()
