import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightkiln.core.fault import PARKING, Fault, FaultClass
from nightkiln.plan.breaker import FAULTS_TO_OPEN, PATIENCE_S, Breaker

F = FaultClass
STUMBLE = Fault(kind=F.TRANSIENT, code="http_500", message="oh no")
LOST = Fault(kind=F.TRANSIENT, code="connection_refused", sent=False, unreachable=True)
BROKE = Fault(kind=F.QUOTA, code="credit_balance_exhausted")
REFUSED = Fault(kind=F.THROTTLE, code="http_429")
BAD_ROW = Fault(kind=F.PERMANENT, code="http_400")


def opened() -> Breaker:
    breaker = Breaker()
    for _ in range(FAULTS_TO_OPEN):
        breaker.on_fault(STUMBLE, 0.0, 1.0)
    return breaker


def test_ten_faults_in_a_row_open_it() -> None:
    breaker = Breaker()
    for _ in range(9):
        breaker.on_fault(STUMBLE, 0.0, 0.5)
    assert breaker.allow(0.0)
    breaker.on_fault(STUMBLE, 0.0, 0.5)
    assert not breaker.allow(0.0)
    assert breaker.reason == "transient (http_500): oh no"


def test_faults_of_an_open_breaker_are_not_held_against_rows() -> None:
    assert Breaker().counts_against_row
    assert not opened().counts_against_row


@pytest.mark.parametrize("sign", ["ok", "bad row"])
def test_a_sign_of_life_starts_the_count_again(sign: str) -> None:
    breaker = Breaker()
    for _ in range(5):
        for _ in range(9):
            breaker.on_fault(STUMBLE, 0.0, 0.5)
        if sign == "ok":
            breaker.on_ok(0.0)
        else:
            breaker.on_fault(BAD_ROW, 0.0, 0.5)
    assert not breaker.is_open


def test_three_lost_connections_open_it() -> None:
    breaker = Breaker()
    for _ in range(3):
        assert not breaker.is_open
        breaker.on_fault(LOST, 0.0, 0.5)
    assert breaker.is_open


def test_throttling_never_opens_it() -> None:
    breaker = Breaker()
    for _ in range(1000):
        breaker.on_fault(REFUSED, 0.0, 0.5)
    assert breaker.allow(0.0)


def test_while_open_one_probe_goes_at_growing_intervals() -> None:
    breaker, waits, now = opened(), [], 0.0
    for _ in range(8):
        due = breaker.next_at()
        assert due is not None
        waits.append(due - now)
        now = due
        assert breaker.allow(now)
        assert not breaker.allow(now)
        breaker.on_fault(STUMBLE, now, 1.0)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (FaultClass.AUTH, "the credential is refused"),
        (FaultClass.QUOTA, "no quota is left"),
        (FaultClass.ROUTE, "the model is not served"),
    ],
)
def test_a_fault_of_our_account_parks_it_at_once(kind: FaultClass, said: str) -> None:
    assert kind in PARKING
    breaker = Breaker()
    breaker.on_fault(Fault(kind=kind, code="c"), 100.0, 1.0)
    assert breaker.is_parked
    assert breaker.next_at() == 115.0
    assert breaker.reason == f"{said} (c)"


def test_late_answers_do_not_unpark_it_but_a_probe_does() -> None:
    breaker = Breaker()
    breaker.on_fault(BROKE, 0.0, 1.0)
    breaker.on_ok(1.0)
    assert breaker.is_parked
    assert breaker.allow(15.0)
    breaker.on_ok(16.0)
    assert not breaker.is_open
    assert breaker.reason == ""
    assert breaker.next_at() is None


def test_any_answer_closes_it_when_it_is_not_parked() -> None:
    for sign in (REFUSED, BAD_ROW, None):
        breaker = opened()
        if sign is None:
            breaker.on_ok(0.5)
        else:
            breaker.on_fault(sign, 0.5, 0.5)
        assert breaker.allow(0.5)


def test_late_faults_do_not_move_the_next_probe_away() -> None:
    breaker = opened()
    due = breaker.next_at()
    for moment in range(100):
        breaker.on_fault(STUMBLE, moment / 100, 0.5)
    assert breaker.next_at() == due


def test_a_probe_that_is_never_heard_of_again_does_not_close_the_door_for_good() -> None:
    breaker = opened()
    assert breaker.allow(1.0)
    assert not breaker.allow(1.0 + PATIENCE_S / 2)
    assert breaker.allow(1.0 + PATIENCE_S)


def test_a_parked_backend_is_probed_at_least_every_five_minutes() -> None:
    breaker, now = Breaker(), 0.0
    breaker.on_fault(BROKE, now, 1.0)
    for _ in range(10):
        due = breaker.next_at()
        assert due is not None
        assert due - now <= 300
        now = due
        assert breaker.allow(now)
        breaker.on_fault(BROKE, now, 1.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 64))
def test_through_years_of_weather_the_door_always_opens_again(seed: int, slots: int) -> None:
    """Years of virtual time: outages of every kind, lost probes, late replies."""
    dice = random.Random(seed)
    breaker, now = Breaker(), 1_790_000_000.0
    for _ in range(60):
        now = weather(breaker, now, dice, slots)
        now = calm(breaker, now)
        assert not breaker.is_open
        now += dice.uniform(0, 30 * 86_400)


def weather(breaker: Breaker, now: float, dice: random.Random, slots: int) -> float:
    for _ in range(dice.randrange(1, 200)):
        due = breaker.next_at()
        now = now + dice.expovariate(1) if due is None else max(now, due)
        if not breaker.allow(now) or dice.random() < 0.1:  # the probe's caller went away
            continue
        for _ in range(dice.randrange(1, slots + 1)):
            kind = dice.choice(list(FaultClass))
            fault = Fault(kind=kind, code="x", unreachable=dice.random() < 0.3)
            breaker.on_fault(fault, now + dice.uniform(0, 600), dice.random())
    return now + 600


def calm(breaker: Breaker, now: float) -> float:
    """The backend is well again: it must be found out within one longest interval and a bit."""
    start = now
    while breaker.is_open:
        due = breaker.next_at()
        assert due is not None
        now = max(now, due)
        assert now - start <= 900 + PATIENCE_S
        assert breaker.allow(now)
        breaker.on_ok(now)
    return now
