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
from nightkiln.service import deletion, moves, wirebatches
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


def queues_of(*projects: str, priority: int = 1) -> list[Queue]:
    return [Queue(project=ProjectId(one), priority=priority) for one in projects]


def filled(places: Places, wanting: list[Queue], number: int = 0) -> list[Queue]:
    """Who takes the places that are free; their jobs are `job_<number>` and so on."""
    taken: list[Queue] = []
    places.wanted_by(wanting)
    while places.room > 0 and (queue := places.next()) is not None:
        places.takes(queue, JobId(f"job_{number + len(taken)}"))
        taken.append(queue)
    return taken


def test_places_go_round_among_projects_and_classes() -> None:
    places = Places(8)
    wanting = queues_of("a", "b", priority=0) + queues_of("a", "b", priority=1)
    taken = filled(places, wanting)
    assert [queue.priority for queue in taken].count(1) == 1
    assert abs([queue.project for queue in taken].count(ProjectId("a")) - 4) <= 1
    assert places.makes_room(ProjectId("c")) is not None
    assert places.waits_for_room


def test_nobody_makes_room_where_everybody_has_one_place() -> None:
    places = Places(2)
    filled(places, queues_of("a", "b"))
    places.wanted_by(queues_of("b", "c"))
    assert places.without() == queues_of("c")
    assert places.makes_room(ProjectId("c")) is None
    assert not places.waits_for_room


def test_more_projects_than_places_take_turns_over_many_looks() -> None:
    places, wanting = Places(2), queues_of("a", "b", "c", "d")
    taken = filled(places, wanting)
    for number in range(40):
        places.left(JobId(f"job_{number}"))
        taken += filled(places, wanting, len(taken))
    turns = [taken.count(queue) for queue in wanting]
    assert sum(turns) == 42
    assert min(turns) >= 10


def test_a_project_that_nobody_could_begin_for_keeps_its_turn_and_saves_none_up() -> None:
    places, wanting = Places(1), queues_of("a", "b")
    order: list[str] = []
    for number in range(9):
        places.wanted_by(wanting)
        if number < 5:
            places.drop(wanting[1])
        queue = places.next()
        assert queue is not None
        order.append(queue.project)
        places.takes(queue, JobId(f"job_{number}"))
        places.left(JobId(f"job_{number}"))
    assert "".join(order[:6]) == "aaaaab"
    assert order[6:].count("b") <= 2


def test_the_place_that_was_made_free_goes_to_the_project_it_was_made_free_for() -> None:
    places = Places(16)
    long, steady, late = (
        queues_of("a", priority=0)[0],
        *queues_of("c", "b", priority=1),
    )
    for number in range(16):
        wanted = long if number < 13 else steady
        places.wanted_by([wanted])
        places.takes(wanted, JobId(f"job_{number}"))
    places.wanted_by([long, steady, late])
    assert places.without() == [late]
    leaving = places.makes_room(late.project)
    assert leaving == "job_12"  # the youngest of who holds most
    places.left(leaving)
    assert filled(places, [long, steady, late], 20) == [late]
    places.wanted_by([long, steady, late])
    assert places.without() == []


def test_a_place_that_is_owed_to_nobody_any_more_goes_to_whose_turn_it_is() -> None:
    places = Places(2)
    [long, late] = queues_of("a", "b")
    filled(places, [long])
    leaving = places.makes_room(late.project)
    assert leaving is not None
    places.left(leaving)
    assert filled(places, [long], 5) == [long]  # the other job was cancelled meanwhile
    places.left(JobId("job_0"))
    assert filled(places, [long, late], 7) == [late]


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


async def test_many_batches_that_a_kill_left_unsettled_do_not_wait_for_further_looks(
    tmp_path: Path,
) -> None:
    url = "http://127.0.0.1:9/v1"
    async with home(tmp_path, url, work=False) as opened:
        context = opened.context(DEFAULT_PROJECT)
        made = [await batch_of(opened, context, 1 + number) for number in range(20)]
        for batch in made:
            assert batch.job is not None
            await deletion.delete(context, batch.job)
    async with home(tmp_path, url, look_s=3600.0) as opened:
        context = opened.context(DEFAULT_PROJECT)
        for batch in made:
            assert (await ended(context, batch)).status == "cancelled"


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
