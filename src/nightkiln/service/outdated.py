"""Results of batches that have had their time: they go, and the batch says since when.

Providers keep results for so long and no longer, and who sends data there counts on
that. With them goes the job under the batch, its rows and its answers; the batch
itself, its counts and what was spent stay.
"""

import logging
from functools import partial
from typing import Final

import msgspec

from nightkiln.core.batches import Batch
from nightkiln.core.errors import DiskError, HomeBusy, IllegalMove, NotFound
from nightkiln.core.job import Job, JobState
from nightkiln.service import deletion
from nightkiln.service.anthropicresults import parts_of
from nightkiln.service.context import Context
from nightkiln.store import batches, jobs
from nightkiln.store.tx import Tx

PAGE: Final = 100  # batches that are looked at together

_log: Final = logging.getLogger(__name__)


async def sweep(context: Context, *, page: int = PAGE) -> int:
    """Remove results of batches of every project whose time is over; how many those were.

    Safe to repeat, wherever it was cut short. Raises DiskError, after all others are gone.
    """
    now, swept, after = context.clock(), 0, ""
    trouble: DiskError | None = None
    while True:
        found = await context.store.read(
            partial(batches.outdated, now=now, after=after, limit=page)
        )
        for batch in found:
            after = batch.id
            try:
                swept += await _removed(context.of(batch.project), batch)
            except DiskError as error:
                trouble = trouble or error
        if len(found) < page:
            break
    if trouble is not None:
        raise trouble
    return swept


async def _removed(context: Context, batch: Batch) -> bool:
    """True when the results are gone; False while somebody works on their jobs."""
    found = await context.store.read(partial(_jobs_of, batch=batch))
    if not all(_is_over(job) for job in found):
        return False  # somebody has its rows asked again: later
    for job in found:
        try:
            await deletion.delete(context, job.id, only_over=True)
        except NotFound:
            continue
        except (HomeBusy, IllegalMove) as error:
            _log.warning("results of %s stay for now: %s", batch.id, error.message)
            return False
    gone = msgspec.structs.replace(batch, archived_at=context.clock())
    try:
        await context.store.write(partial(batches.save, batch=gone))
    except NotFound:
        return False  # somebody deleted the batch meanwhile
    return True


def _is_over(job: Job) -> bool:
    """True for a job that ended, also where its deletion was begun and cut short."""
    return job.state.is_terminal or job.state is JobState.DELETING


async def _jobs_of(tx: Tx, batch: Batch) -> list[Job]:
    """The jobs under a batch and its shares, as far as they are there still."""
    names = [one.job for one in (batch, *await parts_of(tx, batch)) if one.job is not None]
    found = [await jobs.find(tx, name) for name in dict.fromkeys(names)]
    return [job for job in found if job is not None]
