"""Batches as providers' APIs have them, over jobs of ours: made, shown, listed, cancelled.

What is wrong with the lines of an input shows in the batch, never in the reply to its creation.
"""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core.batches import Batch, BatchId, Dialect, LineFault, Moments
from nightkiln.core.errors import NotFound, UsageError
from nightkiln.core.files import FileId, Purpose, StoredFile
from nightkiln.core.ids import new_id
from nightkiln.core.job import (
    BatchHead,
    Job,
    JobSpec,
    JobState,
    Label,
    PromptSpec,
    SourceSpec,
    Task,
    Wanted,
)
from nightkiln.plan.budget import Caps
from nightkiln.service import files
from nightkiln.service.answering import Allow, Models, Served
from nightkiln.service.batchrecords import New, record, repeated
from nightkiln.service.context import Context
from nightkiln.service.orders import Order
from nightkiln.store import batches, jobs
from nightkiln.store.paging import Page
from nightkiln.store.tx import Tx
from nightkiln.tables.batch_in import BATCH, ID, model_named
from nightkiln.vault.durable import disk_errors, fsync_dir, link
from nightkiln.wire.batchlines import URLS
from nightkiln.wire.openai.faultylines import NAMED, empty_file, unknown_file, unpriced
from nightkiln.wire.openai.objects import BatchError, BatchErrors
from nightkiln.wire.openai.refusals import Refusal, no_such_backend, wrong_purpose
from nightkiln.wire.openai.repeats import Asked
from nightkiln.wire.openai.status import BatchView, batch_id_of

_LOOKED_AT: Final = 50_000  # lines, for one that names a model
_ENTROPY_BYTES: Final = 8


class NewBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch of OpenAI's that is asked for; its words have been checked."""

    endpoint: str
    window: str
    expires_at: float
    input_file: FileId
    metadata: dict[str, str] | None = None
    outputs_live_s: float | None = None
    priority: int = 1  # 0: somebody waits for it
    budget_usd: float | None = None
    route: tuple[str, ...] = ()
    key: str = ""  # the id of the API key it came with
    lines: int = 0  # of its file, where somebody has counted them
    asked: Asked


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A batch with the job behind it."""

    batch: Batch
    job: Job | None  # None: there never was one, or it is gone


async def create(context: Context, new: NewBatch, models: Models, allow: Allow) -> Batch | Refusal:
    """The batch that is asked for: a new one, or the one that this create repeats.

    Whoever runs jobs has to be woken afterwards. Raises DiskError, QuotaError.
    """
    known = await repeated(context, new.asked) or _unknown_backend(new, models)
    if known is not None:
        return known
    try:
        file = await files.get(context, new.input_file)
    except NotFound:
        said = unknown_file(new.input_file)
        return await record(context, new.asked, New(batch=_failed(context, new, said)))
    if file.purpose is not Purpose.BATCH:
        return wrong_purpose(file.id, file.purpose)
    if not file.size_bytes:
        return await record(context, new.asked, New(batch=_failed(context, new, empty_file())))
    source, served = await _source_of(context, new, file, models, allow)
    if new.budget_usd is not None and served is not None and not served.priced:
        said = unpriced(served.model)
        return await record(context, new.asked, New(batch=_failed(context, new, said)))
    job, order = await _job_of(context, new, source, served)
    batch = _batch(context, new, BatchId(batch_id_of(job.id)))
    batch = msgspec.structs.replace(batch, job=job.id, model=_head(job).model or None)
    made = New(batch=batch, job=job, order=order, rows=new.lines)
    return await record(context, new.asked, made)


def _unknown_backend(new: NewBatch, models: Models) -> Refusal | None:
    """Why a route is refused: it names what nobody could ever answer at."""
    there = models.places()
    unknown = next((name for name in new.route if name not in there), None)
    return None if unknown is None else no_such_backend(unknown, supported=there)


def _batch(context: Context, new: NewBatch, name: BatchId) -> Batch:
    return Batch(
        id=name,
        project=context.project,
        dialect=Dialect.OPENAI,
        job=None,
        endpoint=new.endpoint,
        window=new.window,
        metadata=new.metadata,
        input_file=new.input_file,
        outputs_live_s=new.outputs_live_s,
        created_at=new.asked.at,  # `expires_at` counts from it
        expires_at=new.expires_at,
        caller=new.asked.caller,
        digest=new.asked.digest,
        idempotency_key=new.asked.key,
    )


def _failed(context: Context, new: NewBatch, *errors: BatchError) -> Batch:
    """A batch without a job: its input cannot be had."""
    now = context.clock()
    name = new_id("batch_", now=now, entropy=context.entropy(_ENTROPY_BYTES))
    return msgspec.structs.replace(
        _batch(context, new, BatchId(name)),
        faults=faults_of(errors),
        moments=Moments(failed_at=now),
        ended_at=now,
    )


async def _source_of(
    context: Context, new: NewBatch, file: StoredFile, models: Models, allow: Allow
) -> tuple[SourceSpec, Served | None]:
    """The lines of a file, and who answers for the model that they name, if anybody does."""
    source = SourceSpec(
        kind=BATCH,
        path=str(files.path_of(context, file.id)),
        name=file.name,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        spooled=True,
        id_column=ID,
        on_bad_row="fail",
    )
    model, task = await asyncio.to_thread(_named, source, new.endpoint), URLS[new.endpoint]
    served = models.served(model, task, new.route) if model else None
    if served is not None and not allow(new.endpoint, model):
        served = None
    head = BatchHead(url=new.endpoint, model=model)
    if model and served is None:
        known = tuple(islice(_supported(new, task, models, allow), NAMED + 1))
        head = msgspec.structs.replace(head, unserved=True, supported=known)
    return msgspec.structs.replace(source, batch=head), served


def _supported(new: NewBatch, task: Task, models: Models, allow: Allow) -> Iterator[str]:
    """The models that this create could have named."""
    for name in models.names():
        if allow(new.endpoint, name) and models.served(name, task, new.route) is not None:
            yield name


async def _job_of(
    context: Context, new: NewBatch, source: SourceSpec, served: Served | None
) -> tuple[Job, Order | None]:
    """The job over lines, its source in place; nobody's order where nobody serves its model."""
    label = Label(name=source.name, priority=new.priority, key=new.key)
    job = new_job(context, source, served, label)
    placed = await asyncio.to_thread(_linked, context, job)
    return placed, None if served is None else _capped(served.order, new)


