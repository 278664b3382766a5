"""Several backends for one job: who takes how much, and where rows of one that fails go."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.dispatch.member import Member
from nightkiln.testing.backends import ScriptedBackend, fault
from nightkiln.vault.frames import Sent

from .conftest import Stage, member_of, prompt_of

F = FaultClass
Run = Callable[..., None]
GONE = fault(F.TRANSIENT, code="refused", sent=False, unreachable=True)
LONG_S = 1e9


def of(
    *latencies_s: float, slots: int = 4, prices: Sequence[float] | None = None
) -> Callable[[], list[Member]]:
    """Backends with these latencies, named 0, 1, 2 …"""

    def members() -> list[Member]:
        return [
            member_of(
                ScriptedBackend(name=str(number), latency_s=latency_s),
                slots=slots,
                price_usd=prices[number] if prices else 1.0,
            )
            for number, latency_s in enumerate(latencies_s)
        ]

    return members


def answered_by(stage: Stage) -> Counter[str]:
    """How many rows each backend answered."""
    return Counter(one.attempts[-1].backend for one in stage.answers().values())


def test_who_is_quicker_takes_more_by_itself(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        await stage.add(range(400))
        await stage.until_answered()
        took = answered_by(stage)
        assert 270 <= took["0"] <= 330
        assert sum(backend.asks.total() for backend in stage.backends) == 400

    on_stage(play, members=of(0.1, 0.3))


def test_one_that_is_down_gives_its_rows_to_the_others_and_takes_more_when_it_is_back(
    on_stage: Run,
) -> None:
    async def play(stage: Stage) -> None:
        down = stage.backends[1]
        down.fail_until(20.0, GONE)
        started = asyncio.get_running_loop().time()
        await stage.add(range(100))
        await stage.until_answered()
        assert asyncio.get_running_loop().time() - started < 4.0
        assert answered_by(stage) == Counter({"0": 100})
        assert down.asks.total() < 20
        assert stage.fleet.down == 1
        assert stage.fleet.waiting_for() == ""
        await stage.add(range(100, 3000))
        await stage.until_answered()
        assert answered_by(stage)["1"] > 500
        assert {one.fault for one in stage.answers().values()} == {None}

    on_stage(play, members=of(0.1, 0.1))


@pytest.mark.parametrize("kind", [F.AUTH, F.QUOTA, F.ROUTE])
def test_a_refused_account_delays_no_row_and_fails_none(on_stage: Run, kind: FaultClass) -> None:
    async def play(stage: Stage) -> None:
        stage.backends[0].fail_until(LONG_S, fault(kind))
        await stage.add(range(40))
        await stage.until_answered(within_s=3.0)
        assert answered_by(stage) == Counter({"1": 40})
        assert stage.fleet.lanes[0].breaker.is_parked
        told = stage.fleet.news()
        assert len(told) == 1
        assert str(kind) in told[0]
        assert stage.fleet.news() == []

    on_stage(play, members=of(0.1, 0.1))


def test_when_all_are_gone_the_job_waits_and_says_why_of_each(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        for backend in stage.backends:
            backend.fail_until(300.0, GONE)
        await stage.add(range(30))
        await stage.until(lambda: stage.fleet.down == 2)
        said = stage.fleet.waiting_for()
        assert "0: transient (refused)" in said
        assert "1: transient (refused)" in said
        await stage.until_answered()
        assert {one.fault for one in stage.answers().values()} == {None}
        assert not any("back" in text for text in stage.fleet.news())

    on_stage(play, members=of(0.1, 0.1))


def test_one_that_comes_back_is_told_of_once(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backends[0].fail_until(5.0, GONE)
        await stage.add(range(600))
        await stage.until(lambda: stage.fleet.down == 1)
        assert ["is down" in text for text in stage.fleet.news()] == [True]
        await stage.until_answered()
        assert stage.fleet.news() == ["0 is back"]

    on_stage(play, members=of(0.1, 0.1))


def test_a_retry_goes_to_another_backend(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        first, other = stage.backends
        for row in range(8):
            first.script(prompt_of(row), [fault(F.TRANSIENT)] * 9)
            other.script(prompt_of(row), [])
        await stage.add(range(8))
        await stage.until_answered()
        for answer in stage.answers().values():
            assert answer.fault is None
            assert [one.backend for one in answer.attempts][-1] == "1"
            assert len(answer.attempts) <= 2

    on_stage(play, members=of(0.1, 0.1))


def test_a_retry_does_not_wait_for_ever_for_another_that_is_busy(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        first, other = stage.backends
        first.script(prompt_of(0), [fault(F.TRANSIENT)])
        other.shut()
        await stage.add(range(12))
        await stage.until(lambda: first.asks[0] == 2, within_s=10.0)
        other.open()
        await stage.until_answered()

    on_stage(play, members=of(0.1, 0.1), roll=0.1)


def test_a_full_backend_costs_no_attempts_and_sends_its_rows_elsewhere(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backends[0].fail_until(LONG_S, fault(F.OVERLOAD, retry_after_s=60.0))
        await stage.add(range(60))
        await stage.until_answered(within_s=60.0)
        assert answered_by(stage)["1"] == 60

    on_stage(play, members=of(0.1, 0.1))


def test_two_that_are_full_do_not_throw_a_row_to_and_fro(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        for backend in stage.backends:
            backend.fail_until(20.0, fault(F.THROTTLE))
        await stage.add([0])
        await stage.until_answered()
        assert sum(backend.asks.total() for backend in stage.backends) < 20

    on_stage(play, members=of(0.01, 0.01))


def test_the_cheaper_one_goes_first_while_it_has_free_slots(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        for first in range(0, 40, 4):
            await stage.add(range(first, first + 4))
            await stage.until_answered()
        assert answered_by(stage) == Counter({"1": 40})
        await stage.add(range(100, 140))  # more than it has slots for: both work
        await stage.until_answered()
        assert answered_by(stage)["0"] >= 12

    on_stage(play, members=of(0.1, 0.1, prices=(2.0, 1.0)))


def test_the_dear_one_serves_when_the_cheap_one_is_gone(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backends[1].fail_until(LONG_S, GONE)
        await stage.add(range(4))
        await stage.until_answered(within_s=5.0)
        assert answered_by(stage) == Counter({"0": 4})

    on_stage(play, members=of(0.1, 0.1, prices=(2.0, 1.0)))


def test_the_last_rows_are_left_to_who_is_done_with_them_first(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        loop = asyncio.get_running_loop()
        await stage.add(range(200))
        stage.fleet.no_more()
        started = loop.time()
        await stage.until_answered()
        # 200 rows at 40 a second; a slow answer that began at the end would add ten.
        assert loop.time() - started < 12.0

    on_stage(play, members=of(0.1, 10.0))


def test_a_suspect_runs_alone_in_the_whole_fleet(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        died = [Sent(at=0.0, backend="b", tries=((3, number),)) for number in (1, 2)]
        for backend in stage.backends:
            backend.script(prompt_of(3), [fault(F.TRANSIENT)])
        seen: list[int] = []
        for backend in stage.backends:
            backend.when_asked = lambda request: (
                seen.append(stage.fleet.in_flight) if request.row == 3 else None
            )
        await stage.add(range(20), before=died)
        await stage.until_answered()
        assert seen
        assert set(seen) == {1}
        assert stage.answers()[3].fault is None

    on_stage(play, members=of(0.1, 0.1))


def test_identical_rows_are_asked_once_in_the_whole_fleet(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        chunk = await stage.add(range(30), tell=False)
        chunk.keys = {row: b"%016d" % (row % 3) for row in range(30)}
        stage.backends[0].fail_until(LONG_S, Fault(kind=F.AUTH, code="invalid_api_key"))
        stage.fleet.add(chunk)
        await stage.until_answered()
        answers = stage.answers()
        assert all(answers[row].text == answers[row % 3].text for row in answers)
        assert stage.backends[1].asks.total() <= 4

    on_stage(play, members=of(0.1, 0.1))
