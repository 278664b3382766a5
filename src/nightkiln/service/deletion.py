"""Deleting a job: a tombstone that fences commits, then the files, then the row.

The ledger keeps what was spent. Whatever a crash leaves half done is finished
by `collect_garbage` when a home is opened.
"""

import asyncio
import contextlib
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core import crashpoints
from nightkiln.core.errors import HomeBusy, IllegalMove
from nightkiln.core.ids import JobId
from nightkiln.core.job import JobState
from nightkiln.service.context import Context
from nightkiln.store import jobs
from nightkiln.store.tx import Tx
from nightkiln.vault.durable import disk_errors, fsync_dir
from nightkiln.vault.home import Lock

_YIELD_S: Final = 15.0  # for the runner to see the tombstone and let go
_POLL_S: Final = 0.1
_ROW_FOLDERS: Final = ("input", "journal", "parts", "results")
_ORPHAN_AGE_S: Final = 3600.0  # what is younger may belong to a job being accepted


async def delete(context: Context, job: JobId, *, only_over: bool = False) -> None:
    """Remove a job and its files. Raises NotFound, HomeBusy, DiskError; safe to repeat.

    `only_over`: a job that somebody wants to go on stays as it is. Raises IllegalMove then.
    """
    await context.store.write(partial(_bury, context=context, job=job, only_over=only_over))
    crashpoints.reach("delete.tombstone")
    lock = await _runner_gone(context, job)
    try:
        await asyncio.to_thread(_remove_files, context, job)
        crashpoints.reach("delete.files")
        await context.store.write(lambda tx: jobs.remove(tx, job))
    finally:
        if lock is not None:
            lock.release()


async def _bury(tx: Tx, *, context: Context, job: JobId, only_over: bool) -> None:
    """Leave a tombstone: nothing of the job is committed any more."""
    found = await jobs.get(tx, job, project=context.project)
    if found.state is JobState.DELETING:
        return
    if only_over and not found.state.is_terminal:
        raise IllegalMove(job, str(found.state), str(JobState.DELETING))
    await jobs.save(tx, msgspec.structs.replace(found.moved(JobState.DELETING), reason=""))


async def _runner_gone(context: Context, job: JobId) -> Lock | None:
    """Wait until nobody works on the job; its lock, unless its files are gone."""
    until = asyncio.get_running_loop().time() + _YIELD_S
    while context.files(job).root.exists():
        if (lock := context.home.lock_job(job)) is not None:
            return lock
        if asyncio.get_running_loop().time() > until:
            raise HomeBusy(
                f"job {job} is still being run by another process",
                hint="stop that process, then delete again",
            )
        await asyncio.sleep(_POLL_S)
    return None


def _remove_files(context: Context, job: JobId) -> None:
    root = context.files(job).root
    with disk_errors("deleting a job's files"):
        if root.exists():
            shutil.rmtree(root)
            fsync_dir(root.parent)


async def collect_garbage(context: Context, *, alone: bool = False) -> None:
    """Finish deletions that a crash cut short; remove folders that no job ever had.

    `alone`: nobody else has the home open, so no folder is of a job being accepted.
    """
    for job in await context.store.read(lambda tx: jobs.in_states(tx, {JobState.DELETING})):
        lock = context.home.lock_job(job.id)
        if lock is None and context.files(job.id).root.exists():
            continue  # somebody is at it
        if lock is not None:
            lock.release()
        await delete(context.of(job.project), job.id)
    await sweep_spool(context)
    for folder in await asyncio.to_thread(_old_folders, context, 0.0 if alone else _ORPHAN_AGE_S):
        if not await context.store.read(partial(jobs.find, job=JobId(folder.name))):
            await asyncio.to_thread(_remove_files, context, JobId(folder.name))


async def sweep_spool(context: Context) -> None:
    """Remove what a killed process left in the spool: nothing has touched it for an hour."""
    await asyncio.to_thread(_sweep_spool, context.home.spool)


def _sweep_spool(spool: Path) -> None:
    horizon = time.time() - _ORPHAN_AGE_S
    for spooled in spool.glob("*"):
        with disk_errors("sweeping the spool"), contextlib.suppress(FileNotFoundError):
            if spooled.stat().st_mtime < horizon:  # or whoever was at it took it meanwhile
                spooled.unlink()


def _old_folders(context: Context, age_s: float) -> list[Path]:
    """Job folders that nothing has touched for so long.

    Only folders without a row in them: whatever holds input, journals, parts or
    results was a job once, and the store that knew it may merely be lost.
    """
    horizon = time.time() - age_s
    return [
        folder
        for folder in (context.home.root / "jobs").glob("job_*")
        if folder.stat().st_mtime <= horizon and not _holds_rows(folder)
    ]


def _holds_rows(folder: Path) -> bool:
    return any(next((folder / part).glob("*"), None) for part in _ROW_FOLDERS)
