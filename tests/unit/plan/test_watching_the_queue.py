"""An engine with a queue that tells of itself, and clients that look at it, in virtual time."""

import heapq
import random
from collections.abc import Callable
from typing import Any

import pytest

from nightkiln.core.engineload import EngineLoad
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.usage import Usage
from nightkiln.plan.gate import Gate
from nightkiln.plan.limiter import START, AdaptiveLimit, Phase
from nightkiln.plan.queueing import EngineQueue

SEEDS = (1, 2, 3)
USAGE = Usage(input_tokens=60, output_tokens=40)


class Client:
    """Sends whatever its gate lets through, from a moment on."""

    def __init__(self, *, most: int = 1024, since: float = 0.0) -> None:
        self.gate = Gate(AdaptiveLimit(most=most))
        self.since = since
        self.in_flight = 0


class Engine:
    """`slots` at once and a queue without end; every request takes about `latency_s`."""

    def __init__(
        self,
        *clients: Client,
        slots: Callable[[float], int] = lambda _: 64,
        latency_s: float = 0.5,
        seed: int = 1,
        looks: Callable[[float], bool] = lambda _: True,
        kv_used: Callable[[int], float | None] = lambda _: None,
        old_s: float = 0.0,  # how often its numbers are renewed
        slower: Callable[[int], float] = lambda _: 1.0,  # by how many run
    ) -> None:
        self.clients, self.slots, self.latency_s = clients, slots, latency_s
        self.looks, self.kv_used, self.old_s = looks, kv_used, old_s
        self.slower = slower
        self.dice = random.Random(seed)
        self.running = 0
        self.queue: list[Any] = []
        self.answers: list[float] = []
        self.waited: list[tuple[float, int]] = []  # at every tick
        self.limits: list[tuple[float, tuple[int, ...]]] = []
        self.page = EngineLoad(running=0, waiting=0)
        self.page_at = -1.0
        self.events: list[Any] = []
        self.count = 0

    def run(self, seconds: float) -> "Engine":
        self.at(0.0, self.tick, None)
        for number, client in enumerate(self.clients):
            self.at(client.since + 0.25 + 0.1 * number, self.look, client)
        while self.events:
            now, _, what, about = heapq.heappop(self.events)
            if now > seconds:
                break
            what(now, about)
        return self

    def at(self, when: float, what: Callable[..., None], about: Any) -> None:
        self.count += 1
        heapq.heappush(self.events, (when, self.count, what, about))

    def tick(self, now: float, _: Any) -> None:
        if now - self.page_at >= self.old_s:
            self.renew(now)
        for client in self.clients:
            client.gate.limiter.tick(now)
            self.pump(now, client)
        self.waited.append((now, len(self.queue)))
        self.limits.append((now, tuple(one.gate.limiter.limit for one in self.clients)))
        self.at(now + 0.1, self.tick, None)

    def renew(self, now: float) -> None:
        self.page_at = now
        self.page = EngineLoad(
            running=self.running, waiting=len(self.queue), kv_used=self.kv_used(self.running)
        )

    def look(self, now: float, client: Client) -> None:
        if not self.old_s:
            self.renew(now)
        if self.looks(now):
            client.gate.loaded(now, self.page, in_flight=client.in_flight)
        self.at(now + 1.0, self.look, client)

    def pump(self, now: float, client: Client) -> None:
        while now >= client.since and client.gate.ready_at(now, client.in_flight) <= now:
            client.in_flight += 1
            stamp = client.gate.sent(now, client.in_flight)
            self.queue.append((client, now, stamp))
        self.let_in(now)

    def let_in(self, now: float) -> None:
        while self.queue and self.running < self.slots(now):
            self.running += 1
            took = self.slower(self.running) * self.latency_s * self.dice.lognormvariate(-0.08, 0.4)
            self.at(now + took, self.done, self.queue.pop(0))

    def done(self, now: float, request: Any) -> None:
        client, sent_at, stamp = request
        self.running -= 1
        client.in_flight -= 1
        self.answers.append(now)
        client.gate.answered(now, stamp, latency_s=now - sent_at, usage=USAGE)
        self.pump(now, client)

    def rate(self, since: float, until: float) -> float:
        return sum(since < at <= until for at in self.answers) / (until - since)

    def mean_wait(self, since: float) -> float:
        seen = [waiting for at, waiting in self.waited if at >= since]
        return sum(seen) / len(seen)

    def limit(self, at: float, client: int = 0) -> int:
        return next(limits[client] for now, limits in self.limits if now >= at)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("slots", "latency_s"), [(64, 0.5), (64, 4.0), (250, 2.0), (4, 0.5)])
