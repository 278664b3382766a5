"""Until when nobody goes to a backend that refuses: because it said so, or for no answer at all.

`Retry-After` always holds the row that was refused. Whether it holds everybody is a
question of how the others fare: the share of refusals among the latest requests is kept.
One throttle among hundreds of good answers is that row's matter; where a quarter of all is
throttled, or where most are told that the backend is full, it is meant for all. What is
refused because the limiter tries more, or was sent before its last cut, does not count: less
is asked already. Of the first few requests one refusal is a large share and still only one, so
alone it holds everybody for thirty seconds at most, whatever it says. And what was sent after the
last refusal and is answered may show that the share was smaller: then nobody is held any more.

Where nothing is said, a backend that refuses everybody would be asked all night, as fast as
refusals come back. So once some looks in a row were refused, and nothing that was sent
after the one before was answered, we look more and more rarely: after a quarter of the time
that it has lasted, thirty seconds at most. So an end is seen late by no more than a quarter of
the trouble, and the first answer ends it. Who is refused together with us must not come back
together with us: the last digits of the moment are dice enough for that.

Pure: no clock; `now` is in seconds. Nothing here sends or waits.
"""

from typing import Final

from nightkiln.core.fault import Fault, FaultClass

REFUSED: Final = frozenset({FaultClass.THROTTLE, FaultClass.OVERLOAD})
THROTTLED: Final = 0.25  # of the latest requests: a throttle holds everybody
OVERLOADED: Final = 0.5  # of them: so does a backend that is full
LONGEST_S: Final = 30.0
VAIN: Final = 8  # looks: a wall that has fallen far is found in fewer
_FADES: Final = 1 - 1 / 32  # looks back over about as many requests
_KNOWN: Final = 8  # requests, before an overload may hold everybody
_SEVERAL: Final = 1.5  # refusals, faded: less than this is one of them
_MOST: Final = 0.5  # of what was sent since the first of them has to be refused
_SHARE: Final = 0.25  # of the time that all were refused
_LEAST_S: Final = 0.02


class Hold:
    """Until when everybody waits who would go to one backend. Not shared between threads."""

    __slots__ = (
        "_all",
        "_asked",
        "_backs_off",
        "_began",
        "_first",
        "_from",
        "_last",
        "_mark",
        "_refused",
        "_vain",
    )

    def __init__(self) -> None:
        self._asked = 0.0  # for a wait, until then
        self._from = THROTTLED  # the share of refusals that this wait was for
        self._last = 0
        self._refused = 0.0  # fades with each request
        self._backs_off = 0.0  # of our own accord, until then
        self._vain = 0  # looks in a row that were refused
        self._began = 0.0  # the first of them
        self._first = 0  # what was sent before them
        self._all = 0  # refusals since then
        self._mark = 0  # what was sent up to here says nothing of the last one

    @property
    def until(self) -> float:
        """Until when nobody goes."""
        return max(self._asked, self._backs_off)

    def asked(self, now: float, number: int, fault: Fault) -> None:
        """The request of this number ended in a fault: if it asks for a wait, whom does it hold?"""
        wait_s = fault.retry_after_s or 0.0
        if fault.kind not in REFUSED and not (wait_s and fault.kind is FaultClass.TRANSIENT):
            return
        self._refused = 1 + self._refused * _FADES ** max(1, abs(number - self._last))
        self._last = number
        is_throttle = fault.kind is FaultClass.THROTTLE
        share = THROTTLED if is_throttle else OVERLOADED
        if self._refused >= share * _known(number) and (is_throttle or number >= _KNOWN):
            wait_s = wait_s if self._refused >= _SEVERAL else min(wait_s, LONGEST_S)
            self._asked, self._from = max(self._asked, now + wait_s), share

    def refused(self, now: float, number: int, fault: Fault, *, sent: int) -> None:
        """The request of this number was refused, and `sent` is the number of the last one."""
        if not self._vain:
            self._began, self._first, self._all = now, number - 1, 0
        self._all += 1
        if self._all < _MOST * (number - self._first):
            self._vain = 0  # the others are still being answered
        elif not self._vain or number > self._mark:
            self._look(now, fault, sent)

    def _look(self, now: float, fault: Fault, sent: int) -> None:
        self._vain += 1
        self._mark = sent
        if self._vain > VAIN and not fault.retry_after_s:
            wait_s = min(LONGEST_S, max(_LEAST_S, _SHARE * (now - self._began)))
            self._backs_off = now + wait_s * (0.5 + 0.5 * _roll(now))

    def answered(self, number: int) -> None:
        """The request of this number was answered: if it was the look, the refusals are over."""
        if self._asked and number > self._last:
            refused = self._refused * _FADES ** (number - self._last)
            if refused < self._from * _known(number):
                self._asked = 0.0
        if self._vain and number > self._mark:
            self._vain, self._backs_off = 0, 0.0


def _known(number: int) -> float:
    """How many requests are looked back over, faded, when this is the last."""
    return (1 - _FADES**number) / (1 - _FADES)


def _roll(now: float) -> float:
    """What chance would say at this moment, in [0, 1)."""
    return now * 1e6 * 0.618033988749895 % 1.0
