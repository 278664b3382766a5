"""Refusals that mean nothing, alone and on top of those that do, in virtual time."""

from collections.abc import Callable

import msgspec
import pytest
from tests.unit.plan.capacity import (
    THROTTLED,
    UNAVAILABLE,
    Backend,
    Outcome,
    Traffic,
    constant,
    spread,
)

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.plan.gate import Gate
from nightkiln.plan.hold import LONGEST_S, Hold
from nightkiln.plan.limiter import AdaptiveLimit
from nightkiln.plan.refusals import Refusals, Verdict

SLOTS, LATENCY_S = 512, 0.05
CAPACITY = SLOTS / LATENCY_S
SHARES = (0.001, 0.01, 0.03, 0.05)
LATER = (None, 1.0)  # seconds of Retry-After


def outcome(backend: Backend, *, seed: int = 1, start: int = 16, most: int = 1024) -> Outcome:
    return Traffic(backend, Gate(AdaptiveLimit(start=start, most=most)), seed=seed).run(20)


def waits(fault: Fault, seconds: float | None) -> Fault:
    return msgspec.structs.replace(fault, retry_after_s=seconds)


def check(found: Outcome, share: float) -> None:
    assert found.rate >= 0.9 * (1 - share) * CAPACITY
    assert found.calls <= 1.1


@pytest.mark.parametrize("seconds", LATER)
@pytest.mark.parametrize("share", SHARES)
def test_noise_over_a_queue_costs_what_it_refuses_and_no_more(
    share: float, seconds: float | None
) -> None:
    backend = Backend(
        constant(LATENCY_S),
        slots=lambda _: SLOTS,
        refuses=False,
        noise=lambda _: share,
        noisy=waits(UNAVAILABLE, seconds),
    )
    check(outcome(backend), share)


@pytest.mark.parametrize("full", [THROTTLED, UNAVAILABLE], ids=["429", "503"])
@pytest.mark.parametrize("seconds", LATER)
@pytest.mark.parametrize("share", SHARES)
def test_a_wall_is_found_under_noise(share: float, seconds: float | None, full: Fault) -> None:
    backend = Backend(
        spread(LATENCY_S, 0.4),
        slots=lambda _: SLOTS,
        full=waits(full, seconds),
        noise=lambda _: share,
        noisy=waits(UNAVAILABLE, seconds),
    )
    found = outcome(backend)
    check(found, share)
    assert found.refused <= share + 0.02


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("noisy", [UNAVAILABLE, waits(THROTTLED, 20.0)], ids=["503", "429"])
def test_a_number_that_was_said_is_borne_under_noise(share: float, noisy: Fault) -> None:
    backend = Backend(constant(LATENCY_S), noise=lambda _: share, noisy=noisy)
    check(outcome(backend, start=SLOTS, most=SLOTS), share)


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_a_few_slots_learn_no_rate_from_noise(share: float) -> None:
    backend = Backend(constant(LATENCY_S), noise=lambda _: share)
    gate = Gate(AdaptiveLimit(start=16, most=16))
    found = Traffic(backend, gate, seed=1).run(30)
    assert found.rate >= 0.9 * (1 - share) * 16 / LATENCY_S
    assert not gate.pacer.is_learnt


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("share", [0.01, 0.03])
def test_a_rate_is_met_under_noise(share: float, seed: int) -> None:
    backend = Backend(spread(LATENCY_S, 0.3), rpm=6_000, burst=100, noise=lambda _: share)
    found = Traffic(backend, Gate(AdaptiveLimit()), seed=seed).run(60)
    assert found.rate >= 0.9 * 100
    assert found.calls <= 1.1


def test_noise_that_begins_late_and_ends_is_learnt_and_forgotten() -> None:
    backend = Backend(constant(LATENCY_S), noise=lambda now: 0.02 if 12 <= now < 20 else 0.0)
    gate = Gate(AdaptiveLimit(start=SLOTS, most=SLOTS))
    traffic = Traffic(backend, gate, seed=1)
    shares: list[float] = []
    backend.noise = lambda now: _noted(gate, shares, 0.02 if 12 <= now < 20 else 0.0)
    found = traffic.run(30)
    assert found.rate >= 0.95 * CAPACITY
    assert max(shares) == pytest.approx(0.02, rel=0.6)


def _noted(gate: Gate, shares: list[float], share: float) -> float:
    shares.append(gate.limiter.refusals.share(FaultClass.OVERLOAD))
    return share


def outage_over(share: float) -> Callable[[float], float]:
    return lambda now: 1.0 if 14 <= now < 15 else share


