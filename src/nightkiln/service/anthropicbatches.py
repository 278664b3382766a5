"""Anthropic's batches of messages, over jobs of ours.

The document that asks for one has been spooled. It is split into lines of our own
batch kind (`anthropicsplitting`), a job for each model that its requests ask. Where
that is more than one, each is under a batch that no wire shows, a part, with the same
deadline; the batch itself has no job of its own, and ends with the last of its parts.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core.batches import Batch, BatchId, Dialect
from nightkiln.core.errors import InputError, NotFound
from nightkiln.core.ids import JobId
from nightkiln.core.job import BatchHead, Job, JobState, Label, SourceSpec, Wanted
from nightkiln.service import deletion
from nightkiln.service.answering import Allow, Models
from nightkiln.service.anthropicresults import parts_of, rest_of
from nightkiln.service.anthropicsplitting import URL, Share, Splitting, split
from nightkiln.service.batchrecords import New, forget_files, record, repeated
from nightkiln.service.context import Context
from nightkiln.service.wirebatches import Shown, new_job, show, with_source
from nightkiln.store import batches
from nightkiln.store.tx import Tx
from nightkiln.tables.batch_in import BATCH, ID
from nightkiln.vault.arrivals import Sealed
from nightkiln.vault.durable import disk_errors, fsync_dir
from nightkiln.wire.anthropic import batch as wire
from nightkiln.wire.anthropic.errors import Refusal
from nightkiln.wire.anthropic.rules import Rules
from nightkiln.wire.openai.refusals import Refusal as KeyTaken
from nightkiln.wire.openai.repeats import Asked

_NAME: Final = "messages.jsonl"


class NewMessages(msgspec.Struct, frozen=True, kw_only=True):
    """A batch of messages that is asked for."""

    rules: Rules
    expires_at: float
    priority: int = 1
    key: str = ""  # the id of the API key it came with
    asked: Asked  # its digest is of the document and the version


# -- making one


async def create(
    context: Context, document: Sealed, new: NewMessages, models: Models, allow: Allow
) -> Batch | Refusal:
    """The batch that a document asks for, or the one that it repeats; the document goes.

    Whoever runs jobs has to be woken afterwards. Raises DiskError, QuotaError.
    """
    try:
        known = await repeated(context, new.asked)
        if known is not None:
            return _said(known)
        splitting = Splitting(new.rules, models, allow)

        def new_path() -> Path:
            return context.home.spool / context.new_job_id()

        shares = await asyncio.to_thread(split, document.path, new_path, splitting)
    finally:
        await asyncio.to_thread(document.path.unlink, missing_ok=True)
    if isinstance(shares, Refusal):
        return shares
    made = await _made(context, new, shares)
    return _said(await record(context, new.asked, *_whole(new, made)))


async def _made(context: Context, new: NewMessages, shares: Sequence[Share]) -> list[New]:
    """The jobs over the shares, their lines in place, each as a part of a batch.

    Where one cannot be made, nothing stays of any.
    """
    label = Label(name=_NAME, priority=new.priority, key=new.key)
    made = [new_job(context, _source(share.lines), share.served, label) for share in shares]
    placing = asyncio.ensure_future(asyncio.to_thread(_placed, context, made))
    try:
        placed = await asyncio.shield(placing)
    except asyncio.CancelledError:
        await asyncio.gather(placing, return_exceptions=True)  # the thread goes on meanwhile
        await asyncio.to_thread(_forget_lines, context, made)
        raise
    return [_part(context, new, *one) for one in zip(shares, placed, strict=True)]


def _part(context: Context, new: NewMessages, share: Share, job: Job) -> New:
    batch = Batch(
        id=BatchId(f"part_{job.id}"),
        project=context.project,
        dialect=Dialect.PART,
        job=job.id,
        endpoint=URL,
        created_at=job.created_at,
        expires_at=new.expires_at,
        rows=share.count,
    )
    order = None if share.served is None else share.served.order
    return New(batch=batch, job=job, order=order, rows=share.count)


def _whole(new: NewMessages, made: Sequence[New]) -> list[New]:
    """The batch that is shown, and the parts under it where there are several."""
    first = made[0]
    batch = msgspec.structs.replace(
        first.batch,
        id=BatchId(wire.batch_id(first.batch.job or JobId(""))),
        dialect=Dialect.ANTHROPIC,
        caller=new.asked.caller,
        digest=new.asked.digest,
        idempotency_key=new.asked.key,
        rows=sum(one.rows for one in made),
    )
    if len(made) == 1:
        return [msgspec.structs.replace(first, batch=batch)]
    parts = [
        msgspec.structs.replace(one, batch=msgspec.structs.replace(one.batch, whole=batch.id))
        for one in made
    ]
    names = tuple(one.batch.id for one in parts)
    return [New(batch=msgspec.structs.replace(batch, parts=names)), *parts]


def _said(known: Batch | KeyTaken) -> Batch | Refusal:
    """A batch, or a refusal in Anthropic's words."""
    if isinstance(known, Batch):
        return known
    return Refusal(status=known.status, message=known.message)