def test_what_fits_is_found_in_seconds_and_few_ever_wait(
    slots: int, latency_s: float, seed: int
) -> None:
    engine = Engine(Client(), slots=lambda _: slots, latency_s=latency_s, seed=seed).run(60)
    few = max(2.0, 0.07 * slots, 0.02 * slots / latency_s)
    assert slots <= engine.limit(8.0) <= slots + 2 * few + 2
    assert engine.rate(10, 60) >= 0.97 * slots / latency_s
    assert engine.mean_wait(10 + 2 * latency_s) <= 1.5 * few + 1


@pytest.mark.parametrize("seed", SEEDS)
def test_the_limit_of_sixty_four_slots_is_found_within_five_seconds(seed: int) -> None:
    engine = Engine(Client(), seed=seed).run(30)
    assert all(64 <= engine.limit(at) <= 76 for at in (5.0, 10.0, 20.0, 29.0))


@pytest.mark.parametrize("seed", SEEDS)
def test_fewer_wait_than_without_looking(seed: int) -> None:
    seeing = Engine(Client(), seed=seed).run(60)
    blind = Engine(Client(), seed=seed, looks=lambda _: False).run(60)
    assert seeing.mean_wait(10) < blind.mean_wait(10)
    assert seeing.rate(0, 60) >= 0.98 * blind.rate(0, 60)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_that_share_an_engine_fill_it_and_come_to_like_shares(seed: int) -> None:
    engine = Engine(Client(), Client(since=20.0), seed=seed).run(180)
    first, second = (engine.limit(179, one) for one in (0, 1))
    assert engine.rate(30, 180) >= 0.97 * 64 / 0.5
    assert min(first, second) >= 0.5 * max(first, second)
    assert engine.mean_wait(30) <= 12


@pytest.mark.parametrize("seed", SEEDS)
def test_capacity_that_halves_and_returns_is_followed(seed: int) -> None:
    engine = Engine(
        Client(), seed=seed, slots=lambda now: 32 if 20 <= now < 40 else 64, latency_s=0.5
    ).run(70)
    assert engine.limit(26) <= 44
    assert engine.limit(46) >= 64
    assert engine.rate(45, 70) >= 0.97 * 64 / 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_an_engine_that_grows_beyond_what_it_was_is_followed(seed: int) -> None:
    engine = Engine(Client(), seed=seed, slots=lambda now: 64 if now < 20 else 400).run(60)
    assert engine.rate(35, 60) >= 0.97 * 400 / 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_an_engine_that_takes_whatever_comes_and_gets_slower_is_not_flooded(seed: int) -> None:
    engine = Engine(
        Client(), seed=seed, slots=lambda _: 5_000, slower=lambda running: max(1.0, running / 128)
    ).run(90)
    assert engine.rate(10, 90) >= 0.93 * 128 / 0.5
    assert engine.limit(89) < 1024


@pytest.mark.parametrize("seed", SEEDS)
def test_numbers_that_are_renewed_rarely_do_not_make_the_limit_swing(seed: int) -> None:
    engine = Engine(Client(), seed=seed, old_s=2.0).run(60)
    assert engine.rate(10, 60) >= 0.97 * 64 / 0.5
    assert engine.mean_wait(15) <= 24


