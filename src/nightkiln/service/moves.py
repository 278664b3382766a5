"""Moving a job from state to state, each move one transaction."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from nightkiln.core import crashpoints
from nightkiln.core.access import KeyId
from nightkiln.core.errors import IllegalMove, NotFound, QuotaError, UsageError
from nightkiln.core.ids import JobId, RunId
from nightkiln.core.job import Job, JobState, Live, Wanted
from nightkiln.service import charging
from nightkiln.service.context import Context
from nightkiln.service.ingest import Ingested
from nightkiln.store import chunks, generations, jobs
from nightkiln.store.tx import Tx

ON_REQUEST: Final = "paused on request"


async def _change(context: Context, job: JobId, change: Callable[[Job], Job]) -> Job:
    """Read, change and save a job in one transaction. Raises NotFound, IllegalMove."""

    async def use_case(tx: Tx) -> Job:
        found = await jobs.find(tx, job)
        if found is None:
            raise NotFound(f"job {job} is gone")
        changed = change(found)
        if changed != found:
            await jobs.save(tx, changed)
        return changed

    return await context.store.write(use_case)


async def move(context: Context, job: JobId, to: JobState, *, reason: str = "") -> Job:
    """Take a job to its next state; it is no error when it is there. Raises IllegalMove."""

    def change(found: Job) -> Job:
        moved = found if found.state is to else found.moved(to)
        return msgspec.structs.replace(moved, reason=reason)

    return await _change(context, job, change)


async def begin_run(context: Context, job: JobId, run: RunId) -> Job:
    """A run starts work: the leases of dead runs are opened again. Raises IllegalMove."""
    now = context.clock()

    async def use_case(tx: Tx) -> Job:
        found = await jobs.find(tx, job)
        if found is None:
            raise NotFound(f"job {job} is gone")
        await chunks.adopt(tx, job, run=run)
        moved = found if found.state is JobState.RUNNING else found.moved(JobState.RUNNING)
        started = msgspec.structs.replace(moved, started_at=found.started_at or now, reason="")
        await jobs.save(tx, started)
        return started

    return await context.store.write(use_case)


async def validated(context: Context, job: JobId, ingested: Ingested) -> Job:
    """Every row is known: the chunks are recorded and the job is queued.

    A job with more rows than the key that asks for them may have asked fails instead.
    """
    now = context.clock()

    async def use_case(tx: Tx) -> Job:
        found = await jobs.find(tx, job)
        if found is None:
            raise NotFound(f"job {job} is gone")
        if found.state is not JobState.VALIDATING:
            return found
        try:
            await charging.rows_read(tx, found, rows=ingested.rows)
        except QuotaError as error:  # raised before anything was written
            failed = msgspec.structs.replace(
                found.moved(JobState.FAILED), reason=error.message, ended_at=now
            )
            await jobs.save(tx, failed)
            return failed
        await chunks.insert_many(tx, ingested.chunks)
        queued = msgspec.structs.replace(
            found.moved(JobState.QUEUED), rows=ingested.rows, columns=ingested.columns
        )
        await jobs.save(tx, queued)
        return queued

    done = await context.store.write(use_case)
    crashpoints.reach("ingest.finished")
    return done


async def fail(context: Context, job: JobId, reason: str) -> Job:
    """The input cannot be taken."""
    now = context.clock()
    return await _change(
        context,
        job,
        lambda found: msgspec.structs.replace(
            found.moved(JobState.FAILED), reason=reason, ended_at=now
        ),
    )


async def want(context: Context, job: JobId, wanted: Wanted) -> None:
    """Ask the runner of a job for something."""
    await context.store.write(lambda tx: jobs.want(tx, job, wanted, project=context.project))


async def resume(context: Context, job: JobId, *, by: KeyId | None = None) -> Job:
    """Let a paused job go on; whoever runs jobs has to be told. `by` whose key, if any.

    Raises NotFound, IllegalMove, QuotaError.
    """

    async def use_case(tx: Tx) -> Job:
        found = await jobs.get(tx, job, project=context.project)
        if found.state.is_terminal or found.state is JobState.DELETING:
            raise IllegalMove(job, str(found.state), str(JobState.RUNNING))
        await charging.goes_on(tx, found, by=by)
        if found.wanted is Wanted.PAUSE:  # a cancel that waits is not taken back
            await jobs.want(tx, job, Wanted.RUN, project=context.project)
        await jobs.save(tx, msgspec.structs.replace(found, reason=""))
        return await jobs.get(tx, job, project=context.project)

    return await context.store.write(use_case)


async def pause(context: Context, job: JobId) -> Job:
    """Leave a job paused that nobody runs. The caller holds its lock. Raises IllegalMove.

    A job whose rows are not known yet stays where it is: it waits as well.
    """

    def change(found: Job) -> Job:
        if found.state is JobState.VALIDATING:
            return found
        moved = found if found.state is JobState.PAUSED else found.moved(JobState.PAUSED)
        return msgspec.structs.replace(moved, reason=ON_REQUEST)

    return await _change(context, job, change)


async def explain(context: Context, job: JobId, reason: str) -> Job:
    """Say why a job waits, wherever it stands; one that is over stays as it is."""

    def change(found: Job) -> Job:
        if found.state.is_terminal or found.state is JobState.DELETING:
            return found
        return msgspec.structs.replace(found, reason=reason)

    return await _change(context, job, change)


async def retry(
    context: Context,
    job: JobId,
    *,
    classes: AbstractSet[str] = frozenset(),
    by: KeyId | None = None,
) -> Job:
    """Open the next generation over every row without a result. Raises IllegalMove.

    With `classes` only over rows with faults of these, and over rows that never
    had an answer. `by` is whose key asks for it, if any. Raises UsageError when there
    is no such row, QuotaError when there are more than the key may have asked.
    """
    now = context.clock()

    async def use_case(tx: Tx) -> Job:
        found = await jobs.get(tx, job, project=context.project)
        _check_retry(found, classes)
        opened = msgspec.structs.replace(
            found.moved(JobState.QUEUED if found.rows else JobState.VALIDATING),
            generation=found.generation + 1,
            retry_classes=tuple(sorted(classes)),
            reason="",
            ended_at=None,
        )
        await jobs.save(tx, opened)
        await jobs.want(tx, job, Wanted.RUN, project=context.project)
        await generations.begin(tx, job, opened.generation, now=now)
        await chunks.reopen(tx, job, classes=classes or None, generation=opened.generation)
        again = await jobs.find(tx, job)
        assert again is not None
        await charging.asked_again(tx, found, again, by=by)
        # The runner's last word was about the generation that ended.
        live = Live(at=now, totals=again.totals)
        await jobs.set_live(tx, job, live)
        return msgspec.structs.replace(again, live=live)

    done = await context.store.write(use_case)
    crashpoints.reach("retry.opened")
    return done


def _check_retry(job: Job, classes: AbstractSet[str]) -> None:
    """Refuse a retry that would ask nothing."""
    if not job.state.is_terminal:
        raise UsageError(
            f"job {job.id} is {job.state}, so there is nothing to retry yet",
            hint="wait until it is over, or cancel it first",
        )
    complete = job.rows > 0 and job.totals.answered == job.rows
    if classes and complete and classes.isdisjoint(job.totals.faults):
        counts = sorted(job.totals.faults.items(), key=lambda item: -item[1])
        raise UsageError(
            f"no row of job {job.id} has a fault of class {' or '.join(sorted(classes))}",
            hint="it has: " + (", ".join(f"{n} {kind}" for kind, n in counts) or "no faults"),
        )


async def adopt(context: Context, job: JobId, run: RunId) -> None:
    """Open again what dead runs had leased. The caller holds the job's lock."""
    await context.store.write(lambda tx: chunks.adopt(tx, job, run=run))
