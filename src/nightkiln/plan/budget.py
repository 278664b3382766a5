"""How much a job may still spend: money, tokens and time, with what is under way counted in.

The problem: what a request costs is known when its answer is there, and by then
hundreds of others are under way. A cap that is looked at afterwards is crossed
by all of them together.

The way chosen: every request reserves what it may cost when it leaves, and
settles when it ends. It may leave only if what is spent, what is reserved and its
own reservation stay within the cap. What to reserve is the most that a request
of this job has used so far (of earlier runs: what one has used on average), with
room to spare; before anything has come back, only a few requests may be under way, and
as long as all of those are lost, no more leave. A request that may have been billed without
an answer stays reserved for good.

What an earlier run or a trial spent lies in journals until its chunks are
committed, and journals are read one by one as chunks are opened. Until then the last
word of that run stands for them: it counts as spent, and what is
found in a journal is taken off it. Pure: `now` is epoch seconds and comes in.
"""

from typing import Final

import msgspec

from nightkiln.core.answer import Attempt
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import Live
from nightkiln.core.usage import NANOS_PER_USD, Totals, Usage

SCOUTS: Final = 4  # requests under way while nobody knows what one costs
_NOTHING: Final = Usage()
_MARGIN: Final = 1.25  # over the most that one request has used


class Caps(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a job may use in all its generations; None: no cap."""

    cost_usd: float | None = None
    tokens: int | None = None  # in and out
    until: float | None = None  # epoch seconds; no request leaves later

    def under(self, newer: "Caps") -> "Caps":
        """These caps, but for those that are said anew."""
        said = msgspec.structs.asdict(newer)
        fresh = {name: cap for name, cap in said.items() if cap is not None}
        return msgspec.structs.replace(self, **fresh)


class Budget:
    """One run's account of a job's caps. Not shared between threads."""

    __slots__ = (
        "_caps",
        "_cost",
        "_in_flight",
        "_kept",
        "_lost",
        "_most_cost",
        "_most_tokens",
        "_tokens",
        "_unseen_cost",
        "_unseen_tokens",
    )

    def __init__(self, caps: Caps, spent: Totals, *, unseen: Totals | None = None) -> None:
        self._caps = caps
        self._cost = float(spent.cost_nanos)
        self._tokens = spent.input_tokens + spent.output_tokens
        self._in_flight = 0
        self._kept = spent.maybe_billed  # requests that may have been billed and never ended
        self._lost = 0  # of them, those of this run
        # Spent by earlier runs, in journals that nobody has read yet.
        self._unseen_cost = 0.0 if unseen is None else float(unseen.cost_nanos)
        self._unseen_tokens = 0 if unseen is None else unseen.input_tokens + unseen.output_tokens
        # Of one request, as far as is known: what those of earlier runs used, one with another.
        asked = max(1, spent.attempts)
        self._most_cost = spent.cost_nanos / asked  # nano-dollars
        self._most_tokens = -(-self._tokens // asked) if spent.attempts else 0

    def may_send(self, now: float) -> bool:
        """True if one more request stays within every cap, whatever those under way cost."""
        return not self.reason(now)

    def reason(self, now: float) -> str:
        """Which cap the next request might cross; empty when none."""
        caps, after = self._caps, self._in_flight + self._kept + 1
        if caps.until is not None and now >= caps.until:
            return "the deadline has come"
        if caps.cost_usd is None and caps.tokens is None:
            return ""
        if not self._most_tokens and self._in_flight + self._lost >= SCOUTS:
            return self._unknown()
        if caps.cost_usd is not None:
            cap, cost = caps.cost_usd * NANOS_PER_USD, self._cost + self._unseen_cost
            if cost >= cap or cost + after * _MARGIN * self._most_cost > cap:
                return f"${cost / NANOS_PER_USD:.4f} of ${caps.cost_usd:g} are spent"
        if caps.tokens is not None:
            tokens = self._tokens + self._unseen_tokens
            reserved = after * _MARGIN * self._most_tokens
            if tokens >= caps.tokens or tokens + reserved > caps.tokens:
                return f"{tokens:,} of {caps.tokens:,} tokens are used"
        return ""

    def _unknown(self) -> str:
        """Why nothing goes while nobody knows what a request costs."""
        if self._in_flight:
            return "waiting for the first answers, to know what one costs"
        return (
            f"{self._lost} requests may have been billed and brought no answer,"
            " so what one costs is unknown"
        )

    def sent(self) -> None:
        """A request leaves."""
        self._in_flight += 1

    def had(self, attempt: Attempt) -> None:
        """An attempt of an earlier run, which no sum counts yet."""
        if attempt.fault is not None and attempt.fault.kind is FaultClass.AMBIGUOUS:
            self._kept += 1
            return
        self._in_flight += 1
        self.ended(attempt.usage, attempt.cost_usd)
        tokens, cost = _used(attempt.usage, attempt.cost_usd)
        self._unseen_tokens = max(0, self._unseen_tokens - tokens)
        self._unseen_cost = max(0.0, self._unseen_cost - cost)

    def had_all(self) -> None:
        """Every journal has been read: nothing is unseen."""
        self._unseen_tokens, self._unseen_cost = 0, 0.0

    def ended(self, usage: Usage, cost_usd: float | None) -> None:
        """A request has come back, having used this."""
        self._in_flight -= 1
        tokens, cost = _used(usage, cost_usd)
        self._tokens += tokens
        self._cost += cost
        self._most_tokens = max(self._most_tokens, tokens)
        self._most_cost = max(self._most_cost, cost)

    def failed(self, fault: Fault) -> None:
        """A request ended in a fault: what may have been billed all the same stays reserved."""
        if fault.kind is FaultClass.AMBIGUOUS:
            self.lost()
        else:
            self.ended(_NOTHING, None)

    def lost(self) -> None:
        """A request has ended without an answer and may have been billed."""
        self._in_flight -= 1
        self._kept += 1
        self._lost += 1


def _used(usage: Usage, cost_usd: float | None) -> tuple[int, float]:
    """Tokens, and nano-dollars as far as they are known."""
    return usage.input_tokens + usage.output_tokens, (cost_usd or 0.0) * NANOS_PER_USD


def unseen_of(counted: Totals, live: Live | None) -> Totals:
    """What a job's last run told of and no part holds yet, so that its totals do not count it."""
    if live is None:
        return Totals()
    more = live.totals.minus(counted)
    return Totals(
        input_tokens=max(0, more.input_tokens),
        output_tokens=max(0, more.output_tokens),
        cost_nanos=max(0, more.cost_nanos),
    )
