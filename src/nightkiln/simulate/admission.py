"""Who is served now, who waits and who is refused.

Pure: `now` is an argument and nothing here answers a request. The rate limits are token buckets
as the big providers run them; the slots are a capacity with a first-in first-out queue.
"""

import enum
from collections import OrderedDict
from typing import Protocol

import msgspec

SECONDS_PER_MINUTE = 60


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is not served, why, and when to come back."""

    reason: str
    retry_after_s: float


class RateBucket:
    """A token bucket that starts full and refills at `per_minute`."""

    __slots__ = ("_burst", "_level", "_name", "_per_minute", "_rate", "_updated")

    def __init__(self, name: bytes, per_minute: float, *, burst_s: float, now: float) -> None:
        self._name = name
        self._per_minute = per_minute
        self._rate = per_minute / SECONDS_PER_MINUTE
        self._burst = max(1.0, self._rate * burst_s)
        self._level = self._burst
        self._updated = now

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; 0 when it may be taken now.

        More than the bucket can ever hold is let through at a full bucket, and paid for
        afterwards by a level below zero.
        """
        self._refill(now)
        missing = min(amount, self._burst) - self._level
        return missing / self._rate if missing > 0 else 0.0

    def take(self, amount: float) -> None:
        """Use up `amount`; the caller has asked `wait_s` first."""
        self._level -= amount

    def headers(self, now: float) -> bytes:
        """The `x-ratelimit-*` headers of this bucket."""
        self._refill(now)
        reset_ms = (self._burst - self._level) / self._rate * 1000
        return (
            b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %d\r\n"
            b"x-ratelimit-reset-%b: %dms\r\n"
            % (self._name, self._per_minute, self._name, max(0, self._level), self._name, reset_ms)
        )

    def _refill(self, now: float) -> None:
        self._level = min(self._burst, self._level + (now - self._updated) * self._rate)
        self._updated = now


class RateLimits:
    """The limits per minute on requests and on tokens; 0 means there is none."""

    __slots__ = ("_requests", "_tokens", "active")

    def __init__(self, *, rpm: float, tpm: float, burst_s: float, now: float) -> None:
        self._requests = RateBucket(b"requests", rpm, burst_s=burst_s, now=now) if rpm else None
        self._tokens = RateBucket(b"tokens", tpm, burst_s=burst_s, now=now) if tpm else None
        self.active = bool(rpm or tpm)

    def take(self, tokens: int, now: float) -> Refusal | None:
        """Charge one request of so many tokens, or charge nothing and refuse it."""
        if self._requests and (wait := self._requests.wait_s(1, now)):
            return Refusal(reason="requests", retry_after_s=wait)
        if self._tokens and (wait := self._tokens.wait_s(tokens, now)):
            return Refusal(reason="tokens", retry_after_s=wait)
        if self._requests:
            self._requests.take(1)
        if self._tokens:
            self._tokens.take(tokens)
        return None

    def headers(self, now: float) -> bytes:
        """What every answer says about the limits."""
        requests = self._requests.headers(now) if self._requests else b""
        return requests + (self._tokens.headers(now) if self._tokens else b"")


class Waiter(Protocol):
    """Whatever may wait for a slot."""

    def serve(self) -> None:
        """Start: the slot is yours until it is given back."""
        ...


class Place(enum.Enum):
    """What a request got when it asked for a slot."""

    SERVED = "served"
    QUEUED = "queued"
    REFUSED = "refused"


class Slots:
    """The capacity, its queue, and how much of it was in use over time."""

    __slots__ = (
        "_capacity",
        "_queue",
        "_queue_limit",
        "_since",
        "_used_s",
        "inflight",
        "max_inflight",
        "max_queue",
    )

    def __init__(self) -> None:
        self._capacity = self._queue_limit = 0
        # Ordered, so that a waiter whose client went away leaves in constant time.
        self._queue: OrderedDict[Waiter, None] = OrderedDict()
        self.inflight = self.max_inflight = self.max_queue = 0
        self._used_s, self._since = 0.0, 0.0

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._queue)

    def resize(self, *, capacity: int, queue_limit: int, now: float) -> list[Waiter]:
        """Change the limits; returns the waiters that the new capacity lets in."""
        self._capacity, self._queue_limit = capacity, queue_limit
        return self._let_in(now)

    def ask(self, waiter: Waiter, now: float) -> Place:
        """A slot for the waiter, a place in the queue, or neither."""
        if not self._capacity or self.inflight < self._capacity:
            self._use(now)
            return Place.SERVED
        if len(self._queue) >= self._queue_limit:
            return Place.REFUSED
        self._queue[waiter] = None
        self.max_queue = max(self.max_queue, len(self._queue))
        return Place.QUEUED

    def give_back(self, now: float) -> list[Waiter]:
        """Free one slot; returns the waiters that now have one."""
        self._used_s += self.inflight * (now - self._since)
        self._since = now
        self.inflight -= 1
        return self._let_in(now) if self._queue else []

    def forget(self, waiter: Waiter) -> None:
        """Take a waiter out of the queue, if it is there."""
        self._queue.pop(waiter, None)

    def used_s(self, now: float) -> float:
        """Slot-seconds used since the last reset."""
        return self._used_s + self.inflight * (now - self._since)

    def reset(self, now: float) -> None:
        """Start measuring again; who is served or waits stays."""
        self.max_inflight, self.max_queue = self.inflight, len(self._queue)
        self._used_s, self._since = 0.0, now

    def _let_in(self, now: float) -> list[Waiter]:
        let_in = []
        while self._queue and (not self._capacity or self.inflight < self._capacity):
            waiter, _ = self._queue.popitem(last=False)
            self._use(now)
            let_in.append(waiter)
        return let_in

    def _use(self, now: float) -> None:
        self._used_s += self.inflight * (now - self._since)
        self._since = now
        self.inflight += 1
        if self.inflight > self.max_inflight:
            self.max_inflight = self.inflight