def _source(lines: Sealed) -> SourceSpec:
    return SourceSpec(
        kind=BATCH,
        path=str(lines.path),
        name=_NAME,
        size_bytes=lines.size_bytes,
        sha256=lines.sha256,
        spooled=True,
        id_column=ID,
        batch=BatchHead(url=URL, translated=True),
    )


def _placed(context: Context, made: Sequence[Job]) -> list[Job]:
    """The folders of all jobs, with the lines moved in, or none. Blocking. Raises DiskError."""
    is_whole = False
    try:
        placed = [_in_place(context, job) for job in made]
        is_whole = True
    finally:
        if not is_whole:
            _forget_lines(context, made)
    return placed


def _forget_lines(context: Context, made: Sequence[Job]) -> None:
    forget_files(context, made)
    for job in made:  # those that were not moved yet
        Path(job.spec.source.path).unlink(missing_ok=True)


def _in_place(context: Context, job: Job) -> Job:
    found = context.files(job.id)
    with disk_errors("making the job's folders"):
        found.make()
        Path(job.spec.source.path).rename(found.source)
        fsync_dir(found.root)
    return with_source(context, job)


# -- looking


def object_of(shown: Shown) -> wire.Batch:
    """What Anthropic's wire says of a batch."""
    batch, job = shown.batch, shown.job
    name = batch.job or JobId("")
    status = wire.Status.IN_PROGRESS
    read = 0 if job is None or batch.parts else job.rows
    counts = wire.counts_so_far(read or batch.rows)
    asked = job is not None and (job.wanted is Wanted.CANCEL or job.state is JobState.CANCELLING)
    asked = asked and not batch.parts  # one part does not speak for the others
    if batch.ended_at is not None:
        status = wire.Status.ENDED
        counts = wire.counts_at_end(batch.rows, batch.totals, rest=rest_of(batch))
    elif asked or batch.moments.cancelling_at is not None:
        status = wire.Status.CANCELING
    return wire.Batch(
        job=name,
        status=status,
        counts=counts,
        created_at=batch.created_at,
        expires_at=batch.expires_at,
        ended_at=batch.ended_at,
        cancel_initiated_at=batch.moments.cancelling_at,
        archived_at=batch.archived_at,
    )


# -- removing one


async def delete(context: Context, batch: BatchId) -> None:
    """Remove a batch that is over, with its results. Raises NotFound, InputError, HomeBusy."""
    shown = await show(context, batch, Dialect.ANTHROPIC)
    if shown.batch.ended_at is None:
        raise InputError(f"the batch {batch} is in progress", reason="batch_in_progress")
    parts = await context.store.read(lambda tx: parts_of(tx, shown.batch))
    for one in (*parts, shown.batch):
        if one.job is not None and not one.parts:
            with contextlib.suppress(NotFound):  # somebody deleted the job itself
                await deletion.delete(context, one.job)
    await context.store.write(partial(_forget, batch=shown.batch))


async def _forget(tx: Tx, *, batch: Batch) -> None:
    """Remove the records of a batch and its parts: until here it may be deleted again."""
    for one in (*await parts_of(tx, batch), batch):
        await batches.remove(tx, one.id, project=batch.project)
