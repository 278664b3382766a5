"""Accepting a job: from here on it exists, whatever happens.

A job is real once its source is durable and its row is committed in
`validating`. The same content is the same job: the key derives from the raw
input bytes, how they are read, and what is asked of which model; never from
where it is sent, with which credential, how fast, or where the answers go.
"""

import asyncio
import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from nightkiln.core import crashpoints
from nightkiln.core.errors import QuotaError, UsageError
from nightkiln.core.events import Opening
from nightkiln.core.job import Job, JobSpec, JobState, PromptSpec, Sampling, SourceSpec
from nightkiln.service import badrows, charging
from nightkiln.service.batches import recognised
from nightkiln.service.context import Context
from nightkiln.service.fetching import Fetching, fetch, is_url, path_of
from nightkiln.service.orders import Order, Staged
from nightkiln.service.reaching import shown_url
from nightkiln.service.sources import fingerprint, kind_of, located
from nightkiln.store import generations, jobs
from nightkiln.store.tx import Tx
from nightkiln.tables.badrows import POLICIES
from nightkiln.tables.batch_in import task_of
from nightkiln.tables.formats import TEXTUAL, compression_of
from nightkiln.tables.schema import AnswerSchema
from nightkiln.tables.streams import encoding_of
from nightkiln.vault.durable import disk_errors, fsync_dir

_PIECE_BYTES = 1 << 20
_OPENINGS = {
    JobState.SUCCEEDED: Opening.FINISHED,
    JobState.COMPLETED_WITH_ERRORS: Opening.WITH_ERRORS,
    JobState.CANCELLED: Opening.CONTINUED,
    JobState.EXPIRED: Opening.CONTINUED,
}


async def source_of(
    context: Context, order: Order, *, fetching: Fetching | None = None
) -> SourceSpec:
    """The durable source of an order: the named files, or standard input or a URL spooled.

    Raises InputError for a file that is not there, UsageError for an unknown
    format or a URL that is not allowed, UnreachableError for one that is not there.
    """
    if order.staged is not None:
        source = _staged(order, order.staged)
    else:
        source = await _named(context, order, fetching or Fetching())
    if source.spooled:
        crashpoints.reach("source.spooled")
    return await recognised(source, order)


async def _named(context: Context, order: Order, fetching: Fetching) -> SourceSpec:
    """The source that an order names: a file where it is, anything else spooled."""
    url = is_url(order.input)
    name = path_of(order.input) if url else order.input
    kind = kind_of(name, order.input_format)
    if order.input == "-":
        path, sha256, size = await asyncio.to_thread(_spool, context, sys.stdin.buffer)
    elif url:
        path = context.home.spool / context.new_job_id()
        sha256, size = await asyncio.to_thread(fetch, order.input, path, fetching)
    else:
        path = located(order.input, kind)
        sha256, size = await asyncio.to_thread(fingerprint, path, kind)
    return described(
        order,
        kind=kind,
        path=path,
        name=shown_url(order.input) if url else order.input,
        content=(sha256, size),
        spooled=url or order.input == "-",
        compression=compression_of(name, order.input_format) if kind in TEXTUAL else None,
    )


def described(  # noqa: PLR0913 - what a source is
    order: Order,
    *,
    kind: str,
    path: Path,
    name: str,
    content: tuple[str, int],
    spooled: bool,
    compression: str | None,
) -> SourceSpec:
    """A file as the source of an order; `content` is its sha256 and size. Raises UsageError."""
    return SourceSpec(
        kind=kind,
        path=str(path),
        name=name,
        size_bytes=content[1],
        sha256=content[0],
        spooled=spooled,
        compression=compression,
        sheet=order.sheet,
        delimiter=order.delimiter,
        id_column=order.id_column,
        limit=order.limit,
        encoding=_encoding(order, kind),
        on_bad_row=order.on_bad_row,
    )


def _encoding(order: Order, kind: str) -> str | None:
    """The encoding that was named. Raises UsageError where there is none, or none to name."""
    if order.on_bad_row not in POLICIES:
        raise UsageError(f"on-bad-row is one of {', '.join(POLICIES)}, not {order.on_bad_row}")
    if order.encoding is not None and kind not in TEXTUAL:
        raise UsageError(f"encoding is for text; {order.input} is {kind}", hint="leave it out")
    return encoding_of(order.encoding)


def _staged(order: Order, staged: Staged) -> SourceSpec:
    """Rows from Python as a source; the file moves to the job that takes it."""
    return SourceSpec(
        kind="parquet",
        path=staged.path,
        name=staged.name,
        size_bytes=staged.size_bytes,
        sha256=staged.sha256,
        spooled=True,
        framed=True,
        id_column=order.id_column,
        limit=order.limit,
        on_bad_row=order.on_bad_row,
    )


def _spool(context: Context, stream: BinaryIO) -> tuple[Path, str, int]:
    """Copy a stream into the home, durably, hashing as it comes."""
    path = context.home.spool / context.new_job_id()
    digest, size = hashlib.sha256(), 0
    with disk_errors("spooling standard input"), path.open("xb") as out:
        while piece := stream.read(_PIECE_BYTES):
            digest.update(piece)
            size += out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return path, digest.hexdigest(), size


