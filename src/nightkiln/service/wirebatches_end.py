"""The end of a batch: its files, its counts and its times, once its job is over.

The files are written under names that follow from the batch, so a settling that
was cut short anywhere is simply done again: the same bytes come under the same
names, and one transaction records the files and ends the batch. What happens to
the job later changes nothing here.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import pyarrow as pa

from nightkiln.core.batches import Batch, BatchId, BatchStatus, Dialect, LineFault, Moments
from nightkiln.core.errors import NotFound
from nightkiln.core.files import FileId, Purpose, StoredFile
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job, JobState, Wanted
from nightkiln.core.usage import summed
from nightkiln.service import badrows, webhooks
from nightkiln.service.context import Context
from nightkiln.service.files import path_of
from nightkiln.service.results import published
from nightkiln.service.wirebatches import faults_of
from nightkiln.store import batches, generations, jobs
from nightkiln.store import files as records
from nightkiln.store.tx import Tx
from nightkiln.tables.batch_in import no_lines
from nightkiln.tables.batch_out import BatchWriter, Written
from nightkiln.vault.durable import disk_errors, make_dir, replacing
from nightkiln.vault.parts import PartWriter
from nightkiln.wire.openai.faultylines import (
    batch_errors,
    empty_file,
    line_error,
    unknown_model,
    unreadable_file,
)
from nightkiln.wire.openai.objects import BatchError
from nightkiln.wire.openai.orders import BATCH_EXPIRY_S
from nightkiln.wire.openai.status import advanced

MOST_FAULTS: Final = 2000  # of one batch: every look at it reads them all


async def settle(context: Context, job: JobId) -> Batch | None:
    """End the batch of a job that is over; None where there is nothing to end.

    Safe to repeat, wherever it was cut short. Raises DiskError.
    """
    batch, found = await context.store.read(lambda tx: _of(tx, job))
    if batch is None or batch.ended_at is not None:
        return batch
    if found is None:
        return await _ended(context, _given_up(context, batch), ())
    if not found.state.is_terminal and found.generation == batch.generation:
        return None
    if found.state is JobState.FAILED:
        faults = await asyncio.to_thread(_faults, context, found, batch)
        return await _ended(context, msgspec.structs.replace(batch, faults=faults), (), found)
    outputs: tuple[StoredFile, ...] = ()
    if batch.dialect is Dialect.OPENAI and found.rows:
        outputs = await write_outputs(context, batch, found)
    return await _ended(context, batch, outputs, found)


async def _of(tx: Tx, job: JobId) -> tuple[Batch | None, Job | None]:
    return await batches.of_job(tx, job), await jobs.find(tx, job)


def _given_up(context: Context, batch: Batch) -> Batch:
    """A batch whose job was deleted before it ended."""
    now = context.clock()
    moments = advanced(batch.moments, JobState.CANCELLED, Wanted.CANCEL, now=now)
    return msgspec.structs.replace(batch, moments=moments)


# -- the files


async def write_outputs(context: Context, batch: Batch, job: Job) -> tuple[StoredFile, ...]:
    """Replies in one file, failures in another, durably; only those that have a line."""
    pieces = await published(context, job, batch.generation)
    return await asyncio.to_thread(_write, context, batch, job, pieces)


def _write(
    context: Context, batch: Batch, job: Job, pieces: Iterator[tuple[pa.Table, pa.Table]]
) -> tuple[StoredFile, ...]:
    names = [_output_id(batch, "output"), _output_id(batch, "error")]
    paths = [path_of(context, name) for name in names]
    with disk_errors("writing the files of a batch"):
        make_dir(context.home.files)
        made, written = _both(paths, BatchWriter(job.id, job.spec.task), pieces)
        lines = (written.replies, written.failures)
        for path, count in zip(paths, lines, strict=True):
            if not count:
                path.unlink(missing_ok=True)
    now, live_s = context.clock(), batch.outputs_live_s
    return tuple(
        StoredFile(
            id=name,
            project=batch.project,
            name=f"{batch.id}_{kind}.jsonl",
            purpose=Purpose.BATCH_OUTPUT,
            size_bytes=one.size,
            sha256=one.digest.hexdigest(),
            created_at=now,
            expires_at=now + (BATCH_EXPIRY_S if live_s is None else live_s),
            job=job.id,
        )
        for name, kind, one, count in zip(names, ("output", "error"), made, lines, strict=True)
        if count
    )


def _both(
    paths: list[Path], writer: BatchWriter, pieces: Iterator[tuple[pa.Table, pa.Table]]
) -> tuple[list[PartWriter], Written]:
    with ExitStack() as stack:
        outs: list[BinaryIO] = [stack.enter_context(replacing(path)) for path in paths]
        made = [PartWriter(out) for out in outs]
        written = writer.write(made[0], made[1], pieces)  # type: ignore[arg-type]
    return made, written


def _output_id(batch: Batch, kind: str) -> FileId:
    """The same at every try, so that no try leaves anything behind."""
    return FileId(f"file-{batch.id.removeprefix('batch_')}{kind}")


# -- what was wrong


def _faults(context: Context, job: Job, batch: Batch) -> tuple[LineFault, ...]:
    """Why a job's input could not be taken, line by line where it is about lines. Blocking."""
    files = context.files(job.id)
    if badrows.count(files):
        found = batch_errors(_line_errors(context, job, batch), most=MOST_FAULTS)
        return faults_of(() if found is None else found.data)
    if job.reason == no_lines(job.spec.source.name).message:
        return faults_of([empty_file()])
    return faults_of([unreadable_file(job.reason)])


