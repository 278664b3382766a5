"""Recording batches with their jobs, and knowing which create repeats which.

A batch and its jobs are recorded in one transaction, together with the decision
whether the create repeats an earlier one; so two tries at once make one batch.
"""

import asyncio
import shutil
from collections.abc import Iterable

import msgspec

from nightkiln.core.batches import Batch
from nightkiln.core.errors import QuotaError
from nightkiln.core.job import Job
from nightkiln.service import charging
from nightkiln.service.context import Context
from nightkiln.service.manner import text_of
from nightkiln.service.orders import Order
from nightkiln.service.webhooks import announce
from nightkiln.store import batches, generations, jobs
from nightkiln.store.tx import Tx
from nightkiln.wire.openai.refusals import Refusal
from nightkiln.wire.openai.repeats import RETRIED_S, Asked, Creation, same_creation


class New(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that is to be recorded, with the job under it if it has one."""

    batch: Batch
    job: Job | None = None
    order: Order | None = None  # how the job is run; None: nobody is asked
    rows: int = 0  # of the job, as far as is known


async def repeated(context: Context, asked: Asked) -> Batch | Refusal | None:
    """The batch that a create repeats, or why it is refused; None when it is a new one."""
    return await context.store.read(lambda tx: _same(tx, context, asked))


async def record(context: Context, asked: Asked, first: New, *parts: New) -> Batch | Refusal:
    """Make a batch, its parts and their jobs real, unless the create repeats another one.

    Raises QuotaError where there is more than the caller's key may have asked.
    """
    made = (first, *parts)

    async def use_case(tx: Tx) -> Batch | Refusal | None:
        if (known := await _same(tx, context, asked)) is not None:
            return known
        for one in made:
            await _insert(tx, one)
        await announce(tx, context, first.batch)
        return None

    try:
        known = await context.store.write(use_case)
    except QuotaError:
        await asyncio.to_thread(forget_files, context, [one.job for one in made])
        raise
    if known is not None:
        await asyncio.to_thread(forget_files, context, [one.job for one in made])
    return first.batch if known is None else known


async def _insert(tx: Tx, new: New) -> None:
    job = new.job
    if job is not None:
        await jobs.insert(tx, job)
        await charging.submitted(tx, job, rows=new.rows)
        await generations.begin(tx, job.id, job.generation, now=job.created_at)
        if new.order is not None:
            await jobs.set_manner(tx, job.id, text_of(new.order))
    await batches.insert_batch(tx, new.batch)


def forget_files(context: Context, jobs: Iterable[Job | None]) -> None:
    """Remove the folders of jobs that were not recorded. Blocking."""
    for job in jobs:
        if job is not None:
            shutil.rmtree(context.files(job.id).root, ignore_errors=True)


async def _same(tx: Tx, context: Context, asked: Asked) -> Batch | Refusal | None:
    alike = await batches.alike(
        tx,
        project=context.project,
        caller=asked.caller,
        digest=asked.digest,
        key=asked.key,
        since=asked.at - RETRIED_S,
    )
    found = same_creation(asked, [_creation(one) for one in alike])
    if isinstance(found, Creation):
        return next(one for one in alike if one.id == found.batch_id)
    return found


def _creation(batch: Batch) -> Creation:
    return Creation(
        batch_id=batch.id,
        caller=batch.caller,
        digest=batch.digest,
        key=batch.idempotency_key,
        created_at=batch.created_at,
        over=batch.ended_at is not None,
    )
