"""When a row is asked again, and when it is given up.

Problem: a failed attempt may say something about the row (a bad request),
about the backend (it stumbled, it is full), about our account (no money, no
credential) or about nothing at all (no connection). One counter and one loop
treat these alike and either fail rows for an outage or pay for hopeless ones.

The way chosen: only attempts that tried the row use up its attempts. Being
throttled never counts. Being refused by a full backend counts after a grace of
20 replies. No connection never counts: the row was not even heard. Quota,
credential and route are never a row's end: the row waits and the backend's
breaker is parked. Permanent and content faults end the row at once. A broken
200 gets as many tries as a 500: with two retries only, a backend that breaks
one reply in a hundred loses a row in a million, and we promise to lose none.

Waits have full jitter, so that rows which failed together do not return
together, and are never shorter than what the backend asked for.

Nothing here reads a clock or throws dice: `roll` is uniform in [0, 1).
"""

from typing import Final, TypeAlias

import msgspec

from nightkiln.core.fault import COUNTED, PARKING, Fault, FaultClass

_NEVER_AGAIN: Final = frozenset(
    {
        FaultClass.PERMANENT,
        FaultClass.CONTENT,
        FaultClass.POISON,
        FaultClass.INCOMPLETE,
        FaultClass.EXPIRED,
        FaultClass.CANCELLED,
    }
)


class Retry(msgspec.Struct, frozen=True):
    """Ask the row again after this many seconds."""

    delay_s: float
    parks: bool = False  # the fault is our account's: park the backend, keep the row


class GiveUp(msgspec.Struct, frozen=True):
    """The fault becomes the row's answer."""

    exhausted: bool  # True: attempts are used up; False: asking again cannot help


Decision: TypeAlias = Retry | GiveUp


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how soon rows are asked again."""

    max_attempts: int = 5
    overload_grace: int = 20  # refusals of a full backend that do not count
    base_s: float = 0.5
    cap_s: float = 60.0

    def is_counted(self, fault: Fault, *, overloads: int = 0) -> bool:
        """True when this attempt uses up one of the row's; `overloads` includes this reply."""
        if fault.unreachable or fault.kind not in COUNTED:
            return False
        return fault.kind is not FaultClass.OVERLOAD or overloads > self.overload_grace

    def decide(
        self, fault: Fault, *, counted: int, overloads: int, roll: float, throttles: int = 0
    ) -> Decision:
        """What follows from a fault.

        `counted`, `overloads` and `throttles` are the row's attempts so far by
        kind, this one included.
        """
        if fault.kind in _NEVER_AGAIN:
            return GiveUp(False)
        if self.is_counted(fault, overloads=overloads) and counted >= self.max_attempts:
            return GiveUp(True)
        tries = {FaultClass.OVERLOAD: overloads, FaultClass.THROTTLE: throttles}
        earlier = max(0, tries.get(fault.kind, counted) - 1)
        backoff = roll * min(self.base_s * 2.0 ** min(earlier, 30), self.cap_s)
        return Retry(max(backoff, fault.retry_after_s or 0.0), fault.kind in PARKING)
