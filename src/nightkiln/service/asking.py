"""What somebody asks of a job that a runner elsewhere obeys: pause, cancel, go on, again.

Each returns once the wish is durable; the runner has to be woken afterwards.
"""

import msgspec

from nightkiln.core.access import KeyId
from nightkiln.core.errors import IllegalMove
from nightkiln.core.job import Job, JobState, Wanted
from nightkiln.service import moves
from nightkiln.service.context import Context
from nightkiln.service.manner import Changes, order_again, remember
from nightkiln.service.naming import find_job

_NO_CHANGES = Changes()


async def cancel(context: Context, name: str) -> Job:
    """Ask for an early end; one that has come already is fine. Raises NotFound, IllegalMove."""
    job = await find_job(context, name)
    if job.state in (JobState.CANCELLED, JobState.CANCELLING):
        return job
    _refuse_over(job, JobState.CANCELLED)
    return await _wanted(context, job, Wanted.CANCEL)


async def pause(context: Context, name: str) -> Job:
    """Ask for a rest. Raises NotFound, IllegalMove for a job that is over or about to be."""
    job = await find_job(context, name)
    _refuse_over(job, JobState.PAUSED)
    return await _wanted(context, job, Wanted.PAUSE)


async def resume(context: Context, name: str, changes: Changes, *, by: KeyId | None = None) -> Job:
    """Let a job go on, as it was run last but for the changes; a cancel is not taken back.

    `by` is whose key asks for it, if any. Raises NotFound, UsageError, QuotaError,
    IllegalMove for a job that is over.
    """
    job = await find_job(context, name)
    if job.state.is_terminal or job.state is JobState.DELETING:
        raise IllegalMove(job.id, str(job.state), str(JobState.RUNNING), hint=over_hint(job))
    await _change(context, job, changes)
    return job if job.wanted is Wanted.CANCEL else await moves.resume(context, job.id, by=by)


def over_hint(job: Job) -> str:
    """What helps with a job that is over and was to go on."""
    if job.state is JobState.SUCCEEDED and job.totals.ok == job.rows:
        return f"every row has its answer: nightkiln jobs results {job.id} -o answers.csv"
    return f"nightkiln jobs retry {job.id} --run asks its rows without a result again"


async def retry(
    context: Context,
    name: str,
    *,
    classes: frozenset[str],
    changes: Changes,
    by: KeyId | None = None,
) -> Job:
    """Open the rows without a result again. Raises as `moves.retry` does, NotFound, UsageError."""
    job = await find_job(context, name)
    opened = await moves.retry(context, job.id, classes=classes, by=by)
    await _change(context, opened, changes)
    return opened


async def _change(context: Context, job: Job, changes: Changes) -> None:
    if changes != _NO_CHANGES:
        await remember(context, job.id, await order_again(context, job, changes, tell=_unsaid))


async def _wanted(context: Context, job: Job, wanted: Wanted) -> Job:
    await moves.want(context, job.id, wanted)
    return msgspec.structs.replace(job, wanted=wanted)


def _refuse_over(job: Job, to: JobState) -> None:
    """Refuse a job that is over, or has all its answers and is about to be."""
    over = job.state.is_terminal or job.state in (JobState.FINALIZING, JobState.DELETING)
    if over and not (to is JobState.CANCELLED and job.state is JobState.FINALIZING):
        hint = f"it was over before; nightkiln jobs results {job.id} -o FILE writes its table"
        raise IllegalMove(job.id, str(job.state), str(to), hint=hint)


def _unsaid(_: str) -> None:
    """What is left out when a job goes on; whoever runs it says what it waits for."""
