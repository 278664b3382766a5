"""The provider behind all connections: its settings, its limits, its dice and its counts.

It decides; `exchange` carries out. It knows no socket.
"""

import asyncio
import random
import time

from nightkiln.simulate.admission import Place, RateLimits, Refusal, Slots, Waiter
from nightkiln.simulate.answers import (
    MAX_OUT_TOKENS,
    Ask,
    Kind,
    read_chat,
    read_completion,
    read_embedding,
    read_response,
)
from nightkiln.simulate.distributions import parse_distribution
from nightkiln.simulate.enginepage import engine_page
from nightkiln.simulate.faults import FaultKind, FaultTable
from nightkiln.simulate.settings import SimulatorSettings
from nightkiln.simulate.stats import SimulatorStats, Tally
from nightkiln.simulate.ticks import TickWheel

PER_MS = 1e-3
LIMIT_SETTINGS = ("rpm", "tpm", "burst_s")


class Provider:
    """One simulated provider."""

    def __init__(self, settings: SimulatorSettings, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.wheel = TickWheel(loop)
        self.tally = Tally()
        self.open_connections = 0
        self._slots = Slots()
        self.limits = RateLimits(rpm=0, tpm=0, burst_s=1, now=time.monotonic())
        self.settings = SimulatorSettings()
        self.configure(settings)

    def configure(self, settings: SimulatorSettings) -> None:
        """Behave as these settings say from now on.

        The dice start again from the seed, so a test may repeat itself; rate limits that did
        not change keep their level.
        """
        now = time.monotonic()
        before, self.settings = self.settings, settings
        self._faults = FaultTable(settings.shares())
        self._fault_dice = random.Random(settings.seed)
        latency = parse_distribution(settings.latency)
        self._latency_ms = latency.sampler(random.Random(settings.seed + 1))
        out_tokens = parse_distribution(settings.out_tokens)
        self._out_tokens = out_tokens.sampler(random.Random(settings.seed + 2))
        self._is_instant = latency.constant == 0 and not (
            settings.itl or settings.slow_per_inflight
        )
        self.tally.tracking = bool(settings.track)
        if any(getattr(before, name) != getattr(settings, name) for name in LIMIT_SETTINGS):
            self.limits = RateLimits(
                rpm=settings.rpm, tpm=settings.tpm, burst_s=settings.burst_s, now=now
            )
        self._start(
            self._slots.resize(capacity=settings.capacity, queue_limit=settings.queue, now=now)
        )

    def reset(self) -> None:
        """Set all counters to zero."""
        self.tally.reset()
        self._slots.reset(time.monotonic())

    def stats(self) -> SimulatorStats:
        """All counters at this moment."""
        return self.tally.reading(
            self._slots, open_connections=self.open_connections, now=time.monotonic()
        )

    def metrics(self) -> bytes:
        """Who runs and who waits at this moment, as vLLM writes it."""
        return engine_page(self._slots, capacity=self.settings.capacity)

    def read(self, body: bytes, kind: Kind) -> Ask:
        """Parse a request to a model; raises msgspec.MsgspecError or ValueError."""
        if kind is Kind.EMBEDDING:
            return read_embedding(body)
        wanted = int(min(self._out_tokens(), MAX_OUT_TOKENS))
        if kind is Kind.CHAT:
            return read_chat(body, wanted_tokens=wanted)
        read = read_completion if kind is Kind.COMPLETION else read_response
        return read(body, wanted_tokens=wanted)

    def admit(self, ask: Ask, waiter: Waiter, now: float) -> Refusal | Place:
        """Count the request and say whether it is served, waits or is refused."""
        self.tally.arrived(ask.prompt, now)
        if self.limits.active:
            refusal = self.limits.take(ask.prompt_tokens + ask.output_tokens, now)
            if refusal is not None:
                return refusal
        place = self._slots.ask(waiter, now)
        if place is Place.REFUSED:
            return Refusal(reason="capacity", retry_after_s=self.settings.retry_after)
        return place

    def roll_fault(self) -> FaultKind | None:
        """The fault that the next served request meets."""
        return self._faults.choose(self._fault_dice.random()) if self._faults else None

    def first_byte_s(self) -> float:
        """Seconds until a fault shows or a stream starts."""
        return self._latency_ms() * PER_MS

    def answer_s(self, ask: Ask) -> float:
        """Seconds until the whole answer is there; 0 answers in the same turn."""
        if self._is_instant:
            return 0.0
        settings = self.settings
        generating = settings.itl * ask.output_tokens
        crowded = settings.slow_per_inflight * self._slots.inflight
        return (self._latency_ms() + generating + crowded) * PER_MS

    def give_back(self, now: float) -> None:
        """Free the slot of a request that ended, and start whoever waits for it."""
        self._start(self._slots.give_back(now))

    def forget(self, waiter: Waiter) -> None:
        """Let a waiter leave the queue."""
        self._slots.forget(waiter)

    def _start(self, waiters: list[Waiter]) -> None:
        # In a later turn: a served waiter may end at once and free a slot for the next one,
        # which must not become a recursion as deep as the queue.
        for waiter in waiters:
            self.loop.call_soon(waiter.serve)
