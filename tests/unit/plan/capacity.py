"""A backend with a known capacity, and a client under a gate, in virtual time.

What a minute of traffic does to the limiter and the pacer is computed in a moment:
events lie in a heap, nothing sleeps, and a seed gives the same minute again.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.limits import Limits
from nightkiln.core.usage import Usage
from nightkiln.plan.gate import Gate

THROTTLED = Fault(kind=FaultClass.THROTTLE, code="rate_limit_exceeded", status=429)
UNAVAILABLE = Fault(kind=FaultClass.OVERLOAD, code="http_503", status=503)
Service = Callable[[random.Random, int], float]  # (dice, running) -> seconds
WARM_S = 10.0
TICK_S = 0.1


def constant(seconds: float) -> Service:
    """Every answer takes the same time."""
    return lambda _dice, _running: seconds


def spread(mean: float, sigma: float) -> Service:
    """Log-normal times with this mean."""
    return lambda dice, _running: mean * dice.lognormvariate(-sigma * sigma / 2, sigma)


@dataclass
class Backend:
    """`slots` at once; beyond them a queue, or a refusal where `refuses`."""

    service: Service
    slots: Callable[[float], float] = lambda _now: math.inf
    refuses: bool = True
    full: Fault = THROTTLED  # what it refuses with
    noise: Callable[[float], float] = lambda _now: 0.0  # the share refused for no reason ...
    noisy: Fault = UNAVAILABLE  # ... and with what
    rpm: float = 0.0
    burst: float = 0.0
    tells: bool = False  # of its rate limit, in the headers
    running: int = 0
    queue: deque[Any] = field(default_factory=deque)
    _level: float | None = None
    _at: float = 0.0

    def admits(self, now: float) -> bool:
        """Take one from the bucket of requests, if there is one."""
        if not self.rpm:
            return True
        full = self.burst or self.rpm / 60
        level = full if self._level is None else self._level
        self._level = min(full, level + (now - self._at) * self.rpm / 60)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True

    @property
    def limits(self) -> Limits | None:
        """What a reply's headers say."""
        if not self.tells:
            return None
        return Limits(requests=self.rpm, requests_left=float(int(self._level or 0)))


@dataclass
class Outcome:
    """What a run brought after the warm-up."""

    seconds: float
    answers: int = 0
    refusals: int = 0
    all_answers: int = 0
    all_refusals: int = 0
    most_in_flight: int = 0
    lowest: float = math.inf  # the fewest that the gate would let go at once, after the warm-up

    @property
    def calls(self) -> float:
        """Requests an answer."""
        return (self.answers + self.refusals) / max(1, self.answers)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / (self.seconds - WARM_S)

    @property
    def refused(self) -> float:
        """The share of requests that were refused."""
        return self.refusals / max(1, self.answers + self.refusals)


class Traffic:
    """As many requests as the gate lets through, for some seconds."""

    def __init__(
        self,
        backend: Backend,
        gate: Gate,
        *,
        seed: int,
        rtt: float = 0.0002,
        on_refused: Callable[[float], None] = lambda _now: None,
    ) -> None:
        self._backend, self._gate, self._rtt = backend, gate, rtt
        self._on_refused = on_refused
        self._dice = random.Random(seed)
        self._chance = random.Random(seed + 1)  # of noise; the other dice fall as without it
        self._events: list[tuple[float, int, str, Any]] = []
        self._count = 0
        self._in_flight = 0
        self._wake_at = math.inf

    def run(self, seconds: float) -> Outcome:
        """Let the time pass."""
        out = Outcome(seconds)
        self._at(0.0, "tick", None)
        while self._events:
            now, _, kind, what = heapq.heappop(self._events)
            if now > seconds:
                break
            getattr(self, f"_{kind}")(now, what, out)
            out.most_in_flight = max(out.most_in_flight, self._in_flight)
            if now > WARM_S:
                out.lowest = min(out.lowest, self._gate.limiter.limit)
        return out

    def _at(self, when: float, kind: str, what: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, kind, what))

    def _pump(self, now: float) -> None:
        while (ready := self._ready_at(now)) <= now:
            self._in_flight += 1
            stamp = self._gate.sent(now, self._in_flight)
            self._at(now + self._rtt / 2, "arrive", (now, stamp))
        if ready < self._wake_at or self._wake_at <= now:
            self._wake_at = ready
            if ready < math.inf:
                self._at(ready, "wake", None)

    def _ready_at(self, now: float) -> float:
        return max(self._gate.held_until, self._gate.ready_at(now, self._in_flight))

    def _tick(self, now: float, _what: Any, _out: Outcome) -> None:
        self._gate.limiter.tick(now)
        self._at(now + TICK_S, "tick", None)
        self._pump(now)

    def _wake(self, now: float, _what: Any, _out: Outcome) -> None:
        self._pump(now)

    def _arrive(self, now: float, request: Any, _out: Outcome) -> None:
        backend = self._backend
        is_full = backend.running >= backend.slots(now)
        if self._chance.random() < backend.noise(now):
            self._at(now + self._rtt / 2, "refuse", (*request, backend.noisy))
        elif not backend.admits(now) or (is_full and backend.refuses):
            self._at(now + self._rtt / 2, "refuse", (*request, backend.full))
        elif is_full:
            backend.queue.append(request)
        else:
            self._begin(now, request)

    def _begin(self, now: float, request: Any) -> None:
        self._backend.running += 1
        took = self._backend.service(self._dice, self._backend.running)
        self._at(now + took, "done", request)

    def _done(self, now: float, request: Any, _out: Outcome) -> None:
        backend = self._backend
        backend.running -= 1
        while backend.queue and backend.running < backend.slots(now):
            self._begin(now, backend.queue.popleft())
        self._at(now + self._rtt / 2, "back", request)

    def _back(self, now: float, request: Any, out: Outcome) -> None:
        sent_at, stamp = request
        self._in_flight -= 1
        out.all_answers += 1
        out.answers += now > WARM_S
        usage = Usage(input_tokens=60, output_tokens=40)
        self._gate.answered(now, stamp, latency_s=now - sent_at, usage=usage)
        if (limits := self._backend.limits) is not None:
            self._gate.told(now, limits)
        self._pump(now)

    def _refuse(self, now: float, request: Any, out: Outcome) -> None:
        sent_at, stamp, fault = request
        self._in_flight -= 1
        out.all_refusals += 1
        self._on_refused(now)
        out.refusals += now > WARM_S
        self._gate.faulted(now, stamp, fault, in_flight=self._in_flight, latency_s=now - sent_at)
        self._pump(now)
