"""Who is served, who waits and who is refused, on a clock that the test moves."""

import pytest

from nightkiln.simulate.admission import Place, RateLimits, Slots


class Customer:
    def serve(self) -> None:
        raise AssertionError("admission never serves by itself")


def slots(*, capacity: int, queue_limit: int) -> Slots:
    made = Slots()
    made.resize(capacity=capacity, queue_limit=queue_limit, now=0.0)
    return made


def test_the_request_limit_refuses_until_it_has_refilled() -> None:
    limits = RateLimits(rpm=60, tpm=0, burst_s=2, now=0.0)
    assert limits.take(1, 0.0) is None
    assert limits.take(1, 0.0) is None
    refusal = limits.take(1, 0.0)
    assert refusal is not None
    assert refusal.reason == "requests"
    assert refusal.retry_after_s == pytest.approx(1.0)
    assert limits.take(1, 1.0) is None


def test_a_refusal_by_tokens_charges_no_request() -> None:
    limits = RateLimits(rpm=60, tpm=600, burst_s=2, now=0.0)
    assert limits.take(15, 0.0) is None
    refusal = limits.take(15, 0.0)
    assert refusal is not None
    assert refusal.reason == "tokens"
    assert refusal.retry_after_s == pytest.approx(1.0)
    assert b"x-ratelimit-remaining-requests: 1\r\n" in limits.headers(0.0)


def test_a_request_larger_than_the_bucket_passes_when_it_is_full() -> None:
    limits = RateLimits(rpm=0, tpm=600, burst_s=1, now=0.0)
    assert limits.take(1000, 0.0) is None
    refusal = limits.take(1000, 0.0)
    assert refusal is not None
    assert refusal.retry_after_s == pytest.approx(100.0)
    assert limits.take(1000, 100.5) is None


def test_headers_say_limit_rest_and_reset() -> None:
    limits = RateLimits(rpm=60, tpm=6000, burst_s=10, now=0.0)
    limits.take(250, 0.0)
    assert limits.headers(0.0) == (
        b"x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 9\r\n"
        b"x-ratelimit-reset-requests: 1000ms\r\n"
        b"x-ratelimit-limit-tokens: 6000\r\nx-ratelimit-remaining-tokens: 750\r\n"
        b"x-ratelimit-reset-tokens: 2500ms\r\n"
    )


def test_no_limit_means_no_headers_and_no_refusal() -> None:
    limits = RateLimits(rpm=0, tpm=0, burst_s=1, now=0.0)
    assert not limits.active
    assert limits.headers(0.0) == b""
    assert limits.take(10**9, 0.0) is None


def test_beyond_capacity_requests_wait_and_beyond_the_queue_they_are_refused() -> None:
    desk = slots(capacity=1, queue_limit=1)
    places = [desk.ask(Customer(), 0.0) for _ in range(3)]
    assert places == [Place.SERVED, Place.QUEUED, Place.REFUSED]
    assert (desk.inflight, desk.queued, desk.max_inflight, desk.max_queue) == (1, 1, 1, 1)


def test_a_free_slot_goes_to_the_one_who_waited_longest() -> None:
    desk = slots(capacity=1, queue_limit=9)
    customers = [Customer() for _ in range(3)]
    for customer in customers:
        desk.ask(customer, 0.0)
    assert desk.give_back(1.0) == [customers[1]]
    assert desk.give_back(2.0) == [customers[2]]
    assert desk.give_back(3.0) == []


def test_who_left_the_queue_is_not_let_in() -> None:
    desk = slots(capacity=1, queue_limit=9)
    first, second, third = Customer(), Customer(), Customer()
    for customer in (first, second, third):
        desk.ask(customer, 0.0)
    desk.forget(second)
    desk.forget(first)
    assert desk.give_back(1.0) == [third]


def test_more_capacity_lets_the_waiting_in_at_once() -> None:
    desk = slots(capacity=1, queue_limit=9)
    customers = [Customer() for _ in range(4)]
    for customer in customers:
        desk.ask(customer, 0.0)
    assert desk.resize(capacity=3, queue_limit=9, now=1.0) == customers[1:3]
    assert desk.resize(capacity=0, queue_limit=9, now=1.0) == customers[3:]


def test_no_capacity_limit_serves_everybody() -> None:
    desk = slots(capacity=0, queue_limit=0)
    assert {desk.ask(Customer(), 0.0) for _ in range(100)} == {Place.SERVED}


def test_used_slot_seconds_are_weighted_by_time() -> None:
    desk = slots(capacity=0, queue_limit=0)
    desk.ask(Customer(), 0.0)
    desk.ask(Customer(), 1.0)
    desk.give_back(3.0)
    assert desk.used_s(4.0) == pytest.approx(1 + 2 * 2 + 1)
    desk.reset(4.0)
    assert desk.used_s(6.0) == pytest.approx(2.0)
    assert desk.max_inflight == 1