def _named(source: SourceSpec, url: str) -> str:
    """The model that the lines name; empty where none does. What else is wrong shows later."""
    try:
        return model_named(source, url, most=_LOOKED_AT) or ""
    except UsageError:
        return ""


def _capped(order: Order, new: NewBatch) -> Order:
    if new.budget_usd is None:
        return order
    return msgspec.structs.replace(order, caps=order.caps.under(Caps(cost_usd=new.budget_usd)))


def new_job(context: Context, source: SourceSpec, served: Served | None, label: Label) -> Job:
    """A job over batch lines; without a model where nobody here serves one. Not recorded yet."""
    job = context.new_job_id()
    spec = JobSpec(
        source=source,
        prompt=PromptSpec(),
        model="" if served is None else served.model,
        task=Task.CHAT if source.batch is None else URLS[source.batch.url],
        keep_bodies=True,
        label=label,
    )
    return Job(
        id=job,
        project=context.project,
        spec=spec,
        idempotency_key=f"batch:{job}",  # each create is a job of its own
        created_at=context.clock(),
    )


def _linked(context: Context, job: Job) -> Job:
    """The job's folders, with a name of its own for the file. Blocking. Raises DiskError."""
    found = context.files(job.id)
    with disk_errors("making the job's folders"):
        found.make()
        link(Path(job.spec.source.path), found.source)
        fsync_dir(found.root)
    return with_source(context, job)


def with_source(context: Context, job: Job) -> Job:
    """The job, its source where its own files are."""
    source = msgspec.structs.replace(job.spec.source, path=str(context.files(job.id).source))
    return msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, source=source))


# -- looking


async def show(context: Context, batch: BatchId, dialect: Dialect) -> Shown:
    """A batch. Raises NotFound."""

    async def query(tx: Tx) -> Shown:
        found = await batches.get(tx, batch, project=context.project, dialect=dialect)
        return await _with_job(tx, found)

    return await context.store.read(query)


