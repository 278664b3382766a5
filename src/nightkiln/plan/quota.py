"""How many retries a backend is worth right now.

Problem: attempts per row bound the cost of a bad row, not of a bad hour. When
a backend fails everything, every row's five attempts multiply its load by five
at the moment it can bear it least, and multiply the bill.

The way chosen is the bucket of AWS clients, with larger gains: retries draw from
a store which successes fill, and one that succeeds gives its cost back besides.
While nearly all is well, retries are almost free; in an outage the store is
empty after some tens of retries and the traffic falls to that of first tries.
With a gain g the store holds against a share f of faults while
g (1 - f) >= 14 f, even when nothing but retries is left: a third, at g = 7.
A row that finds the store empty waits; it is never failed for it. So that
waiting always ends, a trickle refills the store with time.

Time comes in as `now`; going backwards adds nothing.
"""

from typing import Final

from nightkiln.core.fault import Fault, FaultClass

CAPACITY: Final = 500.0
RETRY_COST: Final = 14.0
OVERLOAD_COST: Final = 5.0
CLEAN_GAIN: Final = 7.0  # with 1, a steady third of faults would empty the store for good
TRICKLE_PER_S: Final = 1.0

_ROUNDING: Final = 1e-3  # epoch seconds carry microseconds; a wait must not end just short


def cost_of(fault: Fault) -> float:
    """What a retry after this fault takes from the store.

    A throttle takes nothing: the backend itself says when to come back, and no
    rate limit is an outage.
    """
    if fault.kind is FaultClass.THROTTLE:
        return 0.0
    return OVERLOAD_COST if fault.kind is FaultClass.OVERLOAD else RETRY_COST


class RetryQuota:
    """One backend's store of retries. Not shared between threads."""

    __slots__ = ("_at", "_level")

    def __init__(self) -> None:
        self._level = CAPACITY
        self._at: float | None = None

    def try_take(self, fault: Fault, now: float) -> bool:
        """Take what a retry costs, or say that it must wait."""
        cost = cost_of(fault)
        if self._refilled(now) + _ROUNDING < cost:
            return False
        self._level = max(0.0, self._level - cost)
        return True

    def on_ok(self, now: float, retried_after: Fault | None = None) -> None:
        """A success: a clean one gives a little, one after a retry gives its cost back."""
        gain = CLEAN_GAIN + (0.0 if retried_after is None else cost_of(retried_after))
        self._level = min(CAPACITY, self._refilled(now) + gain)

    def next_at(self, fault: Fault, now: float) -> float:
        """When a retry after this fault can be had by waiting alone."""
        return now + max(0.0, cost_of(fault) - self._refilled(now)) / TRICKLE_PER_S

    def level(self, now: float) -> float:
        """What is in the store."""
        return self._refilled(now)

    def _refilled(self, now: float) -> float:
        if self._at is None or now > self._at:
            passed = 0.0 if self._at is None else now - self._at
            self._level = min(CAPACITY, self._level + passed * TRICKLE_PER_S)
            self._at = now
        return self._level
