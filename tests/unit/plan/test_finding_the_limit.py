"""The limiter and the pacer against backends of known capacity, in virtual time."""

import random
from collections.abc import Callable

import pytest
from tests.unit.plan.capacity import Backend, Outcome, Traffic, constant, spread

from nightkiln.plan.gate import Gate
from nightkiln.plan.limiter import AdaptiveLimit

SEEDS = (1, 2, 3)


def outcome(make: Callable[[], Backend], seconds: float, seed: int, *, most: int = 1024) -> Outcome:
    return Traffic(make(), Gate(AdaptiveLimit(most=most)), seed=seed).run(seconds)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sigma", [0.0, 0.6])
@pytest.mark.parametrize(("slots", "latency_s"), [(512, 0.05), (40, 0.2), (200, 0.5)])
def test_a_wall_of_refusals_is_found_to_the_slot(
    slots: int, latency_s: float, sigma: float, seed: int
) -> None:
    service = spread(latency_s, sigma) if sigma else constant(latency_s)
    found = outcome(lambda: Backend(service, slots=lambda _: slots), 50, seed)
    assert found.rate >= 0.97 * slots / latency_s
    assert found.refused <= 0.02


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("slots", "latency_s"), [(512, 0.05), (470, 0.05), (24, 0.2)])
def test_a_queue_is_kept_full_and_not_flooded(slots: int, latency_s: float, seed: int) -> None:
    found = outcome(
        lambda: Backend(spread(latency_s, 0.6), slots=lambda _: slots, refuses=False), 40, seed
    )
    assert found.rate >= 0.97 * slots / latency_s
    assert found.most_in_flight <= 5 * slots


@pytest.mark.parametrize("seed", SEEDS)
def test_a_server_that_slows_down_with_its_load_is_filled_to_the_knee(seed: int) -> None:
    """At 128 it answers four times as slowly as alone, and does its best each second."""

    def service(dice: random.Random, running: int) -> float:
        knee = 128
        load = min(running, knee) / knee
        over = max(1.0, running / knee)
        return (0.1 + 0.3 * load) * over * dice.lognormvariate(-0.08, 0.4)

    found = outcome(lambda: Backend(service), 60, seed)
    assert found.rate >= 0.93 * 128 / 0.4


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("refuses", [True, False])
def test_capacity_that_halves_and_returns_is_followed(refuses: bool, seed: int) -> None:
    def slots(now: float) -> float:
        return 256 if 20 <= now < 35 else 512

    found = outcome(lambda: Backend(spread(0.05, 0.4), slots=slots, refuses=refuses), 55, seed)
    capacity = (10 * 512 + 15 * 256 + 20 * 512) / 45 / 0.05
    assert found.rate >= (0.92 if refuses else 0.97) * capacity
    assert found.refused <= 0.02


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize(("rpm", "latency_s"), [(6_000, 0.05), (6_000, 0.5), (60_000, 0.2)])
def test_a_rate_limit_is_met_whether_headers_tell_of_it_or_not(
    rpm: float, latency_s: float, tells: bool, seed: int
) -> None:
    found = outcome(
        lambda: Backend(spread(latency_s, 0.3), rpm=rpm, burst=rpm / 60, tells=tells), 60, seed
    )
    assert found.rate >= 0.95 * rpm / 60
    assert found.refused <= (0.005 if tells else 0.03)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_number_that_was_said_is_kept(seed: int) -> None:
    backend = Backend(spread(0.05, 0.6), slots=lambda _: 40, refuses=False)
    found = Traffic(backend, Gate(AdaptiveLimit(start=64, most=64)), seed=seed).run(30)
    assert found.most_in_flight == 64
    assert found.rate >= 0.98 * 40 / 0.05


def test_a_number_that_was_said_is_cut_by_refusals_only_and_comes_back() -> None:
    backend = Backend(constant(0.05), slots=lambda now: 20 if now < 15 else 1000)
    gate = Gate(AdaptiveLimit(start=64, most=64))
    found = Traffic(backend, gate, seed=1).run(30)
    assert found.refused <= 0.02
    assert gate.limiter.limit == 64
