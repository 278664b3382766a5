"""How many requests and tokens a second may leave, for one credential and model.

The problem: a rate limit is no concurrency limit. A provider that allows 6,000
requests a minute answers the first thousand at once and then refuses; whoever
takes refusals for a full server cuts what is in flight to nothing and still sends
too much. Some providers say in headers what is left, some say nothing, and two
programs may share one credential.

The way chosen: one bucket per thing that is limited. What the headers or the
user say is taken as it is: the bucket refills at the limit's rate and is set to
what the provider says is left where that is less. Where nothing is said, the
rate is learnt from refusals: while an empty bucket refuses, what still gets
through is exactly its refill, so the answers a second between two refusals are
the rate. It is raised a little every second without a refusal and measured anew
with the next. Whether a refusal is for a rate or for a wall only matters where few
are in flight, where one more or less is too coarse; the gate decides.

Tokens are reserved as requests so far have used them, and settled by what the
reply says. Pure: `now` is in seconds and comes in.
"""

import math
from typing import Final

from nightkiln.core.limits import Limits

MINUTE_S: Final = 60.0
BURST_S: Final = 0.05  # of its rate, what a learnt bucket lets out at once
_ENOUGH: Final = 40  # answers between refusals, to measure a rate ...
_WINDOW_S: Final = 5.0  # ... or whatever there was in so long
_FALL: Final = 0.95  # of the rate so far: one measurement lowers it no further ...
_CONFIRMS: Final = 0.85  # ... unless the one before was lower than this, or had a saved burst in it
_PATIENCE_S: Final = 10.0  # without a refusal: whatever refused is over
_RAISE: Final = 0.01  # of the rate, for the first second without a refusal; then growing
_RAISE_MOST: Final = 0.1
_FORGET: Final = 4.0  # times what was measured: there is no limit any more
_ROUNDING: Final = 1e-6  # a wait must not end just short
_TOKENS_KEPT: Final = 0.05  # of each reply, in the average


class Bucket:
    """A rate with a burst. Not shared between threads."""

    __slots__ = ("_at", "burst", "level", "rate")

    def __init__(self, rate: float, *, burst: float, now: float) -> None:
        self.rate = rate  # a second
        self.burst = max(1.0, burst)
        self.level = self.burst
        self._at = now

    def ready_at(self, now: float, amount: float) -> float:
        """When so much may be taken. More than it ever holds is let go when it is full."""
        self.refill(now)
        missing = min(amount, self.burst) - self.level
        return now if missing <= _ROUNDING else now + missing / self.rate

    def refill(self, now: float) -> None:
        """Bring the level up to date."""
        if now > self._at:
            self.level = min(self.burst, self.level + (now - self._at) * self.rate)
            self._at = now


