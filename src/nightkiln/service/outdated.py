"""Results of batches that have had their time: they go, and the batch says since when.

Providers keep results for so long and no longer, and who sends data there counts on
that. With them goes the job under the batch, its rows and its answers; the batch
itself, its counts and what was spent stay.
"""

import logging
from functools import partial
from typing import Final

import msgspec

from nightkiln.core.batches import Batch, Dialect
from nightkiln.core.errors import HomeBusy, NotFound
from nightkiln.core.ids import JobId
from nightkiln.service import deletion
from nightkiln.service.context import Context
from nightkiln.store import batches, jobs
from nightkiln.store.tx import Tx

_SWEPT: Final = 100  # in one pass

_log: Final = logging.getLogger(__name__)


async def sweep(context: Context) -> int:
    """Remove results of batches of every project whose time is over; how many those were.

    Safe to repeat, wherever it was cut short. Raises DiskError.
    """
    now, swept = context.clock(), 0
    for batch in await context.store.read(partial(batches.outdated, now=now, limit=_SWEPT)):
        swept += await _removed(context.of(batch.project), batch)
    return swept


async def _removed(context: Context, batch: Batch) -> bool:
    """True when the results are gone; False while somebody works on their job."""
    for job in await context.store.read(partial(_jobs_of, batch=batch)):
        try:
            found = await context.store.read(partial(jobs.get, job=job, project=context.project))
            if not found.state.is_terminal:
                return False  # somebody has its rows asked again: later
            await deletion.delete(context, job)
        except NotFound:
            continue
        except HomeBusy as error:
            _log.warning("results of %s stay for now: %s", batch.id, error.message)
            return False
    gone = msgspec.structs.replace(batch, archived_at=context.clock())
    await context.store.write(partial(batches.save, batch=gone))
    return True


async def _jobs_of(tx: Tx, batch: Batch) -> list[JobId]:
    """The jobs under a batch and its shares."""
    project = batch.project
    shares = [
        await batches.get(tx, name, project=project, dialect=Dialect.PART) for name in batch.parts
    ]
    return list(dict.fromkeys(one.job for one in (batch, *shares) if one.job is not None))