def _line_errors(context: Context, job: Job, batch: Batch) -> Iterator[BatchError]:
    head = job.spec.source.batch
    for bad in badrows.all_of(context.files(job.id)):
        if head is not None and head.unserved and bad.code == "model_not_found":
            yield unknown_model(head.model or "", line=bad.line, supported=head.supported)
            continue
        yield line_error(
            line=bad.line,
            code=bad.code,
            reason=bad.reason,
            param=bad.param,
            endpoint=batch.endpoint,
        )


# -- the record


async def _ended(
    context: Context, batch: Batch, outputs: tuple[StoredFile, ...], job: Job | None = None
) -> Batch:
    """Record the end with its files, in one transaction; the batch as it is for good."""
    ids = {file.name.rpartition("_")[2].removesuffix(".jsonl"): file.id for file in outputs}

    async def use_case(tx: Tx) -> Batch:
        found = await batches.of_job(tx, batch.job) if batch.job is not None else None
        if found is None:
            raise NotFound(f"no batch {batch.id}")
        if found.ended_at is not None:
            return found
        now = context.clock()
        ended = msgspec.structs.replace(
            found if job is None else await _counted(tx, found, job, now),
            faults=batch.faults,
            output_file=ids.get("output"),
            error_file=ids.get("error"),
            ended_at=now,
        )
        if job is None:
            ended = msgspec.structs.replace(ended, moments=batch.moments)
        for file in outputs:
            await records.insert_file(tx, file)
        await batches.save(tx, ended)
        whole = ended if ended.whole is None else await _whole(tx, ended, ended.whole)
        if whole is not None:
            await webhooks.announce(tx, context, whole)
        return ended

    return await context.store.write(use_case)


async def _whole(tx: Tx, part: Batch, name: BatchId) -> Batch | None:
    """End the batch that a part belongs to, if this was its last one; None where it goes on."""
    project = part.project
    whole = await batches.get(tx, name, project=project, dialect=Dialect.ANTHROPIC)
    parts = [
        await batches.get(tx, one, project=project, dialect=Dialect.PART) for one in whole.parts
    ]
    if any(one.ended_at is None for one in parts):
        return None
    ended = msgspec.structs.replace(
        whole,
        moments=_moments_of(whole.moments, [one.moments for one in parts]),
        totals=summed(one.totals for one in parts),
        ended_at=part.ended_at,
    )
    await batches.save(tx, ended)
    return ended


def _moments_of(whole: Moments, parts: Sequence[Moments]) -> Moments:
    """When a batch began, by its first part, and how it ended: by the worst of its parts."""
    begun = [at for one in parts if (at := one.in_progress_at) is not None]
    for end in (BatchStatus.EXPIRED, BatchStatus.CANCELLED, BatchStatus.FAILED):
        if (one := next((one for one in parts if one.end is end), None)) is not None:
            break
    else:
        one = parts[-1]
    return msgspec.structs.replace(
        one, in_progress_at=min(begun, default=None), cancelling_at=whole.cancelling_at
    )


async def _counted(tx: Tx, batch: Batch, job: Job, now: float) -> Batch:
    """The batch with the counts and the times of the pass over the job that it shows."""
    state, totals, ended_at = job.state, job.totals, job.ended_at
    if job.generation != batch.generation:
        one = await generations.get(tx, job.id, batch.generation)
        state, totals, ended_at = one.state or state, one.totals, one.ended_at
    moments = batch.moments
    if moments.in_progress_at is None and job.rows:
        moments = msgspec.structs.replace(moments, in_progress_at=job.started_at)
    if state not in (JobState.FAILED, JobState.CANCELLED) and moments.finalizing_at is None:
        moments = msgspec.structs.replace(moments, finalizing_at=ended_at or now)
    moments = advanced(moments, state, Wanted.RUN, now=now)
    return msgspec.structs.replace(
        batch, moments=moments, rows=job.rows or batch.rows, totals=totals
    )