@pytest.mark.parametrize("seed", SEEDS)
def test_looks_that_end_leave_the_limit_where_it_is_and_the_trials_go_on(seed: int) -> None:
    client = Client()
    engine = Engine(client, seed=seed, looks=lambda now: now < 15).run(17)
    assert client.gate.limiter.phase is Phase.WATCHED
    client = Client()
    engine = Engine(client, seed=seed, looks=lambda now: now < 15).run(60)
    assert client.gate.limiter.phase is not Phase.WATCHED
    assert abs(engine.limit(18.5) - engine.limit(14)) <= 2
    assert engine.rate(20, 60) >= 0.97 * 64 / 0.5


def test_nothing_grows_while_the_memory_for_sequences_is_full() -> None:
    queue = EngineQueue(floor=START)
    for running in (40, 41):
        queue.limit_for(
            EngineLoad(running=running, waiting=2, kv_used=0.5),
            limit=60.0, in_flight=60, rate=0.0, may_grow=True,
        )  # fmt: skip
    for kv_used, grows in ((0.96, False), (0.9, True)):
        wanted = queue.limit_for(
            EngineLoad(running=60, waiting=0, kv_used=kv_used),
            limit=60.0, in_flight=60, rate=0.0, may_grow=True,
        )  # fmt: skip
        assert (wanted is not None and wanted > 60) is grows


@pytest.mark.parametrize("seed", SEEDS)
def test_a_full_memory_keeps_the_queue_at_two(seed: int) -> None:
    engine = Engine(
        Client(), seed=seed, slots=lambda _: 200, latency_s=2.0,
        kv_used=lambda running: running / 200,
    ).run(60)  # fmt: skip
    assert engine.rate(20, 60) >= 0.94 * 200 / 2.0
    assert engine.mean_wait(20) <= 8


def test_a_burst_that_waits_for_one_look_is_no_queue() -> None:
    limiter = AdaptiveLimit()
    for now, waiting in ((0.3, 12), (1.3, 0), (2.3, 12), (3.3, 0)):
        limiter.sent(now, 16)
        limiter.loaded(now, EngineLoad(running=16, waiting=waiting), in_flight=16)
    assert limiter.limit >= 16
    assert limiter.phase is Phase.START


def test_a_flood_of_others_leaves_us_what_we_started_with() -> None:
    limiter = AdaptiveLimit()
    for number in range(60):
        now = 0.3 + number
        limiter.sent(now, limiter.limit)
        limiter.loaded(now, EngineLoad(running=200, waiting=900 + number), in_flight=limiter.limit)
    assert limiter.limit == START


def test_a_wall_of_refusals_is_not_overrun_because_nobody_waits_in_the_engine() -> None:
    limiter = AdaptiveLimit()
    stamp = limiter.sent(0.0, 16)
    assert not limiter.refused(0.1, stamp, in_flight=15)
    held = limiter.limit
    for number in range(10):
        limiter.loaded(1.0 + number, EngineLoad(running=held, waiting=0), in_flight=held)
    assert limiter.limit == held


def test_nothing_grows_for_a_while_after_a_timeout() -> None:
    engine = Engine(Client()).run(10)
    gate = engine.clients[0].gate
    late = Fault(kind=FaultClass.AMBIGUOUS, code="timeout", message="")
    stamp = gate.sent(10.0, gate.limiter.limit)
    gate.faulted(10.0, stamp, late, in_flight=30, latency_s=9.0)
    cut = gate.limiter.limit
    for number in range(5):
        now = 10.5 + number
        gate.loaded(now, EngineLoad(running=cut, waiting=0), in_flight=cut)
    assert gate.limiter.limit == cut


def test_a_number_that_was_said_is_not_changed_by_any_look() -> None:
    limiter = AdaptiveLimit(start=200, most=200)
    for number in range(10):
        limiter.loaded(1.0 + number, EngineLoad(running=64, waiting=136), in_flight=200)
    assert limiter.limit == 200
