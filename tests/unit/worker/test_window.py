"""The open window and the runner over it: enough rows before the slots, and every ending kept."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from nightkiln.core.answer import Attempt
from nightkiln.core.chunk import ChunkState
from nightkiln.core.fault import FaultClass
from nightkiln.core.job import Job, JobState, PromptSpec, Wanted
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.member import Dice, LaneSettings, Member
from nightkiln.dispatch.openchunk import Form, OpenChunk
from nightkiln.dispatch.tally import Tally
from nightkiln.plan.retry import RetryPolicy
from nightkiln.service import moves, submit
from nightkiln.service.context import Context
from nightkiln.service.ingest import ingest
from nightkiln.service.leases import LocalLeases
from nightkiln.service.orders import Order
from nightkiln.store import chunks, jobs
from nightkiln.testing.backends import ScriptedBackend, answer_to, encode_prompt, fault
from nightkiln.vault.parts import read_part
from nightkiln.worker import window as windows
from nightkiln.worker.base import Desk
from nightkiln.worker.keeping import keep_answers
from nightkiln.worker.runner import Ending, Runner, RunSettings
from nightkiln.worker.window import Window

ROWS = 400


@pytest.fixture
async def job(context: Context, tmp_path: Path) -> Job:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"row {row}\n" for row in range(ROWS)))
    order = Order(input=str(path), output=None, prompt=PromptSpec(), model="m", endpoint="http://x")
    source = await submit.source_of(context, order)
    made, _ = await submit.accept(context, submit.spec_of(order, source, model="m"), new=False)
    done = ingest(made, context.files(made.id), on_rows=lambda _: None, stop=lambda: False)
    return await moves.validated(context, made.id, done)


async def desk_for(context: Context, job: Job) -> Desk:
    run = context.new_run_id()
    return Desk(
        job=await moves.begin_run(context, job.id, run),
        run=run,
        leases=LocalLeases(context),
        files=context.files(job.id),
        dice=Dice(clock=context.clock, roll=lambda: 0.0),
    )


def window_of(desk: Desk) -> Window:
    return Window(desk, form=Form(encode=encode_prompt), tally=Tally(desk.job.totals))


def runner_of(
    desk: Desk, backend: ScriptedBackend, stop: asyncio.Event, *, slots: int, wait_s: float = 60.0
) -> Runner:
    member = Member(
        backend=backend,
        settings=LaneSettings(slots=slots, policy=RetryPolicy(base_s=0.0)),
        price=lambda _: 0.0,
    )
    fleet = Fleet([member], dice=desk.dice)
    settings = RunSettings(slots=slots, wait_s=wait_s, drain_s=1.0)
    return Runner(desk, fleet=fleet, settings=settings, on_live=lambda _: None, stop=stop)


async def known(context: Context, job: Job) -> list[tuple[ChunkState, int]]:
    found = await context.store.read(lambda tx: chunks.all_chunks(tx, job.id))
    return [(chunk.state, chunk.epoch) for chunk in found]


def answer_all(chunk: OpenChunk, rows: int | None = None) -> None:
    for try_ in list(chunk.tries())[:rows]:
        end = Attempt(number=try_.number + 1, backend="b", sent_at=1.0, latency_ms=1.0)
        chunk.answered(try_.row, end, answer_to(f"row {try_.row}"))


async def test_the_slots_always_have_two_rounds_of_rows_before_them(
    context: Context, job: Job
) -> None:
    desk, backend, stop = (
        await desk_for(context, job),
        ScriptedBackend(latency_s=0.0),
        asyncio.Event(),
    )
    runner = runner_of(desk, backend, stop, slots=40)
    backend.shut()
    task = asyncio.create_task(runner.run())
    async with asyncio.timeout(20):
        while backend.in_flight < 40:
            await asyncio.sleep(0.01)
    assert 80 <= runner._window.unanswered <= 80 + 16
    backend.open()
    async with asyncio.timeout(20):
        assert await task is Ending.DONE
    assert backend.asks.total() == ROWS
    assert {state for state, _ in await known(context, job)} == {ChunkState.COMMITTED}


async def test_large_rows_close_the_window(
    context: Context, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_BYTES", 200)
    window = window_of(await desk_for(context, job))
    for _ in range(4):
        if not window.is_full:
            await window.lease_more(1)
    assert 1 < len(window.open) < 4
    await window.aclose()


async def test_a_sealed_chunk_keeps_the_results_of_earlier_generations(
    context: Context, job: Job
) -> None:
    desk = await desk_for(context, job)
    window = window_of(desk)
    (chunk,) = await window.lease_more(1)
    first, *_ = [try_.row for try_ in chunk.tries()]
    bad = fault(FaultClass.PERMANENT)
    chunk.failed(first, Attempt(number=1, backend="b", sent_at=1.0, latency_ms=1.0, fault=bad), bad)
    answer_all_but(chunk, first)
    await window.seal(chunk, backend="b")
    await window.aclose()
    await moves.move(context, job.id, JobState.CANCELLING)
    await moves.move(context, job.id, JobState.CANCELLED)
    again = await moves.retry(context, job.id)
    window = window_of(await desk_for(context, again))
    (chunk,) = await window.lease_more(1)
    assert [try_.row for try_ in chunk.tries()] == [first]
    answer_all(chunk)
    epoch = chunk.lease.chunk.epoch
    await window.seal(chunk, backend="b")
    await window.aclose()
    part = read_part(context.files(job.id).part(0, epoch))
    assert part.column("row").to_pylist() == list(range(part.num_rows))
    assert set(part.column("status").to_pylist()) == {"ok"}
    assert [path.name for path in context.files(job.id).parts.iterdir()] == [
        f"00000.{epoch}.parquet"
    ]


def answer_all_but(chunk: OpenChunk, spared: int) -> None:
    for try_ in list(chunk.tries()):
        if try_.row != spared:
            end = Attempt(number=1, backend="b", sent_at=1.0, latency_ms=1.0)
            chunk.answered(try_.row, end, answer_to(f"row {try_.row}"))


async def test_journals_that_a_crash_left_behind_a_commit_are_history(
    context: Context, job: Job
) -> None:
    window = window_of(await desk_for(context, job))
    (chunk,) = await window.lease_more(1)
    bad = fault(FaultClass.PERMANENT)
    for try_ in list(chunk.tries()):
        end = Attempt(number=1, backend="b", sent_at=1.0, latency_ms=1.0, fault=bad)
        chunk.failed(try_.row, end, bad)
    await chunk.journal.drain()
    journal = context.files(job.id).journal_of(0, 1)
    left = journal.read_bytes()
    await window.seal(chunk, backend="b")
    journal.write_bytes(left)
    await window.aclose()
    await moves.move(context, job.id, JobState.CANCELLING)
    await moves.move(context, job.id, JobState.CANCELLED)
    window = window_of(await desk_for(context, await moves.retry(context, job.id)))
    (chunk,) = await window.lease_more(1)
    assert chunk.unanswered == chunk.lease.chunk.rows
    assert list(chunk.all_attempts()) == []
    await window.aclose()


async def test_what_was_answered_before_a_cancel_is_kept(context: Context, job: Job) -> None:
    window = window_of(await desk_for(context, job))
    opened = await window.lease_more(2)
    for chunk in opened:
        answer_all(chunk, 5)
        await window.leave(chunk)
    await window.aclose()
    await keep_answers(await desk_for(context, job))
    found = await context.store.read(lambda tx: jobs.find(tx, job.id))
    assert found is not None
    assert (found.totals.ok, found.spent.attempts) == (5 * len(opened), 5 * len(opened))
    assert list(context.files(job.id).journal.iterdir()) == []


async def test_a_run_obeys_a_cancel_and_leaves_everything_journalled(
    context: Context, job: Job
) -> None:
    desk, backend, stop = (
        await desk_for(context, job),
        ScriptedBackend(latency_s=0.0),
        asyncio.Event(),
    )
    backend.shut()
    task = asyncio.create_task(runner_of(desk, backend, stop, slots=8).run())
    await moves.want(context, job.id, Wanted.CANCEL)
    async with asyncio.timeout(20):
        assert await task is Ending.CANCEL
    assert ChunkState.LEASED not in {state for state, _ in await known(context, job)}


async def test_a_run_that_was_stopped_goes_on_without_asking_again(
    context: Context, job: Job
) -> None:
    backend, stop = ScriptedBackend(latency_s=0.0), asyncio.Event()
    backend.when_asked = lambda _: stop.set() if backend.asks.total() >= 100 else None
    async with asyncio.timeout(20):
        first = await runner_of(await desk_for(context, job), backend, stop, slots=8).run()
        second = await runner_of(
            await desk_for(context, job), backend, asyncio.Event(), slots=8
        ).run()
    assert (first, second) == (Ending.STOPPED, Ending.DONE)
    assert set(backend.asks.values()) == {1}


async def test_a_run_that_waits_too_long_says_why(context: Context, job: Job) -> None:
    backend = ScriptedBackend(latency_s=0.0)
    loop = asyncio.get_running_loop()
    backend.fail_until(loop.time() + 600, fault(FaultClass.TRANSIENT))
    runner = runner_of(await desk_for(context, job), backend, asyncio.Event(), slots=8, wait_s=0.5)
    async with asyncio.timeout(20):
        assert await runner.run() is Ending.WAITED
    assert "transient" in runner.waiting


async def test_a_run_that_is_only_throttled_ends_its_wait_too(context: Context, job: Job) -> None:
    backend = ScriptedBackend(latency_s=0.0)
    loop = asyncio.get_running_loop()
    throttle = msgspec.structs.replace(fault(FaultClass.THROTTLE), retry_after_s=0.1)
    backend.fail_until(loop.time() + 600, throttle)
    runner = runner_of(await desk_for(context, job), backend, asyncio.Event(), slots=8, wait_s=0.5)
    async with asyncio.timeout(20):
        assert await runner.run() is Ending.WAITED
