"""The roster works on every job that wants to run, and on nothing else; real parts throughout."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.batchmaking import (
    created,
    ended,
    line,
    object_of,
    read,
    replies,
    served,
    settings_for,
    shown,
    text_of,
    uploaded,
    with_project,
)

from nightkiln.app.duties import Delays, Duty, duty_of
from nightkiln.app.finishing import finish_cancel
from nightkiln.app.roster import RosterSettings
from nightkiln.app.serving import ServedHome, open_server
from nightkiln.core.batches import Dialect
from nightkiln.core.ids import DEFAULT_PROJECT, JobId
from nightkiln.core.job import Job, JobSpec, JobState, PromptSpec, SourceSpec, Wanted
from nightkiln.service import deletion, moves, wirebatches, wirebatches_end
from nightkiln.service.context import Context
from nightkiln.simulate import Simulator, SimulatorSettings
from nightkiln.store import jobs
from nightkiln.wire.openai.objects import Batch

QUICK = RosterSettings(delays=Delays(first_s=0.05, most_s=0.2))


@asynccontextmanager
async def home(
    folder: Path, url: str, *, work: bool = True, **more: Any
) -> AsyncIterator[ServedHome]:
    settings = settings_for(url, "m", **more)
    async with open_server(
        folder / "home", environ={}, settings=settings, work=work, how=QUICK
    ) as opened:
        yield opened


def wake(opened: ServedHome) -> None:
    assert opened.roster is not None
    opened.roster.wake()


async def job_of(context: Context, name: JobId | None) -> Job:
    assert name is not None
    return await context.store.read(lambda tx: jobs.get(tx, name, project=context.project))


async def until(context: Context, name: JobId | None, **wanted: Any) -> Job:
    """The job once these fields of it are so."""
    async with asyncio.timeout(60):
        while True:
            job = await job_of(context, name)
            if all(getattr(job, field) == value for field, value in wanted.items()):
                return job
            await asyncio.sleep(0.02)


async def test_twenty_batches_of_two_projects_all_end_right_and_in_order(tmp_path: Path) -> None:
    async with Simulator() as simulator, home(tmp_path, simulator.url) as opened:
        one = opened.context(DEFAULT_PROJECT)
        other = await with_project(one, "other")
        made = []
        for number in range(20):
            context, rows = (one, other)[number % 2], 1 + number * 7
            file = await uploaded(context, text_of(map(line, range(rows))))
            made.append((context, rows, await created(context, file, opened.models)))
            wake(opened)
        for context, rows, batch in made:
            found = await ended(context, batch)
            assert (found.status, found.error_file_id) == ("completed", None)
            assert found.request_counts.completed == found.request_counts.total == rows
            data = await read(context, found.output_file_id)
            names = [reply["custom_id"] for reply in replies(data)]
            assert names == [f"c-{row}" for row in range(rows)]
            assert found.in_progress_at <= found.finalizing_at <= found.completed_at
            assert found.usage.total_tokens > 0
        assert simulator.stats().requests == sum(rows for _, rows, _ in made)


async def test_what_was_under_way_goes_on_when_a_server_begins(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        async with home(tmp_path, simulator.url, work=False) as opened:
            context = opened.context(DEFAULT_PROJECT)
            batch = await created(context, await uploaded(context, text_of([line(1)])), served())
        async with home(tmp_path, simulator.url) as opened:
            found = await ended(opened.context(DEFAULT_PROJECT), batch)
    assert found.status == "completed"


async def test_a_bad_file_fails_the_batch_and_names_every_bad_line(tmp_path: Path) -> None:
    lines = [line(row) for row in range(40)]
    lines[3]["url"] = "/v1/embeddings"
    lines[17]["custom_id"] = "c-5"
    lines[30]["body"]["stream"] = True
    data = text_of(lines) + b"{no json}\n"
    async with Simulator() as simulator, home(tmp_path, simulator.url) as opened:
        context = opened.context(DEFAULT_PROJECT)
        batch = await created(context, await uploaded(context, data), opened.models)
        wake(opened)
        found = await ended(context, batch)
        assert simulator.stats().requests == 0
    assert found.status == "failed"
    assert found.errors is not None
    assert [(one.line, one.code) for one in found.errors.data] == [
        (4, "invalid_url"),
        (18, "duplicate_custom_id"),
        (31, "streaming_unsupported"),
        (41, "invalid_json_line"),
    ]


@pytest.mark.parametrize("may", [True, False])
async def test_a_model_that_is_not_served_or_not_allowed_fails_every_line(
    tmp_path: Path, may: bool
) -> None:
    model = "unknown" if may else "m"
    async with home(tmp_path, "http://127.0.0.1:9/v1") as opened:
        context = opened.context(DEFAULT_PROJECT)
        file = await uploaded(context, text_of(line(row, model=model) for row in range(3)))
        batch = await created(context, file, opened.models, may=lambda _url, _model: may)
        wake(opened)
        found = await ended(context, batch)
    assert found.status == "failed"
    assert [(one.line, one.code) for one in found.errors.data] == [
        (row + 1, "model_not_found") for row in range(3)
    ]
    known = " Supported are 'm'." if may else ""  # nothing is told that the caller may not use
    assert {one.message for one in found.errors.data} == {
        f"The model '{model}' is not supported here.{known}"
    }


async def test_a_cancelled_batch_gives_what_was_answered(tmp_path: Path) -> None:
    slow = SimulatorSettings(latency="const:200")
    async with Simulator(slow) as simulator, home(tmp_path, simulator.url) as opened:
        context = opened.context(DEFAULT_PROJECT)
        file = await uploaded(context, text_of(map(line, range(2000))))
        batch = await created(context, file, opened.models)
        wake(opened)
        async with asyncio.timeout(60):
            while not (await object_of(context, batch)).request_counts.completed:
                await asyncio.sleep(0.05)
        asked = await wirebatches.cancel(context, batch.id, Dialect.OPENAI)
        assert asked.batch.moments.cancelling_at is not None
        wake(opened)
        found = await ended(context, batch)
        good, bad = await both(context, found)
    assert found.status == "cancelled"
    assert len(good) == found.request_counts.completed > 0
    assert len(good) + len(bad) == 2000
    assert {one["error"]["code"] for one in bad} == {"batch_cancelled"}


async def both(context: Context, found: Batch) -> tuple[list[Any], list[Any]]:
    good = replies(await read(context, found.output_file_id)) if found.output_file_id else []
    return good, replies(await read(context, found.error_file_id)) if found.error_file_id else []


async def test_a_batch_whose_time_is_over_keeps_its_answers_and_is_expired(tmp_path: Path) -> None:
    slow = SimulatorSettings(latency="const:700")  # 3,000 rows take longer than two seconds
    async with Simulator(slow) as simulator, home(tmp_path, simulator.url) as opened:
        context = opened.context(DEFAULT_PROJECT)
        file = await uploaded(context, text_of(map(line, range(3000))))
        batch = await created(context, file, opened.models, live_s=2.0)
        wake(opened)
        found = await ended(context, batch)
        good, bad = await both(context, found)
    assert found.status == "expired"
    assert len(good) + len(bad) == 3000
    assert {one["error"]["code"] for one in bad} == {"batch_expired"}
    assert found.expired_at is not None
    assert found.expired_at >= found.expires_at


async def test_a_backend_that_is_away_is_waited_for_and_the_job_says_why(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        url = simulator.url
    port = int(url.split(":")[2].split("/")[0])
    async with home(tmp_path, url) as opened:
        context = opened.context(DEFAULT_PROJECT)
        batch = await created(context, await uploaded(context, text_of([line(1)])), opened.models)
        wake(opened)
        job = await until(context, batch.job, state=JobState.PAUSED)
        assert "no connection" in job.reason
        assert (await object_of(context, batch)).status == "in_progress"
        async with Simulator(port=port):
            found = await ended(context, batch)
    assert found.status == "completed"


async def test_what_cannot_be_carried_out_waits_and_holds_nobody_up(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        async with home(tmp_path, simulator.url, work=False) as opened:
            context = opened.context(DEFAULT_PROJECT)
            bad = await created(context, await uploaded(context, text_of([line(1)])), served())
        places: dict[str, Any] = {
            "sim": {"url": simulator.url, "key": "env:GONE", "models": ["m"]},
            "free": {"url": simulator.url, "models": ["n"]},
        }
        async with home(tmp_path, simulator.url, endpoints=places) as opened:
            context = opened.context(DEFAULT_PROJECT)
            file = await uploaded(context, text_of([line(1, model="n")]))
            good = await created(context, file, opened.models)
            wake(opened)
            assert (await ended(context, good)).status == "completed"
            async with asyncio.timeout(60):
                while "GONE" not in (await job_of(context, bad.job)).reason:
                    await asyncio.sleep(0.02)
            assert (await shown(context, bad)).batch.ended_at is None


async def test_a_bug_in_one_job_stops_neither_another_nor_the_roster(tmp_path: Path) -> None:
    async with Simulator() as simulator, home(tmp_path, simulator.url) as opened:
        context = opened.context(DEFAULT_PROJECT)
        bad = await created(context, await uploaded(context, text_of([line(1)])), opened.models)
        name = bad.job
        assert name is not None
        await context.store.write(lambda tx: jobs.set_manner(tx, name, "no JSON"))
        wake(opened)
        async with asyncio.timeout(60):
            while (await job_of(context, name)).reason != "a bug: DecodeError":
                await asyncio.sleep(0.02)
        good = await created(context, await uploaded(context, text_of([line(2)])), opened.models)
        wake(opened)
        assert (await ended(context, good)).status == "completed"
        await wirebatches.cancel(context, bad.id, Dialect.OPENAI)
        wake(opened)
        assert (await ended(context, bad)).status == "cancelled"


async def test_a_batch_that_is_paused_expires_too_and_costs_no_work_before(tmp_path: Path) -> None:
    async with Simulator() as simulator, home(tmp_path, simulator.url) as opened:
        context = opened.context(DEFAULT_PROJECT)
        file = await uploaded(context, text_of(map(line, range(5))))
        batch = await created(context, file, opened.models, live_s=3.0)
        assert batch.job is not None
        await moves.want(context, batch.job, Wanted.PAUSE)
        wake(opened)
        found = await ended(context, batch)
        assert simulator.stats().requests == 0
    assert found.status == "expired"


async def test_a_paused_job_waits_until_it_is_resumed(tmp_path: Path) -> None:
    slow = SimulatorSettings(latency="const:500")
    async with Simulator(slow) as simulator, home(tmp_path, simulator.url) as opened:
        context = opened.context(DEFAULT_PROJECT)
        file = await uploaded(context, text_of(map(line, range(2000))))
        batch = await created(context, file, opened.models)
        assert batch.job is not None
        wake(opened)
        await until(context, batch.job, state=JobState.RUNNING)
        await moves.want(context, batch.job, Wanted.PAUSE)
        wake(opened)
        job = await until(context, batch.job, state=JobState.PAUSED)
        assert job.reason == moves.ON_REQUEST
        assert opened.roster is not None
        assert not opened.roster.is_running(batch.job)
        await moves.resume(context, batch.job)
        opened.roster.resumed(batch.job)
        assert (await ended(context, batch)).request_counts.completed == 2000


async def test_a_batch_that_a_kill_left_unsettled_is_settled_at_the_next_start(
    tmp_path: Path,
) -> None:
    url = "http://127.0.0.1:9/v1"
    async with home(tmp_path, url, work=False) as opened:
        context = opened.context(DEFAULT_PROJECT)
        file = await uploaded(context, text_of(map(line, range(5))))
        over = await created(context, file, opened.models)
        gone = await created(context, file, opened.models)
        assert over.job is not None
        assert gone.job is not None
        await finish_cancel(context, over.job)
        await deletion.delete(context, gone.job)
    async with home(tmp_path, url) as opened:
        context = opened.context(DEFAULT_PROJECT)
        assert (await ended(context, over)).status == "cancelled"
        assert (await ended(context, gone)).status == "cancelled"


async def test_a_settling_that_was_cut_short_is_repeated_harmlessly(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        async with home(tmp_path, simulator.url) as opened:
            context = opened.context(DEFAULT_PROJECT)
            file = await uploaded(context, text_of(map(line, range(30))))
            batch = await created(context, file, opened.models)
            wake(opened)
            done = await ended(context, batch)
            record = (await shown(context, batch)).batch
            data = await read(context, done.output_file_id)
            job = await job_of(context, batch.job)
            again = await wirebatches_end.write_outputs(context, record, job)
            assert [(one.id, one.size_bytes) for one in again] == [(done.output_file_id, len(data))]
            settled = await wirebatches_end.settle(context, job.id)
            assert settled == record
            assert await read(context, done.output_file_id) == data
        assert len(list((tmp_path / "home" / "files").iterdir())) == 2


def job_in(state: JobState, wanted: Wanted = Wanted.RUN, reason: str = "") -> Job:
    source = SourceSpec(kind="csv", path="/x", name="x", size_bytes=1, sha256="")
    spec = JobSpec(source=source, prompt=PromptSpec(), model="m")
    return Job(
        id=JobId("job_1"),
        spec=spec,
        idempotency_key="",
        state=state,
        wanted=wanted,
        reason=reason,
        created_at=0.0,
    )


@pytest.mark.parametrize(
    ("job", "duty"),
    [
        (job_in(JobState.QUEUED), Duty.RUN),
        (job_in(JobState.PAUSED, reason="the run ended early"), Duty.RUN),
        (job_in(JobState.PAUSED, reason="20 rows were tried"), Duty.NONE),
        (job_in(JobState.PAUSED, Wanted.PAUSE), Duty.NONE),
        (job_in(JobState.QUEUED, Wanted.PAUSE), Duty.PAUSE),
        (job_in(JobState.PAUSED, Wanted.CANCEL), Duty.CANCEL),
        (job_in(JobState.CANCELLING), Duty.CANCEL),
        (job_in(JobState.FINALIZING, Wanted.PAUSE), Duty.FINISH),
        (job_in(JobState.DELETING, Wanted.CANCEL), Duty.NONE),
        (job_in(JobState.FAILED), Duty.SETTLE),
    ],
)
def test_what_a_job_wants_follows_from_how_it_stands(job: Job, duty: Duty) -> None:
    assert duty_of(job, deadline=None, now=9.0) is duty


def test_a_deadline_ends_what_waits_or_runs_even_if_it_is_paused() -> None:
    for state in (JobState.VALIDATING, JobState.QUEUED, JobState.RUNNING, JobState.PAUSED):
        for wanted in (Wanted.RUN, Wanted.PAUSE):
            assert duty_of(job_in(state, wanted), deadline=5.0, now=9.0) is Duty.FINISH
    assert duty_of(job_in(JobState.RUNNING, Wanted.CANCEL), deadline=5.0, now=9.0) is Duty.CANCEL


def test_delays_grow_up_to_a_bound() -> None:
    delays = Delays(first_s=2.0, most_s=10.0)
    assert [delays.after(count) for count in (1, 2, 3, 4, 100)] == [2, 4, 8, 10, 10]