def test_an_outage_under_noise_cuts_as_deep_as_one_without() -> None:
    """Everybody is refused for a second."""
    found = []
    for share in (0.0, 0.01):
        noise = outage_over(share)
        backend = Backend(constant(LATENCY_S), noise=noise, noisy=waits(UNAVAILABLE, 1.0))
        found.append(outcome(backend, start=SLOTS, most=SLOTS))
    quiet, noisy = found
    assert noisy.lowest == quiet.lowest == 1
    assert noisy.all_refusals <= quiet.all_refusals + 0.015 * noisy.all_answers + SLOTS
    assert noisy.rate >= 0.95 * quiet.rate


# -- the judgement alone


def verdicts(gaps: list[int], levels: list[float]) -> list[Verdict]:
    refusals, number, found = Refusals(), 1, []
    refusals.refused(FaultClass.OVERLOAD, number, levels[0])
    for gap, level in zip(gaps, levels, strict=True):
        number += gap + 1
        found.append(refusals.refused(FaultClass.OVERLOAD, number, level))
    return found


def test_what_goes_on_evenly_below_where_it_began_is_noise() -> None:
    found = verdicts([90, 120, 70, 140, 100], [100, 98, 80, 80, 80])
    assert found[:2] == [Verdict.DOUBTED] * 2
    assert found[2:] == [Verdict.AWAITED, Verdict.AWAITED, Verdict.NOISE]


def test_what_comes_some_at_a_time_is_an_edge_that_is_met_again_and_again() -> None:
    found = verdicts([300, 0, 1, 280, 0, 0, 310, 1, 0], [100, 98, 80, 100, 80, 80, 80, 80, 80])
    assert Verdict.NOISE not in found


def test_what_hits_nearly_all_is_no_noise() -> None:
    assert set(verdicts([0, 1, 0, 2, 1, 0], [100, 90, 80, 60, 40, 20])) == {Verdict.EDGE}


def test_proven_noise_passes_up_to_about_twice_its_share() -> None:
    refusals, number = Refusals(), 1
    for level in (100, 98, 80, 80, 80, 80):
        refusals.refused(FaultClass.OVERLOAD, number := number + 100, level)
    assert refusals.began_at(FaultClass.OVERLOAD) == 98
    often = [refusals.refused(FaultClass.OVERLOAD, number := number + 60, 98) for _ in range(40)]
    assert set(often) == {Verdict.PASSED}
    much = [refusals.refused(FaultClass.OVERLOAD, number := number + 2, None) for _ in range(40)]
    assert much[20:].count(Verdict.PASSED) <= 2


# -- who is held by Retry-After


def asked(hold: Hold, numbers: range, fault: Fault) -> float:
    for number in numbers:
        hold.asked(0.0, number, fault)
    return hold.until


def test_a_throttle_with_nothing_beside_it_holds_everybody_and_not_for_long() -> None:
    assert asked(Hold(), range(1, 2), waits(THROTTLED, 20.0)) == 20.0
    for number in range(1, 5):
        assert asked(Hold(), range(number, number + 1), waits(THROTTLED, 3_600.0)) == LONGEST_S
    assert asked(Hold(), range(1, 3), waits(THROTTLED, 3_600.0)) == 3_600.0


def test_good_answers_to_what_was_sent_after_a_throttle_end_its_hold() -> None:
    hold = Hold()
    assert asked(hold, range(1, 5), waits(THROTTLED, 3_600.0)) == 3_600.0
    for number in range(5, 12):
        hold.answered(number)
        assert hold.until == 3_600.0  # still more than a quarter of all
    for number in range(12, 40):
        hold.answered(number)
    assert hold.until == 0.0


def test_answers_to_what_was_sent_before_a_throttle_say_nothing() -> None:
    hold = Hold()
    asked(hold, range(60, 80), waits(THROTTLED, 60.0))
    for number in range(1, 60):
        hold.answered(number)
    assert hold.until == 60.0


def test_a_throttle_among_hundreds_of_answers_holds_its_row_only() -> None:
    assert asked(Hold(), range(500, 501), waits(THROTTLED, 60.0)) == 0.0
    assert asked(Hold(), range(100, 2_000, 40), waits(THROTTLED, 60.0)) == 0.0


def test_throttles_one_after_another_hold_everybody() -> None:
    assert asked(Hold(), range(500, 508), waits(THROTTLED, 60.0)) == 0.0
    assert asked(Hold(), range(500, 512), waits(THROTTLED, 60.0)) == 60.0


def test_an_overload_holds_everybody_only_where_most_are_refused() -> None:
    full = waits(UNAVAILABLE, 5.0)
    assert asked(Hold(), range(1, 7), full) == 0.0
    assert asked(Hold(), range(500, 520), full) == 0.0
    assert asked(Hold(), range(500, 530), full) == 5.0


def test_a_stumble_that_says_when_to_come_back_is_one_of_them() -> None:
    stumble = Fault(kind=FaultClass.TRANSIENT, code="http_500", status=500)
    assert asked(Hold(), range(500, 600), stumble) == 0.0
    assert asked(Hold(), range(500, 600), waits(stumble, 5.0)) == 5.0
