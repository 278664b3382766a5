"""A stop drains first and cuts off then; every attempt that left has an end."""

import asyncio
from collections.abc import Callable

from nightkiln.core.answer import Attempt
from nightkiln.core.fault import FaultClass
from nightkiln.core.request import Request
from nightkiln.dispatch.openchunk import INTERRUPTED
from nightkiln.testing.backends import fault
from nightkiln.vault.frames import Answered, Faulted, Frame, Sent
from nightkiln.vault.recovery import Recovered

from .conftest import Stage

Run = Callable[..., None]


async def recovered(stage: Stage) -> Recovered:
    known = Recovered()
    known.absorb(await stage.frames())
    return known


def test_what_is_in_flight_may_finish(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        chunk = await stage.add(range(20))
        await stage.until(lambda: stage.backend.in_flight == 4)
        await stage.fleet.stop(drain_s=10.0)
        assert stage.backend.asks.total() == 4
        assert chunk.unanswered == 16
        assert not stage.backend.cancelled

    on_stage(play)


def test_what_does_not_finish_in_time_is_cut_off_and_has_an_end(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.shut()
        await stage.add(range(20))
        await stage.until(lambda: stage.backend.in_flight == 4)
        began = asyncio.get_running_loop().time()
        await stage.fleet.stop(drain_s=10.0)
        assert 10.0 <= asyncio.get_running_loop().time() - began < 11.0
        known = await recovered(stage)
        for row in range(4):
            (attempt,) = known.attempts(row)
            assert attempt.fault is not None
            assert (attempt.fault.kind, attempt.fault.code) == (FaultClass.AMBIGUOUS, INTERRUPTED)
            assert known.deaths(row) == 0

    on_stage(play)


def test_what_waits_for_its_journal_is_cut_off_too(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        chunk = await stage.add(range(4), tell=False)
        chunk.journal.close()  # as after a broken write: nothing is written any more
        stage.fleet.add(chunk)
        await stage.until(lambda: stage.lane.in_flight == 4)
        await stage.fleet.stop(drain_s=1.0)
        assert stage.backend.asks.total() == 0
        attempts = [attempt for attempt in chunk.all_attempts() if attempt.fault is not None]
        assert [a.fault.kind for a in attempts if a.fault] == [FaultClass.LOCAL] * 4

    on_stage(play)


def test_an_interrupted_attempt_costs_the_row_nothing_next_time(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.shut()
        await stage.add([0])
        await stage.until(lambda: stage.backend.in_flight == 1)
        await stage.fleet.stop(drain_s=0.0)
        again = await stage.add([0], before=await stage.frames(), tell=False)
        (try_,) = again.tries()
        assert (try_.number, try_.counted) == (1, 0)

    on_stage(play)


def test_every_request_that_left_was_journalled_before(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        unseen = []

        def look(request: Request) -> None:
            begun = [frame for frame in stage.written() if isinstance(frame, Sent)]
            if not any((request.row, 1) in frame.tries for frame in begun):
                unseen.append(request.row)

        stage.backend.when_asked = look
        await stage.add(range(40))
        await stage.until_answered()
        assert not unseen
        begun: set[tuple[int, int]] = set()
        for frame in await stage.frames():
            if isinstance(frame, Sent):
                begun.update(frame.tries)
            elif isinstance(frame, Answered | Faulted):
                assert frame.attempt is not None
                assert (frame.row, frame.attempt.number) in begun

    on_stage(play)


def test_earlier_attempts_count_and_those_of_dead_workers_do_not(on_stage: Run) -> None:
    async def play(stage: Stage) -> None:
        stumbled = Attempt(
            number=1,
            backend="b",
            sent_at=0.0,
            latency_ms=0.0,
            fault=fault(FaultClass.TRANSIENT),
        )
        before: list[Frame] = [
            Sent(at=0.0, backend="b", tries=((0, 1),)),
            Faulted(0, stumbled),
            Sent(at=0.0, backend="b", tries=((0, 2),)),
        ]
        chunk = await stage.add([0], before=before, tell=False)
        (try_,) = chunk.tries()
        assert (try_.number, try_.counted) == (2, 1)

    on_stage(play)


def test_refusals_of_a_full_backend_cost_the_row_nothing_next_time_and_go_on_being_counted(
    on_stage: Run,
) -> None:
    async def play(stage: Stage) -> None:
        stage.backend.fail_until(36_000.0, fault(FaultClass.OVERLOAD, retry_after_s=1.0))
        await stage.add([0])
        await stage.until(lambda: stage.backend.asks.total() == 7)
        await stage.fleet.stop(drain_s=1.0)
        again = await stage.add([0], before=await stage.frames(), tell=False)
        (try_,) = again.tries()
        assert (try_.number, try_.counted, try_.overloads) == (7, 0, 7)

    on_stage(play)
