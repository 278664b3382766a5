"""May the next request go to this backend now, and if not, when? The limiter and the pacer as one.

Both hear of refusals, and one refusal must not be punished twice. As long as many are
in flight a refusal is the limiter's: whether the backend counts requests or
slots, fewer in flight are fewer refusals. Where only a few may be in flight, one
more or less is too coarse, and a number that was borne and is refused later is
a rate: there the pacer learns it, and from then on refusals are the pacer's until
it forgets. Refusals that are noise are nobody's: `plan.refusals` lets them pass, and what
they did until that was clear is undone. And of rates only throttles (429) tell: a
backend that says it is overloaded means its slots. What becomes of a probe is nobody's
either: one request alone says whether the backend is there, not how many it bears.
Pure: `now` is in seconds.
"""

import math
from typing import Final

from nightkiln.core.engineload import EngineLoad
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.limits import Limits
from nightkiln.core.usage import Usage
from nightkiln.plan.hold import REFUSED
from nightkiln.plan.limiter import AdaptiveLimit, Phase
from nightkiln.plan.pacing import Pacer
from nightkiln.plan.refusals import Verdict

FEW: Final = 32  # in flight: fewer are too coarse to meet a rate with
TIMEOUT: Final = "timeout"  # the code of a fault that was our own patience's end
_JUDGED: Final = frozenset({FaultClass.PERMANENT, FaultClass.CONTENT, FaultClass.INCOMPLETE})


class Gate:
    """One backend's gate. Not shared between threads."""

    __slots__ = ("limiter", "pacer")

    def __init__(self, limiter: AdaptiveLimit, pacer: Pacer | None = None) -> None:
        self.limiter = limiter
        self.pacer = pacer or Pacer()

    def ready_at(self, now: float, in_flight: int) -> float:
        """When the next request may go: at most `now` at once, infinity not before a reply."""
        if in_flight >= self.limiter.limit:
            return math.inf
        return self.pacer.ready_at(now)

    @property
    def held_until(self) -> float:
        """Until when the backend has asked everybody to wait; row by row it asks for more."""
        return self.limiter.refusals.hold.until

    def sent(self, now: float, in_flight: int) -> int:
        """A request leaves; `in_flight` counts it. The stamp comes back with its end."""
        self.pacer.sent()
        return self.limiter.sent(now, in_flight)

    def answered(self, now: float, stamp: int, *, latency_s: float, usage: Usage) -> None:
        """A request brought an answer."""
        self.limiter.refusals.hold.answered(stamp)
        self.pacer.answered(usage.input_tokens + usage.output_tokens)
        self.limiter.answered(now, stamp, latency_s=latency_s, tokens=usage.output_tokens)

    def told(self, now: float, limits: Limits) -> None:
        """A reply told of rate limits."""
        self.pacer.told(now, limits)

    def loaded(self, now: float, load: EngineLoad, *, in_flight: int) -> None:
        """The engine told how busy it is."""
        self.limiter.loaded(now, load, in_flight=in_flight)

    def faulted(
        self, now: float, stamp: int, fault: Fault, *, in_flight: int, latency_s: float
    ) -> None:
        """A request ended in a fault; `in_flight` does not count it any more."""
        if self.limiter.is_held(stamp) or self.limiter.phase is Phase.START:
            self.limiter.refusals.hold.asked(now, stamp, fault)  # a trial takes itself back
        if fault.kind in REFUSED:
            self._refused(now, stamp, fault.kind, in_flight)
            self.limiter.refusals.hold.refused(now, stamp, fault, sent=self.limiter.last)
        elif fault.kind is FaultClass.AMBIGUOUS and fault.code == TIMEOUT:
            self.limiter.timed_out(now, stamp)
        elif fault.kind in _JUDGED:
            self.limiter.refusals.hold.answered(stamp)
            self.limiter.answered(now, stamp, latency_s=latency_s)

    def probed(self, now: float, stamp: int, fault: Fault) -> None:
        """A request ended in a fault while only probes went: it says nothing of how many."""
        hold = self.limiter.refusals.hold
        hold.asked(now, stamp, fault)
        if fault.kind in _JUDGED:
            hold.answered(stamp)
        elif fault.kind in REFUSED:
            hold.refused(now, stamp, fault, sent=self.limiter.last)

    def _refused(self, now: float, stamp: int, kind: FaultClass, in_flight: int) -> None:
        limiter, pacer = self.limiter, self.pacer
        rate = pacer.learnt if kind is FaultClass.THROTTLE else None
        level = None if pacer.is_rough else rate
        if rate is None and limiter.is_held(stamp):
            level = float(min(limiter.limit, in_flight + 1))
        verdict = limiter.refusals.refused(kind, stamp, level, by_rate=rate is not None)
        if verdict is Verdict.NOISE:
            began_at = limiter.refusals.began_at(kind)
            if rate is None:
                limiter.restore(now, began_at)
            else:
                pacer.forget()
                limiter.relax(now, FEW)
        elif verdict is Verdict.EDGE or verdict is Verdict.DOUBTED:
            if rate is not None:
                pacer.throttled(now)
                return
            throttled = kind is FaultClass.THROTTLE
            was_borne = limiter.refused(now, stamp, in_flight=in_flight, throttled=throttled)
            teaches = verdict is Verdict.EDGE and throttled and was_borne
            if teaches and limiter.limit < FEW and pacer.throttled(now):
                limiter.relax(now, FEW)