class Pacer:
    """The rates of one credential and model. Not shared between threads."""

    def __init__(self, *, rpm: float | None = None, tpm: float | None = None) -> None:
        self._rpm, self._tpm = rpm, tpm  # what the user said: headers may only lower it
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self._told_rpm: float | None = None  # what the headers said last
        self._told_tpm: float | None = None
        self._per_request = 0.0  # tokens, on average
        self._learnt: Bucket | None = None
        self.is_rough = True  # the last measurement was the first, or far lower than the others
        self._measured = 0.0  # the rate that refusals last taught
        self._window = math.nan  # since when refusals are being watched
        self._answers = 0
        self._refused_at = -math.inf
        self._raised_at = 0.0
        self._raise = _RAISE

    @property
    def rate(self) -> float | None:
        """Requests a second that may leave; None while nothing is limited."""
        rates = [bucket.rate for bucket in (self._requests, self._learnt) if bucket is not None]
        if self._tokens is not None and self._per_request:
            rates.append(self._tokens.rate / self._per_request)
        return min(rates, default=None)

    @property
    def is_learnt(self) -> bool:
        """True while refusals have taught a rate; they then say nothing about concurrency."""
        return self._learnt is not None

    @property
    def learnt(self) -> float | None:
        """The rate that refusals have taught; None while there is none."""
        return None if self._learnt is None else self._learnt.rate

    def follow(self, now: float, *, rpm: float | None, tpm: float | None) -> None:
        """The user says otherwise from now on. What was told, learnt and used stays."""
        self._rpm, self._tpm = rpm, tpm
        self._requests = _followed(self._requests, self._told_rpm, rpm, now)
        self._tokens = _followed(self._tokens, self._told_tpm, tpm, now)

    def forget(self) -> None:
        """Those refusals meant nothing: what they taught goes."""
        self._learnt, self._window = None, math.nan

    def ready_at(self, now: float) -> float:
        """When the next request may leave; at most `now` means at once."""
        self._begin(now)
        when = now
        if self._requests is not None:
            when = max(when, self._requests.ready_at(now, 1.0))
        if self._tokens is not None:
            when = max(when, self._tokens.ready_at(now, self._per_request))
        if self._learnt is not None:
            self._raise_learnt(now)
        if self._learnt is not None:
            when = max(when, self._learnt.ready_at(now, 1.0))
        return when

    def sent(self) -> None:
        """A request leaves: what it will use is reserved."""
        if self._requests is not None:
            self._requests.level -= 1.0
        if self._tokens is not None:
            self._tokens.level -= self._per_request
        if self._learnt is not None:
            self._learnt.level -= 1.0

    def answered(self, tokens: int) -> None:
        """A reply used so many tokens: what was reserved is settled."""
        self._answers += 1
        if self._tokens is not None:
            self._tokens.level += self._per_request - tokens
        if not self._per_request:
            self._per_request = float(tokens)
        else:
            self._per_request += _TOKENS_KEPT * (tokens - self._per_request)

    def told(self, now: float, limits: Limits) -> None:
        """A reply's headers. What is left can only be less than we think: others use it too.

        Some providers count before they answer and some after, so what is under
        way is not taken off: at worst a few refusals correct it.
        """
        if limits.requests:
            self._told_rpm = limits.requests
            bucket = self._requests = _at_most(self._requests, limits.requests, self._rpm, now)
            if limits.requests_left is not None:
                bucket.refill(now)
                bucket.level = min(bucket.level, limits.requests_left)
        if limits.tokens:
            self._told_tpm = limits.tokens
            bucket = self._tokens = _at_most(self._tokens, limits.tokens, self._tpm, now)
            if limits.tokens_left is not None:
                bucket.refill(now)
                bucket.level = min(bucket.level, limits.tokens_left)

    def throttled(self, now: float) -> bool:
        """A refusal for our rate. True once it has taught one, where nothing is said."""
        self._refused_at = now
        if self._requests is not None or self._tokens is not None:
            return False
        passed = now - self._window
        if not passed <= _PATIENCE_S:  # also the very first
            self._watch(now)
        elif self._answers >= _ENOUGH or (passed >= _WINDOW_S and self._answers > 1):
            self._learn(now, self._answers / passed)
            self._watch(now)
        return self._learnt is not None

    def _watch(self, now: float) -> None:
        self._window, self._answers = now, 0

    def _learn(self, now: float, rate: float) -> None:
        was_rough = self.is_rough
        self.is_rough = self._learnt is None or rate < _CONFIRMS * self._learnt.rate
        if self._learnt is not None and not was_rough:
            rate = max(rate, _FALL * self._learnt.rate)
        self._measured, self._raise, self._raised_at = rate, _RAISE, now
        self._learnt = Bucket(rate, burst=rate * BURST_S, now=now)
        self._learnt.level = 0.0

    def _raise_learnt(self, now: float) -> None:
        """A second without a refusal: a little more, and each time more of it."""
        assert self._learnt is not None
        if now - max(self._raised_at, self._refused_at) < 1.0:
            return
        self._raised_at = now
        rate = self._learnt.rate * (1 + self._raise)
        self._raise = min(_RAISE_MOST, 1.5 * self._raise)
        if rate > _FORGET * self._measured:
            self._learnt = None
            return
        self._learnt.refill(now)
        self._learnt.rate, self._learnt.burst = rate, max(1.0, rate * BURST_S)

    def _begin(self, now: float) -> None:
        if self._rpm is not None and self._requests is None:
            self._requests = _at_most(None, self._rpm, None, now)
        if self._tpm is not None and self._tokens is None:
            self._tokens = _at_most(None, self._tpm, None, now)


def _followed(
    known: Bucket | None, told: float | None, ours: float | None, now: float
) -> Bucket | None:
    """A bucket under another limit of ours; none where nobody limits any more."""
    limit = told if ours is None else ours if told is None else min(told, ours)
    if known is None or limit is None:
        return None
    known.refill(now)
    return _at_most(known, limit, None, now)


def _at_most(known: Bucket | None, said: float, ours: float | None, now: float) -> Bucket:
    """The bucket of a limit a minute, new or with its rate brought up to date."""
    limit = said if ours is None else min(said, ours)
    if known is None:
        # What is left is not known yet: a second's worth may go, the rest when we are told.
        bucket = Bucket(limit / MINUTE_S, burst=limit, now=now)
        bucket.level = max(1.0, limit / MINUTE_S)
        return bucket
    known.rate, known.burst = limit / MINUTE_S, max(1.0, limit)
    return known
