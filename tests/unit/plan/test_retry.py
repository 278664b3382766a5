import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.fault import COUNTED, PARKING, Fault, FaultClass
from nightkiln.plan.retry import GiveUp, Retry, RetryPolicy

POLICY = RetryPolicy()
F = FaultClass


def fault(kind: FaultClass, *, after: float | None = None, unreachable: bool = False) -> Fault:
    return Fault(kind=kind, code="x", retry_after_s=after, unreachable=unreachable)


@pytest.mark.parametrize(("counted", "delay"), [(1, 0.25), (2, 0.5), (3, 1.0), (4, 2.0)])
def test_the_wait_doubles_with_each_attempt(counted: int, delay: float) -> None:
    decision = POLICY.decide(fault(F.TRANSIENT), counted=counted, overloads=0, roll=0.5)
    assert decision == Retry(delay)


def test_the_wait_is_never_shorter_than_what_was_asked_for() -> None:
    decision = POLICY.decide(fault(F.THROTTLE, after=42.0), counted=0, overloads=0, roll=0.9)
    assert decision == Retry(42.0)


def test_the_wait_has_a_ceiling() -> None:
    decision = POLICY.decide(fault(F.OVERLOAD), counted=0, overloads=19, roll=0.999)
    assert isinstance(decision, Retry)
    assert decision.delay_s <= 60.0


@pytest.mark.parametrize("kind", [F.TRANSIENT, F.AMBIGUOUS])
def test_the_fifth_attempt_is_the_last(kind: FaultClass) -> None:
    assert isinstance(POLICY.decide(fault(kind), counted=4, overloads=0, roll=0.5), Retry)
    assert POLICY.decide(fault(kind), counted=5, overloads=0, roll=0.5) == GiveUp(True)


def test_a_broken_answer_gets_as_many_tries_as_a_stumble() -> None:
    assert isinstance(POLICY.decide(fault(F.PROTOCOL), counted=4, overloads=0, roll=0.5), Retry)
    assert POLICY.decide(fault(F.PROTOCOL), counted=5, overloads=0, roll=0.5) == GiveUp(True)


@pytest.mark.parametrize("kind", [F.PERMANENT, F.CONTENT, F.POISON, F.INCOMPLETE])
def test_what_asking_again_cannot_mend_ends_at_once(kind: FaultClass) -> None:
    assert POLICY.decide(fault(kind), counted=0, overloads=0, roll=0.5) == GiveUp(False)


def test_throttling_never_uses_up_attempts() -> None:
    decision = POLICY.decide(fault(F.THROTTLE), counted=99, overloads=99, roll=0.5, throttles=999)
    assert isinstance(decision, Retry)
    assert not POLICY.is_counted(fault(F.THROTTLE))


def test_overload_counts_only_after_its_grace() -> None:
    assert not POLICY.is_counted(fault(F.OVERLOAD), overloads=20)
    assert POLICY.is_counted(fault(F.OVERLOAD), overloads=21)
    assert isinstance(POLICY.decide(fault(F.OVERLOAD), counted=5, overloads=20, roll=0), Retry)
    assert POLICY.decide(fault(F.OVERLOAD), counted=5, overloads=25, roll=0) == GiveUp(True)


@pytest.mark.parametrize("kind", sorted(PARKING))
def test_the_state_of_our_account_is_never_a_rows_end(kind: FaultClass) -> None:
    decision = POLICY.decide(fault(kind), counted=99, overloads=99, roll=0.5)
    assert isinstance(decision, Retry)
    assert decision.parks


def test_no_connection_never_uses_up_attempts() -> None:
    lost = fault(F.TRANSIENT, unreachable=True)
    assert not POLICY.is_counted(lost)
    assert isinstance(POLICY.decide(lost, counted=99, overloads=0, roll=0.5), Retry)


@given(
    st.sampled_from(FaultClass),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.floats(0, 86_400),
)
def test_every_decision_is_sane(
    kind: FaultClass, counted: int, overloads: int, roll: float, after: float | None
) -> None:
    decision = POLICY.decide(
        fault(kind, after=after), counted=counted, overloads=overloads, roll=roll
    )
    if isinstance(decision, Retry):
        assert (after or 0.0) <= decision.delay_s <= max(60.0, after or 0.0)
    elif decision.exhausted:
        assert kind in COUNTED
        assert counted >= 3
