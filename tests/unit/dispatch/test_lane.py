"""Who goes next, how long others wait, and what never uses up a row's attempts."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable

import pytest

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.testing.backends import fault

from .conftest import POLICY, Stage, prompt_of

F = FaultClass
Run = Callable[..., None]


def test_every_row_is_asked_once_and_answered(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        await stage.add(range(30))
        await stage.until_answered()
        assert stage.backend.asks == Counter(range(30))
        answers = stage.answers()
        assert [answers[row].text for row in range(30)] == [f"ROW {row}" for row in range(30)]

    on_stage(play)


def test_there_are_never_more_requests_in_flight_than_slots(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        for first in range(0, 90, 30):
            await stage.add(range(first, first + 30))
        await stage.until_answered()
        assert stage.backend.most_in_flight == 7

    on_stage(play, slots=7)


def test_retries_wait_longer_each_time(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.script(prompt_of(0), [fault(F.TRANSIENT)] * 4)
        await stage.add([0])
        await stage.until_answered()
        times = [at for at, _ in stage.backend.seen]
        waits = [later - sooner for sooner, later in itertools.pairwise(times)]
        for wait, backoff in zip(waits, (0.5, 1.0, 2.0, 4.0), strict=True):
            assert backoff <= wait < backoff + 0.5

    on_stage(play, grace_s=0.02)  # a journal that is slow to report would be counted as waiting


def test_the_last_attempt_brings_the_fault(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.script(prompt_of(0), [fault(F.TRANSIENT)] * 9)
        await stage.add([0])
        await stage.until_answered()
        assert stage.backend.asks[0] == POLICY.max_attempts
        answer = stage.answers()[0]
        assert answer.fault is not None
        assert answer.fault.kind is F.TRANSIENT
        assert [a.number for a in answer.attempts] == [1, 2, 3, 4, 5]

    on_stage(play)


def test_broken_replies_get_as_many_tries_as_stumbles(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.script(prompt_of(0), [fault(F.PROTOCOL)] * 9)
        await stage.add([0])
        await stage.until_answered()
        assert stage.backend.asks[0] == POLICY.max_attempts

    on_stage(play)


def test_a_backend_that_raises_is_a_fault_of_the_row_after_its_tries(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.script(prompt_of(0), [ZeroDivisionError("secret")] * 9)
        await stage.add([0, 1])
        await stage.until_answered()
        answers = stage.answers()
        assert answers[0].fault is not None
        assert answers[0].fault.code == "backend_raised"
        assert "secret" not in answers[0].fault.message
        assert (stage.backend.asks[0], answers[1].text) == (5, "ROW 1")

    on_stage(play)


@pytest.mark.parametrize("kind", [F.PERMANENT, F.CONTENT, F.INCOMPLETE])
def test_a_verdict_about_the_row_is_never_questioned(on_stage: Run, kind: FaultClass) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.script(prompt_of(0), [fault(kind)])
        await stage.add([0])
        await stage.until_answered()
        assert stage.backend.asks[0] == 1

    on_stage(play)


def test_throttling_never_uses_up_the_attempts(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.script(prompt_of(0), [fault(F.THROTTLE)] * 40)
        await stage.add([0])
        await stage.until_answered()
        assert stage.answers()[0].text == "ROW 0"

    on_stage(play)


def test_a_throttle_holds_everybody_until_it_is_over(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        for row in range(10):
            stage.backend.script(prompt_of(row), [fault(F.THROTTLE, retry_after_s=20.0)])
        await stage.add(range(20))
        await stage.until_answered()
        held = [at for at, _ in stage.backend.seen if at > 1.0]
        assert len(held) > 10
        assert min(held) >= 20.0

    on_stage(play)


def test_a_throttle_among_many_answers_holds_its_row_alone(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        await stage.add(range(100))
        await stage.until_answered()
        stage.backend.script(prompt_of(100), [fault(F.THROTTLE, retry_after_s=20.0)])
        began = asyncio.get_running_loop().time()
        await stage.add(range(100, 200))
        await stage.until_answered()
        assert [row for at, row in stage.backend.seen if at >= began + 5.0] == [100]
        assert stage.backend.asks[100] == 2

    on_stage(play)


def test_an_attempt_that_takes_too_long_is_ended(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.shut()
        await stage.add([0])
        await stage.until(lambda: stage.backend.asks[0] == 2)
        stage.backend.open()
        await stage.until_answered()
        first = stage.answers()[0].attempts[0]
        assert first.fault is not None
        assert first.fault.kind is F.AMBIGUOUS
        assert first.latency_ms == pytest.approx(30_000, rel=0.01)

    on_stage(play)


def test_an_empty_store_of_retries_makes_rows_wait_and_never_fails_them(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        while stage.lane.quota.try_take(fault(F.TRANSIENT), 0.0):
            pass
        for row in range(6):
            stage.backend.script(prompt_of(row), [fault(F.TRANSIENT)] * 2)
        await stage.add(range(6))
        await stage.until_answered()
        assert {answer.fault for answer in stage.answers().values()} == {None}
        retried = [at for at, _ in stage.backend.seen[6:]]
        assert min(retried) > 3.0  # a retry costs 14, a second brings 1

    on_stage(play)


def test_an_outage_costs_few_requests_and_no_row_its_attempts(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.fail_until(3600.0, fault(F.TRANSIENT))
        await stage.add(range(40))
        await stage.until(lambda: stage.lane.breaker.is_open)
        assert "transient" in stage.lane.waiting_for()
        await stage.until_answered()
        during = sum(at < 3600.0 for at, _ in stage.backend.seen)
        assert during < 14 + 3600 / 10
        assert {answer.fault for answer in stage.answers().values()} == {None}
        assert max(stage.backend.asks.values()) > POLICY.max_attempts

    on_stage(play)


def test_no_connection_never_costs_a_row_its_attempts(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        gone = Fault(kind=F.TRANSIENT, code="refused", sent=False, unreachable=True)
        stage.backend.script(prompt_of(0), [gone] * 30)
        await stage.add([0])
        await stage.until_answered()
        assert stage.answers()[0].text == "ROW 0"

    on_stage(play)


@pytest.mark.parametrize("kind", [F.AUTH, F.QUOTA, F.ROUTE])
def test_what_is_wrong_with_our_account_makes_rows_wait(on_stage: Run, kind: FaultClass) -> None:
    async def play(stage: Stage) -> None:
        for row in range(8):
            stage.backend.script(prompt_of(row), [fault(kind)] * 3)
        await stage.add(range(8))
        await stage.until(lambda: stage.lane.breaker.is_parked)
        assert stage.backend.asks.total() <= 4
        await stage.until_answered()
        assert {answer.fault for answer in stage.answers().values()} == {None}

    on_stage(play)


def test_all_slots_work_again_once_a_probe_shows_life(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        for row in range(10):  # these open the breaker; then the probe hears a verdict
            stage.backend.script(prompt_of(row), [fault(F.TRANSIENT), fault(F.PERMANENT)])
        await stage.add(range(10))
        await stage.until(lambda: stage.lane.breaker.is_open)
        await stage.add(range(10, 60))
        await stage.until(lambda: not stage.lane.breaker.is_open)
        began = asyncio.get_running_loop().time()
        await stage.until(lambda: stage.backend.asks.total() >= 60)
        assert asyncio.get_running_loop().time() - began < 10.0
        assert stage.backend.most_in_flight == 10

    on_stage(play, slots=10)


def test_rows_that_come_while_all_slots_are_idle_go_at_once(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        await stage.add([0])
        await stage.until_answered()
        await stage.until(lambda: asyncio.get_running_loop().time() > 500)
        began = asyncio.get_running_loop().time()
        await stage.add([1])
        await stage.until_answered()
        assert asyncio.get_running_loop().time() - began < 1.0

    on_stage(play)
