"""Results of batches go in time, and the batches stay."""

import msgspec
import pytest
from tests.batchmaking import DAY_S, created, line, object_of, shown, text_of, uploaded

from nightkiln.core import crashpoints
from nightkiln.core.batches import Batch, BatchId, Dialect
from nightkiln.core.errors import DiskError, IllegalMove, NotFound
from nightkiln.core.ids import JobId
from nightkiln.core.job import JobState
from nightkiln.service import (
    anthropicbatches,
    deletion,
    files,
    moves,
    outdated,
    wirebatches_end,
)
from nightkiln.service.context import Context
from nightkiln.service.finalize import finalize
from nightkiln.service.wirebatches import show
from nightkiln.store import batches, jobs
from nightkiln.testing.clock import FakeClock
from nightkiln.wire.anthropic import batch as wire

from .conftest import Kilnful


async def passed(context: Context, seconds: float) -> None:
    assert isinstance(context.clock, FakeClock)
    context.clock.advance(seconds)


async def has_job(context: Context, job: JobId | None) -> bool:
    assert job is not None
    return await context.store.read(lambda tx: jobs.find(tx, job)) is not None


async def of_anthropic(kiln: Kilnful, rows: int, *, bad: frozenset[int] = frozenset()) -> Batch:
    """A batch that has ended, over a job with answers."""
    context = kiln.context
    began = context.clock()
    job = await kiln.ended(kiln.order(rows), failing=bad)
    batch = Batch(
        id=BatchId(wire.batch_id(job.id)),
        project=context.project,
        dialect=Dialect.ANTHROPIC,
        job=job.id,
        endpoint="/v1/chat/completions",
        created_at=began,
        expires_at=began + DAY_S,
        ended_at=context.clock(),
        rows=rows,
        totals=job.totals,
    )
    await context.store.write(lambda tx: batches.insert_batch(tx, batch))
    return batch


async def test_results_of_anthropics_batches_are_there_for_29_days(kiln: Kilnful) -> None:
    context = kiln.context
    batch = await of_anthropic(kiln, 5)
    await passed(context, 28.9 * DAY_S)
    assert await outdated.sweep(context) == 0
    assert await has_job(context, batch.job)
    later = await of_anthropic(kiln, 6)
    await passed(context, 0.2 * DAY_S)
    assert await outdated.sweep(context) == 1
    assert not await has_job(context, batch.job)
    assert await has_job(context, later.job)
    found = anthropicbatches.object_of(await show(context, batch.id, Dialect.ANTHROPIC))
    assert found.archived_at == context.clock()
    assert msgspec.json.decode(wire.batch_object(found))["results_url"] is None
    assert found.counts.succeeded == 5
    assert await outdated.sweep(context) == 0


@pytest.mark.parametrize("live_s", [7200.0, None])
async def test_results_of_openais_batches_go_with_their_files(
    kiln: Kilnful, live_s: float | None
) -> None:
    context = kiln.context
    file = await uploaded(context, text_of(map(line, range(20))))
    batch = await created(context, file, outputs_live_s=live_s)
    assert batch.job is not None
    found = await context.store.read(
        lambda tx: jobs.get(tx, batch.job or JobId(""), project=context.project)
    )
    job = await moves.validated(context, batch.job, kiln.taken(found))
    await kiln.answered(job, rows=20)
    await moves.move(context, job.id, JobState.FINALIZING)
    await finalize(context, job.id)
    assert await wirebatches_end.settle(context, job.id) is not None
    output = (await shown(context, batch)).batch.output_file
    assert output is not None
    await passed(context, (live_s or 30 * DAY_S) - 1.0)
    assert (await outdated.sweep(context), await has_job(context, job.id)) == (0, True)
    await files.get(context, output)
    await passed(context, 2.0)
    assert (await outdated.sweep(context), await has_job(context, job.id)) == (1, False)
    with pytest.raises(NotFound):
        await files.get(context, output)
    after = await object_of(context, batch)
    assert (after.status, after.request_counts.completed) == ("completed", 20)


async def test_results_stay_while_their_rows_are_asked_again(kiln: Kilnful) -> None:
    context = kiln.context
    batch = await of_anthropic(kiln, 5, bad=frozenset({2}))
    assert batch.job is not None
    await moves.retry(context, batch.job)
    await passed(context, 30 * DAY_S)
    assert await outdated.sweep(context) == 0
    assert await has_job(context, batch.job)


def _die() -> None:
    raise ZeroDivisionError


async def died_in_deletion(context: Context, job: JobId | None) -> None:
    """A deletion that left its tombstone and nothing else."""
    assert job is not None
    crashpoints.arm("delete.tombstone", nth=1, action=_die)
    try:
        with pytest.raises(ZeroDivisionError):
            await deletion.delete(context, job)
    finally:
        crashpoints.disarm()


async def test_a_deletion_that_was_cut_short_is_finished_by_the_next_sweep(kiln: Kilnful) -> None:
    context = kiln.context
    batch = await of_anthropic(kiln, 5)
    await died_in_deletion(context, batch.job)
    await passed(context, 30 * DAY_S)
    assert await outdated.sweep(context) == 1
    assert not await has_job(context, batch.job)


async def test_a_batch_whose_parts_are_gone_keeps_no_other_one(kiln: Kilnful) -> None:
    context = kiln.context
    parts = (BatchId("part_gone"),)
    lost = msgspec.structs.replace(await of_anthropic(kiln, 4), parts=parts)
    await context.store.write(lambda tx: batches.save(tx, lost))
    other = await of_anthropic(kiln, 5)
    await passed(context, 30 * DAY_S)
    assert await outdated.sweep(context) == 2
    assert not await has_job(context, lost.job)
    assert not await has_job(context, other.job)


async def test_batches_behind_ones_that_have_to_stay_are_reached(kiln: Kilnful) -> None:
    context = kiln.context
    made = [await of_anthropic(kiln, 5 + number, bad=frozenset({2})) for number in range(4)]
    made.sort(key=lambda batch: batch.id)
    for batch in made[:3]:
        assert batch.job is not None
        await moves.retry(context, batch.job)
    await passed(context, 30 * DAY_S)
    assert await outdated.sweep(context, page=2) == 1
    assert [await has_job(context, batch.job) for batch in made] == [True, True, True, False]


async def test_a_job_that_is_asked_again_meanwhile_is_not_deleted(kiln: Kilnful) -> None:
    context = kiln.context
    job = await kiln.ended(kiln.order(5), failing=frozenset({2}))
    await moves.retry(context, job.id)
    with pytest.raises(IllegalMove):
        await deletion.delete(context, job.id, only_over=True)
    assert (await kiln.job(job)).state is JobState.QUEUED
    await deletion.delete(context, job.id)
    assert not await has_job(context, job.id)


async def test_a_batch_that_the_disk_keeps_keeps_no_other_one(kiln: Kilnful) -> None:
    context = kiln.context
    made = sorted(
        [await of_anthropic(kiln, 4), await of_anthropic(kiln, 5)], key=lambda one: one.id
    )
    await passed(context, 30 * DAY_S)
    crashpoints.arm("delete.tombstone", nth=1, action=_full)
    try:
        with pytest.raises(DiskError):
            await outdated.sweep(context)
    finally:
        crashpoints.disarm()
    assert (await show(context, made[0].id, Dialect.ANTHROPIC)).batch.archived_at is None
    assert not await has_job(context, made[1].job)
    assert await outdated.sweep(context) == 1


def _full() -> None:
    raise DiskError("the disk is full", hint="free space", full=True)