def spec_of(order: Order, source: SourceSpec, *, model: str) -> JobSpec:
    """The unchanging part of an order."""
    if order.limit is not None and order.limit < 1:
        raise UsageError(f"limit is {order.limit}; it has to be at least 1")
    if order.bad_rows is not None:
        badrows.check_output(order.bad_rows, source_path=source.path, results=order.output)
    schema = order.output_schema
    if schema is not None:
        AnswerSchema(schema)
    if source.batch is None:
        _refuse_logprobs(order.sampling)
    return JobSpec(
        source=source,
        prompt=order.prompt if source.batch is None else PromptSpec(),
        model=model,
        task=order.task if source.batch is None else task_of(source),
        keep_bodies=source.batch is not None,
        sampling=order.sampling if source.batch is None else Sampling(),
        output_schema=None if schema is None else schema.decode().strip(),
        label=order.label,
    )


def _refuse_logprobs(sampling: Sampling) -> None:
    """A table's answers have no column for them, so they would be paid for and lost."""
    for name in ("logprobs", "top_logprobs"):
        said = sampling.extra.get(name)
        if said is not None and bytes(said).strip() not in (b"false", b"null", b"0"):
            raise UsageError(
                f"{name} are asked for, and a table has no column for them",
                hint="ask with a file of OpenAI's batch lines: its results are whole answers",
            )


def identity_of(spec: JobSpec) -> str:
    """The key under which the same content is the same job.

    Lines of a batch that may name any model are another job than the same lines held to
    the model of the first: the others of them are asked in the one and bad in the other.
    """
    source = spec.source
    content = (
        source.sha256,
        source.kind,
        source.delimiter,
        source.id_column,
        source.limit,
        source.encoding,
        source.compression,
        source.on_bad_row,
        source.sheet,
        spec.prompt,
        spec.model,
        spec.sampling,
        spec.output_schema,
        spec.task,
        *(("any model",) if source.batch is not None and source.batch.model is None else ()),
    )
    return "derived:" + hashlib.sha256(msgspec.json.encode(content)).hexdigest()


async def find(context: Context, spec: JobSpec, *, key: str | None = None) -> Job | None:
    """The newest job with the same content, or of a key that was given, unless it failed."""
    named = key or identity_of(spec)
    return await context.store.read(lambda tx: jobs.find_by_key(tx, named, project=context.project))


def opening_of(job: Job | None) -> Opening:
    """How a submission meets what is already there."""
    return Opening.NEW if job is None else _OPENINGS.get(job.state, Opening.ATTACHED)


def serves(found: Job | None, *, new: bool, again: bool) -> bool:
    """True when a job with the same content stands for a submission."""
    if found is None or new:
        return False
    return not (again and found.state is JobState.SUCCEEDED)


async def accept(  # noqa: PLR0913 - one seam for every way in
    context: Context,
    spec: JobSpec,
    *,
    new: bool,
    again: bool = False,
    key: str | None = None,
    manner: str | None = None,
    rows: int = 0,
) -> tuple[Job, Opening]:
    """Make the job real, or find the one that is the same. Raises DiskError, QuotaError.

    With `new` no job is the same, with `again` none that succeeded. A `key` that
    somebody gave stands for the content. `manner` is kept with a new job, for
    whoever runs it. `rows` is how many there are, where that is known already.
    """
    fresh = Job(
        id=context.new_job_id(),
        project=context.project,
        spec=spec,
        idempotency_key=key or identity_of(spec),
        created_at=context.clock(),
    )

    async def use_case(tx: Tx) -> Job | None:
        found = await jobs.find_by_key(tx, fresh.idempotency_key, project=context.project)
        if serves(found, new=new, again=again):
            return found
        await jobs.insert(tx, placed)
        await charging.submitted(tx, placed, rows=rows)
        await generations.begin(tx, placed.id, placed.generation, now=placed.created_at)
        if manner is not None:
            await jobs.set_manner(tx, placed.id, manner)
        return None

    known = await find(context, spec, key=key)
    if known is not None and serves(known, new=new, again=again):
        await asyncio.to_thread(drop_spool, spec.source)
        return known, opening_of(known)
    placed = await asyncio.to_thread(_place, context, fresh)
    try:
        found = await context.store.write(use_case)
    except QuotaError:
        await asyncio.to_thread(shutil.rmtree, context.files(placed.id).root, ignore_errors=True)
        raise
    if found is None:
        crashpoints.reach("job.accepted")
        return placed, Opening.NEW
    await asyncio.to_thread(drop_spool, placed.spec.source)
    return found, opening_of(found)


def _place(context: Context, job: Job) -> Job:
    """Make the job's folders; a spooled source moves in."""
    files = context.files(job.id)
    source = job.spec.source
    with disk_errors("making the job's folders"):
        files.make()
        if not source.spooled:
            return job
        Path(source.path).rename(files.source)
        fsync_dir(files.root)
    moved = msgspec.structs.replace(source, path=str(files.source))
    return msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, source=moved))


def drop_spool(source: SourceSpec) -> None:
    """Remove a spooled copy that no job needs."""
    if source.spooled:
        Path(source.path).unlink(missing_ok=True)
