"""Other numbers of users, while a backend is at work: what was learnt about it stays."""

import pytest

from nightkiln.core.limits import Limits
from nightkiln.plan.limiter import AdaptiveLimit, Phase
from nightkiln.plan.pacing import MINUTE_S, Pacer


def test_a_number_that_somebody_said_becomes_a_larger_one() -> None:
    limiter = AdaptiveLimit(start=8, most=8)
    limiter.follow(0.0, most=20, start=None)
    assert (limiter.limit, limiter.adapts) == (20, False)


def test_a_limit_that_refusals_cut_stays_cut() -> None:
    limiter = AdaptiveLimit(start=40, most=40)
    for _ in range(3):
        stamp = limiter.sent(0.0, 40)
        limiter.refused(1.0, stamp, in_flight=39)
    cut, stamp = limiter.limit, limiter.last
    assert cut < 40
    limiter.follow(2.0, most=100, start=None)
    assert limiter.limit == cut
    assert limiter.sent(2.0, 1) > stamp  # stamps go on: what is under way is still known


def test_from_a_number_that_somebody_said_more_is_looked_for() -> None:
    limiter = AdaptiveLimit(start=8, most=8)
    limiter.follow(0.0, most=1_000, start=16)
    assert (limiter.limit, limiter.adapts, limiter.phase) == (16, True, Phase.START)


def test_a_limit_that_was_found_is_not_looked_for_again() -> None:
    limiter = AdaptiveLimit(start=16, most=1_000)
    limiter.relax(0.0, 77)
    limiter.follow(0.0, most=2_000, start=8)
    assert (limiter.limit, limiter.adapts, limiter.phase) == (77, True, Phase.HOLD)


def drained(rpm: float | None) -> Pacer:
    """One whose second's worth of requests has left."""
    pacer = Pacer(rpm=rpm)
    pacer.ready_at(0.0)
    for _ in range(10):
        pacer.sent()
    return pacer


def test_a_higher_rate_holds_at_once_and_gives_no_second_start() -> None:
    pacer = drained(600.0)
    assert pacer.ready_at(0.0) > 0.0
    pacer.follow(0.0, rpm=6_000.0, tpm=None)
    assert pacer.rate == pytest.approx(100.0)
    assert pacer.ready_at(0.0) > 0.0


def test_where_nobody_says_a_rate_any_more_only_what_was_told_holds() -> None:
    pacer = drained(600.0)
    pacer.follow(0.0, rpm=None, tpm=None)
    assert pacer.rate is None
    told = drained(600.0)
    told.told(0.0, Limits(requests=1_200.0))
    assert told.rate == pytest.approx(10.0)
    told.follow(0.0, rpm=None, tpm=None)
    assert told.rate == pytest.approx(20.0)


def test_a_rate_that_refusals_taught_survives() -> None:
    pacer = Pacer()
    pacer.throttled(0.0)
    for _ in range(50):
        pacer.answered(10)
    assert pacer.throttled(5.0)
    learnt = pacer.learnt
    pacer.follow(5.0, rpm=MINUTE_S * 1_000, tpm=None)
    assert pacer.learnt == learnt
