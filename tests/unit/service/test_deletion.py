"""Deleting: tombstone, files, row; and whatever a crash left half done."""

import os

import pytest

from nightkiln.core import crashpoints
from nightkiln.core.errors import NotFound
from nightkiln.service import deletion
from nightkiln.store import ledger

from .conftest import Kilnful


def _die() -> None:
    raise ZeroDivisionError


async def test_a_deleted_job_is_gone_with_its_files_and_its_spending_stays(kiln: Kilnful) -> None:
    job = await kiln.ended(kiln.order(40))
    await deletion.delete(kiln.context, job.id)
    assert not kiln.context.files(job.id).root.exists()
    with pytest.raises(NotFound):
        await kiln.job(job)
    (entry,) = await kiln.context.store.read(
        lambda tx: ledger.by_day(tx, project=job.project, first="2000", last="3000")
    )
    assert entry.totals.attempts == 40


@pytest.mark.parametrize("point", ["delete.tombstone", "delete.files"])
async def test_a_deletion_that_died_is_finished_at_the_next_start(
    kiln: Kilnful, point: str
) -> None:
    job = await kiln.ended(kiln.order(40))
    crashpoints.arm(point, nth=1, action=_die)
    try:
        with pytest.raises(ZeroDivisionError):
            await deletion.delete(kiln.context, job.id)
    finally:
        crashpoints.disarm()
    await deletion.collect_garbage(kiln.context)
    assert not kiln.context.files(job.id).root.exists()
    with pytest.raises(NotFound):
        await kiln.job(job)


async def test_old_folders_without_a_job_are_collected_and_young_ones_stay(kiln: Kilnful) -> None:
    folder = kiln.context.home.root / "jobs"
    for name in ("job_old", "job_young"):
        (folder / name / "input").mkdir(parents=True)
    os.utime(folder / "job_old", (1.0, 1.0))
    kept = await kiln.ended(kiln.order(20))
    os.utime(kiln.context.files(kept.id).root, (1.0, 1.0))
    await deletion.collect_garbage(kiln.context)
    assert sorted(path.name for path in folder.iterdir()) == sorted(["job_young", kept.id])


async def test_a_folder_with_rows_outlives_the_store_that_knew_it(kiln: Kilnful) -> None:
    orphan = kiln.context.home.root / "jobs" / "job_lost"
    (orphan / "parts").mkdir(parents=True)
    (orphan / "parts" / "00000.1.parquet").write_bytes(b"paid for")
    os.utime(orphan, (1.0, 1.0))
    await deletion.collect_garbage(kiln.context)
    assert (orphan / "parts" / "00000.1.parquet").exists()


async def test_who_is_alone_in_a_home_collects_young_folders_too(kiln: Kilnful) -> None:
    folder = kiln.context.home.root / "jobs"
    (folder / "job_young" / "input").mkdir(parents=True)
    kept = await kiln.accepted(kiln.order(20))
    await deletion.collect_garbage(kiln.context, alone=True)
    assert [path.name for path in folder.iterdir()] == [kept.id]


async def test_the_spool_is_swept_of_what_nobody_has_touched_for_an_hour(kiln: Kilnful) -> None:
    spool = kiln.context.home.spool
    for name in ("frame-old", "frame-young"):
        (spool / name).write_bytes(b"rows")
    os.utime(spool / "frame-old", (1.0, 1.0))
    await deletion.sweep_spool(kiln.context)
    assert [path.name for path in spool.iterdir()] == ["frame-young"]
