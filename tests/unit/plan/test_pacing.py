import pytest

from nightkiln.core.limits import Limits
from nightkiln.plan.pacing import Pacer

NOW = 100.0


def let_out(pacer: Pacer, seconds: float, *, tokens: int = 0, start: float = NOW) -> int:
    """How many requests leave in some seconds when all are sent as soon as they may."""
    now, count = start, 0
    while (ready := pacer.ready_at(now)) <= start + seconds:
        now = max(now, ready)
        pacer.sent()
        pacer.answered(tokens)
        count += 1
        if count > 100_000:
            return count
    return count


def test_nothing_is_limited_until_somebody_says_so() -> None:
    pacer = Pacer()
    assert pacer.rate is None
    assert let_out(pacer, 1.0) > 100_000


def test_a_rate_that_was_said_is_kept() -> None:
    assert let_out(Pacer(rpm=600), 60.0) == pytest.approx(610, abs=2)


def test_tokens_are_limited_by_what_replies_have_used() -> None:
    pacer = Pacer(tpm=60_000)
    pacer.ready_at(NOW)
    pacer.sent()
    pacer.answered(100)
    assert let_out(pacer, 60.0, tokens=100) == pytest.approx(610, abs=5)


def test_headers_set_the_rate_and_what_is_left() -> None:
    pacer = Pacer()
    pacer.told(NOW, Limits(requests=6_000, requests_left=0))
    assert pacer.rate == 100
    assert pacer.ready_at(NOW) == pytest.approx(NOW + 0.01)


def test_headers_may_lower_what_the_user_said_and_never_raise_it() -> None:
    pacer = Pacer(rpm=600)
    pacer.ready_at(NOW)
    pacer.told(NOW, Limits(requests=60_000, requests_left=60_000))
    assert pacer.rate == 10
    pacer.told(NOW, Limits(requests=300, requests_left=300))
    assert pacer.rate == 5


def test_a_provider_that_others_use_too_leaves_us_less() -> None:
    pacer = Pacer()
    pacer.told(NOW, Limits(requests=6_000, requests_left=5_000))
    pacer.told(NOW, Limits(requests=6_000, requests_left=3))
    for _ in range(3):
        assert pacer.ready_at(NOW) <= NOW
        pacer.sent()
    assert pacer.ready_at(NOW) > NOW


def test_refusals_teach_the_rate_that_gets_through() -> None:
    pacer, now = Pacer(), NOW
    for second in range(3):
        assert pacer.throttled(now + 2 * second) is (second > 0)
        for _ in range(40):
            pacer.answered(10)
    assert pacer.is_learnt
    assert pacer.rate == pytest.approx(20)


def test_a_learnt_rate_is_raised_while_nobody_refuses_and_in_the_end_forgotten() -> None:
    pacer = Pacer()
    pacer.throttled(NOW)
    for _ in range(40):
        pacer.answered(10)
    pacer.throttled(NOW + 2)
    learnt = pacer.rate
    assert learnt is not None
    pacer.ready_at(NOW + 4)
    assert pacer.rate is not None
    assert pacer.rate > learnt
    for second in range(60):
        pacer.ready_at(NOW + 5 + second)
    assert not pacer.is_learnt
