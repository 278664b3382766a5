import random

from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.plan.quota import CAPACITY, CLEAN_GAIN, RETRY_COST, RetryQuota

STUMBLE = Fault(kind=FaultClass.TRANSIENT, code="http_500")
FULL = Fault(kind=FaultClass.OVERLOAD, code="http_503")
THROTTLED = Fault(kind=FaultClass.THROTTLE, code="http_429")
EPOCH = 1_790_000_000.0


def taken_until_empty(quota: RetryQuota, fault: Fault) -> int:
    return next(tries for tries in range(10_000) if not quota.try_take(fault, EPOCH))


def test_an_outage_is_worth_some_tens_of_retries() -> None:
    assert taken_until_empty(RetryQuota(), STUMBLE) == 35


def test_being_refused_by_a_full_backend_costs_less() -> None:
    assert taken_until_empty(RetryQuota(), FULL) == 100


def test_being_throttled_costs_nothing() -> None:
    quota = RetryQuota()
    taken_until_empty(quota, STUMBLE)
    assert quota.try_take(THROTTLED, EPOCH)
    assert quota.next_at(THROTTLED, EPOCH) == EPOCH


def test_a_backend_that_fails_a_third_of_all_tries_keeps_its_retries() -> None:
    quota, dice, refused = RetryQuota(), random.Random(5), 0
    waiting = 0
    for _ in range(20_000):  # no time passes, so the trickle gives nothing
        retried = STUMBLE if waiting and quota.try_take(STUMBLE, EPOCH) else None
        refused += waiting > 0 and retried is None
        waiting -= retried is not None
        if dice.random() < 1 / 3:
            waiting += 1
        else:
            quota.on_ok(EPOCH, retried)
    assert refused < 200
    assert waiting < 100


def test_a_success_after_a_retry_gives_its_cost_back_and_more() -> None:
    quota = RetryQuota()
    taken_until_empty(quota, STUMBLE)
    before = quota.level(EPOCH)
    quota.on_ok(EPOCH, STUMBLE)
    assert quota.level(EPOCH) == before + RETRY_COST + CLEAN_GAIN


def test_clean_successes_fill_the_store_to_its_brim_and_no_further() -> None:
    quota = RetryQuota()
    quota.try_take(STUMBLE, EPOCH)
    for _ in range(100):
        quota.on_ok(EPOCH)
    assert quota.level(EPOCH) == CAPACITY


def test_waiting_always_ends() -> None:
    quota = RetryQuota()
    now = EPOCH
    for _ in range(200):
        if not quota.try_take(STUMBLE, now):
            assert now < quota.next_at(STUMBLE, now) <= now + RETRY_COST
            now = quota.next_at(STUMBLE, now)
            assert quota.try_take(STUMBLE, now)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["take", "cheap", "ok", "back"]),
            st.floats(-10, 3600, allow_nan=False),
        ),
        max_size=200,
    )
)
def test_the_level_stays_in_bounds_and_waiting_helps(steps: list[tuple[str, float]]) -> None:
    quota, now = RetryQuota(), EPOCH
    for step, passed in steps:
        now += passed
        if step == "ok":
            quota.on_ok(now)
        elif step == "back":
            quota.on_ok(now, STUMBLE)
        else:
            quota.try_take(STUMBLE if step == "take" else THROTTLED, now)
        assert 0 <= quota.level(now) <= CAPACITY
    later = max(now, quota.next_at(STUMBLE, now)) + 200  # backward steps may owe up to 10 s each
    later = quota.next_at(STUMBLE, later)
    assert quota.try_take(STUMBLE, later + 2000)
