"""Ending a job whose rows are not asked any more: its answers are kept, then published.

Whoever calls holds the job's lock. Nothing here asks a backend.
"""

from nightkiln.app import parts
from nightkiln.core.ids import JobId, RunId
from nightkiln.core.job import Job, JobState
from nightkiln.service import moves
from nightkiln.service.context import Context
from nightkiln.service.finalize import finalize
from nightkiln.service.leases import LocalLeases
from nightkiln.store import jobs
from nightkiln.worker.base import Desk
from nightkiln.worker.keeping import keep_answers


def desk_of(context: Context, job: Job, run: RunId) -> Desk:
    """Where a run in this process works."""
    return Desk(
        job=job,
        run=run,
        leases=LocalLeases(context),
        files=context.files(job.id),
        dice=parts.dice(),
    )


async def finish_cancel(context: Context, job: JobId) -> Job:
    """Keep and publish what is answered. The caller holds the job's lock."""
    found = await context.store.read(lambda tx: jobs.get(tx, job, project=context.project))
    if found.state.is_terminal:
        return found
    if found.state is JobState.FINALIZING:  # every row has its answer: too late to cancel
        return await finalize(context, job)
    await moves.move(context, job, JobState.CANCELLING)
    run = context.new_run_id()
    await moves.adopt(context, job, run)
    if found.rows:
        await keep_answers(desk_of(context, found, run))
    return await finalize(context, job)


async def finish_now(context: Context, job: JobId) -> Job:
    """Keep and publish what is answered. The caller holds the job's lock.

    With every row answered that ends the job as usual. Without, its deadline has
    come: it is expired.
    """
    found = await context.store.read(lambda tx: jobs.get(tx, job, project=context.project))
    if found.state.is_terminal:
        return found
    if found.totals.answered < found.rows:
        await moves.move(context, job, JobState.FINALIZING)
        run = context.new_run_id()
        await moves.adopt(context, job, run)
        await keep_answers(desk_of(context, found, run))
    return await finalize(context, job)