async def pages(context: Context, page: Page, dialect: Dialect) -> tuple[list[Shown], bool]:
    """A page of batches, and whether there are more. Raises NotFound."""

    async def query(tx: Tx) -> tuple[list[Shown], bool]:
        found, more = await batches.list_batches(tx, page, project=context.project, dialect=dialect)
        return [await _with_job(tx, one) for one in found], more

    return await context.store.read(query)


async def _with_job(tx: Tx, batch: Batch) -> Shown:
    """An ended batch is whole without its job."""
    if batch.job is None or batch.ended_at is not None:
        return Shown(batch=batch, job=None)
    return Shown(batch=batch, job=await jobs.find(tx, batch.job))


async def cancel(context: Context, batch: BatchId, dialect: Dialect) -> Shown:
    """Ask for a batch to be cancelled; one that is over, or has every answer, stays so.

    Whoever runs jobs has to be woken afterwards. Raises NotFound.
    """

    async def use_case(tx: Tx) -> Shown:
        found = await batches.get(tx, batch, project=context.project, dialect=dialect)
        asked = False
        for part in found.parts:
            one = await batches.get(tx, part, project=context.project, dialect=Dialect.PART)
            asked = await _cancel(tx, context, one) or asked
        if found.parts and asked:
            await batches.save(tx, _cancelling(found, context.clock()))
        if asked or (not found.parts and await _cancel(tx, context, found)):
            found = await batches.get(tx, batch, project=context.project, dialect=dialect)
        return await _with_job(tx, found)

    return await context.store.write(use_case)


async def _cancel(tx: Tx, context: Context, batch: Batch) -> bool:
    """Ask for the end of a batch's own job; False, and nothing changes, where it is too late."""
    job = (await _with_job(tx, batch)).job
    if job is None or job.state.is_terminal or job.state is JobState.FINALIZING:
        return False
    await jobs.want(tx, job.id, Wanted.CANCEL, project=context.project)
    await batches.save(tx, _cancelling(batch, context.clock()))
    return True


def _cancelling(batch: Batch, now: float) -> Batch:
    if batch.moments.cancelling_at is not None:
        return batch
    times = msgspec.structs.replace(batch.moments, cancelling_at=now)
    return msgspec.structs.replace(batch, moments=times)


def view_of(shown: Shown) -> BatchView:
    """What OpenAI's wire says of a batch.

    A job that is over is still finalizing to the batch until its files are there.
    """
    batch, job = shown.batch, shown.job
    moments, state, wanted = batch.moments, JobState.FAILED, Wanted.RUN
    rows, totals = batch.rows, batch.totals
    if job is not None:
        state, wanted, rows = state_for(job), job.wanted, job.rows
        totals = job.totals
        if job.live is not None and job.live.totals.answered > totals.answered:
            totals = job.live.totals
        if moments.in_progress_at is None and rows:
            moments = msgspec.structs.replace(moments, in_progress_at=job.started_at)
    return BatchView(
        id=batch.id,
        endpoint=batch.endpoint,
        input_file_id=batch.input_file or "",
        completion_window=batch.window,
        created_at=batch.created_at,
        expires_at=batch.expires_at,
        metadata=batch.metadata,
        model=batch.model if rows else None,
        errors=_errors(batch.faults),
        output_file_id=batch.output_file,
        error_file_id=batch.error_file,
        state=state,
        wanted=wanted,
        moments=moments,
        rows=rows,
        totals=totals,
    )


def state_for(job: Job) -> JobState:
    """The state that a batch which has not ended shows of its job."""
    if job.state is JobState.FAILED:
        return JobState.VALIDATING
    if job.state is JobState.CANCELLED:
        return JobState.CANCELLING
    return JobState.FINALIZING if job.state.is_terminal else job.state


def faults_of(errors: Sequence[BatchError]) -> tuple[LineFault, ...]:
    """Errors as a batch keeps them."""
    return tuple(
        LineFault(code=one.code, message=one.message, param=one.param, line=one.line)
        for one in errors
    )


def _errors(faults: Sequence[LineFault]) -> BatchErrors | None:
    data = tuple(
        BatchError(code=one.code, message=one.message, param=one.param, line=one.line)
        for one in faults
    )
    return BatchErrors(data=data) if data else None


def _head(job: Job) -> BatchHead:
    return job.spec.source.batch or BatchHead()
