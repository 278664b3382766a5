"""Whose jobs a roster runs, of many that want to, and that nobody is forgotten."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.batchmaking import (
    created,
    ended,
    line,
    settings_for,
    shown,
    text_of,
    uploaded,
    with_project,
)

from nightkiln.app.duties import Delays
from nightkiln.app.places import Places
from nightkiln.app.roster import RosterSettings
from nightkiln.app.serving import ServedHome, open_server
from nightkiln.core.batches import Batch, Dialect
from nightkiln.core.ids import DEFAULT_PROJECT, JobId, ProjectId
from nightkiln.core.job import JobState, Wanted
from nightkiln.service import moves, wirebatches
from nightkiln.service.context import Context
from nightkiln.simulate import Simulator, SimulatorSettings
from nightkiln.store import jobs
from nightkiln.store.backlog import Queue
from nightkiln.vault.home import try_lock

QUICK = Delays(first_s=0.05, most_s=0.2)
SLOW = SimulatorSettings(latency="const:400")


@asynccontextmanager
async def home(
    folder: Path, url: str, *, work: bool = True, **how: Any
) -> AsyncIterator[ServedHome]:
    async with open_server(
        folder / "home",
        environ={},
        settings=settings_for(url, "m"),
        work=work,
        how=RosterSettings(delays=QUICK, **how),
    ) as opened:
        yield opened


async def batch_of(opened: ServedHome, context: Context, rows: int, **more: Any) -> Batch:
    file = await uploaded(context, text_of(map(line, range(rows))))
    batch = await created(context, file, opened.models, retries=None, **more)
    if opened.roster is not None:
        opened.roster.wake()
    return batch


async def test_a_second_project_does_not_wait_for_the_long_jobs_of_the_first(
    tmp_path: Path,
) -> None:
    async with Simulator(SLOW) as simulator, home(tmp_path, simulator.url, at_once=2) as opened:
        one = opened.context(DEFAULT_PROJECT)
        other = await with_project(one, "other")
        long = [await batch_of(opened, one, 4000 + number) for number in range(4)]
        assert opened.roster is not None
        async with asyncio.timeout(60):
            while opened.roster.running < 2:
                await asyncio.sleep(0.02)
        found = await ended(other, await batch_of(opened, other, 3))
        assert found.status == "completed"
        for batch in long:
            assert (await shown(one, batch)).batch.ended_at is None
            await wirebatches.cancel(one, batch.id, Dialect.OPENAI)
        opened.roster.wake()
        for batch in long:
            assert (await ended(one, batch)).status == "cancelled"


def test_places_go_round_among_projects_and_classes() -> None:
    places = Places(8)
    queues = [
        Queue(project=ProjectId(project), priority=priority)
        for project in ("a", "b")
        for priority in (0, 1)
    ]
    taken: list[tuple[str, int]] = []
    with places.turns(queues) as turns:
        while places.room > 0:
            queue = turns.next()
            assert queue is not None
            taken.append((queue.project, queue.priority))
            turns.takes(queue, JobId(f"job_{len(taken)}"))
    assert [priority for _, priority in taken].count(1) == 1
    assert abs([project for project, _ in taken].count("a") - 4) <= 1
    assert places.makes_room() is not None
    assert places.waits_for_room


def test_nobody_makes_room_where_everybody_has_one_place() -> None:
    places = Places(2)
    with places.turns([Queue(project=ProjectId(name), priority=1) for name in "ab"]) as turns:
        for job in ("job_1", "job_2"):
            queue = turns.next()
            assert queue is not None
            turns.takes(queue, JobId(job))
    waiting = [Queue(project=ProjectId(name), priority=1) for name in "bc"]
    assert places.without(waiting) == waiting[1:]
    assert places.makes_room() is None
    assert not places.waits_for_room


async def test_a_batch_expires_in_the_queue_however_many_are_before_it(tmp_path: Path) -> None:
    async with (
        Simulator(SLOW) as simulator,
        home(tmp_path, simulator.url, at_once=1, page=2) as opened,
    ):
        context = opened.context(DEFAULT_PROJECT)
        before = [await batch_of(opened, context, 4000 + number) for number in range(6)]
        late = [await batch_of(opened, context, 5 + n, live_s=1.0) for n in range(5)]
        for batch in late:
            assert (await ended(context, batch)).status == "expired"
        for batch in before:
            assert (await shown(context, batch)).batch.ended_at is None


async def test_jobs_behind_pages_of_parked_ones_are_run(tmp_path: Path) -> None:
    async with Simulator() as simulator, home(tmp_path, simulator.url, page=2) as opened:
        context = opened.context(DEFAULT_PROJECT)
        bad = [await batch_of(opened, context, 5 + number) for number in range(5)]
        for batch in bad:
            name = batch.job
            assert name is not None
            await context.store.write(partial(jobs.set_manner, job=name, manner="no JSON"))
        good = await batch_of(opened, context, 3)
        assert (await ended(context, good)).status == "completed"


async def test_a_look_at_who_works_on_a_job_keeps_nobody_from_working_on_it(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        async with home(tmp_path, simulator.url, work=False) as opened:
            context = opened.context(DEFAULT_PROJECT)
            batch = await batch_of(opened, context, 3)
            assert batch.job is not None
            lock = context.files(batch.job).lock
        looker = try_lock(lock, shared=True)  # as `is_held` takes it, only longer
        assert looker is not None
        async with home(tmp_path, simulator.url) as opened:
            context, reasons = opened.context(DEFAULT_PROJECT), set()
            asyncio.get_running_loop().call_later(0.4, looker.release)
            while (await shown(context, batch)).batch.ended_at is None:
                reasons.add((await _job(context, batch.job)).reason)
                await asyncio.sleep(0.01)
    assert reasons == {""}


async def test_a_server_that_runs_no_jobs_still_pauses_cancels_and_expires(
    tmp_path: Path,
) -> None:
    async with home(tmp_path, "http://127.0.0.1:9/v1", work=False) as opened:
        assert opened.roster is None  # nobody works on jobs here
        context = opened.context(DEFAULT_PROJECT)
        cancelled = await batch_of(opened, context, 5)
        expiring = await batch_of(opened, context, 6, live_s=1.0)
        paused = await batch_of(opened, context, 7)
        assert paused.job is not None
        name = paused.job
        async with asyncio.timeout(60):
            await context.store.write(lambda tx: _queued(tx, context, name))
            await moves.want(context, name, Wanted.PAUSE)
            while (await _job(context, name)).state is not JobState.PAUSED:
                await asyncio.sleep(0.02)
        await wirebatches.cancel(context, cancelled.id, Dialect.OPENAI)
        assert (await ended(context, cancelled)).status == "cancelled"
        assert (await ended(context, expiring)).status == "expired"


async def _queued(tx: Any, context: Context, name: JobId) -> None:
    found = await jobs.get(tx, name, project=context.project)
    await jobs.save(tx, found.moved(JobState.QUEUED))


async def _job(context: Context, name: JobId) -> Any:
    return await context.store.read(lambda tx: jobs.get(tx, name, project=context.project))
