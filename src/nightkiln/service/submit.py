"""Accepting a job: from here on it exists, whatever happens.

A job is real once its source is durable and its row is committed in
`validating`. The same content is the same job: the key derives from the raw
input bytes, how they are read, and what is asked of which model; never from
where it is sent, with which credential, how fast, or where the answers go.
"""

import asyncio
import hashlib
import os
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from nightkiln.core import crashpoints
from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.events import Opening
from nightkiln.core.job import Job, JobSpec, JobState, SourceSpec
from nightkiln.service.context import Context
from nightkiln.service.orders import Order
from nightkiln.store import generations, jobs
from nightkiln.store.tx import Tx
from nightkiln.tables.formats import format_of
from nightkiln.tables.schema import AnswerSchema
from nightkiln.vault.durable import disk_errors, fsync_dir, sha256_of

_PIECE_BYTES = 1 << 20
_OPENINGS = {
    JobState.SUCCEEDED: Opening.FINISHED,
    JobState.COMPLETED_WITH_ERRORS: Opening.WITH_ERRORS,
    JobState.CANCELLED: Opening.CONTINUED,
    JobState.EXPIRED: Opening.CONTINUED,
}


async def source_of(context: Context, order: Order) -> SourceSpec:
    """The durable source of an order: the named file, or standard input spooled.

    Raises InputError for a file that is not there, UsageError for an unknown format.
    """
    kind = format_of(order.input, order.input_format)
    if order.input == "-":
        path, sha256, size = await asyncio.to_thread(_spool, context, sys.stdin.buffer)
    else:
        path = _existing(order.input)
        sha256, size = await asyncio.to_thread(sha256_of, path)
    return SourceSpec(
        kind=kind,
        path=str(path),
        name=order.input,
        size_bytes=size,
        sha256=sha256,
        spooled=order.input == "-",
        delimiter=order.delimiter,
        id_column=order.id_column,
        limit=order.limit,
    )


def _existing(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        raise InputError(f"{name} is a folder", hint="name one file")
    try:
        with path.open("rb"):
            return path.resolve()
    except FileNotFoundError:
        raise InputError(f"there is no file {name}", hint="check the path") from None
    except PermissionError:
        raise InputError(f"{name} may not be read", hint="check its permissions") from None


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
    crashpoints.reach("source.spooled")
    return path, digest.hexdigest(), size


def spec_of(order: Order, source: SourceSpec, *, model: str) -> JobSpec:
    """The unchanging part of an order."""
    if order.limit is not None and order.limit < 1:
        raise UsageError(f"--limit is {order.limit}; it has to be at least 1")
    schema = order.output_schema
    if schema is not None:
        AnswerSchema(schema)
    return JobSpec(
        source=source,
        prompt=order.prompt,
        model=model,
        sampling=order.sampling,
        output_schema=None if schema is None else schema.decode().strip(),
    )


def identity_of(spec: JobSpec) -> str:
    """The key under which the same content is the same job."""
    source = spec.source
    content = (
        source.sha256,
        source.kind,
        source.delimiter,
        source.id_column,
        source.limit,
        spec.prompt,
        spec.model,
        spec.sampling,
        spec.output_schema,
    )
    return "derived:" + hashlib.sha256(msgspec.json.encode(content)).hexdigest()


async def find(context: Context, spec: JobSpec) -> Job | None:
    """The newest job with the same content, unless it failed."""
    key = identity_of(spec)
    return await context.store.read(lambda tx: jobs.find_by_key(tx, key, project=context.project))


def opening_of(job: Job | None) -> Opening:
    """How a submission meets what is already there."""
    return Opening.NEW if job is None else _OPENINGS.get(job.state, Opening.ATTACHED)


async def accept(context: Context, spec: JobSpec, *, new: bool) -> tuple[Job, Opening]:
    """Make the job real, or find the one that is the same. Raises DiskError."""
    fresh = Job(
        id=context.new_job_id(),
        project=context.project,
        spec=spec,
        idempotency_key=identity_of(spec),
        created_at=context.clock(),
    )

    async def use_case(tx: Tx) -> Job | None:
        found = await jobs.find_by_key(tx, fresh.idempotency_key, project=context.project)
        if found is not None and not new:
            return found
        await jobs.insert(tx, placed)
        await generations.begin(tx, placed.id, placed.generation, now=placed.created_at)
        return None

    if not new and (known := await find(context, spec)) is not None:
        await asyncio.to_thread(_drop_spool, spec)
        return known, opening_of(known)
    placed = await asyncio.to_thread(_place, context, fresh)
    found = await context.store.write(use_case)
    if found is None:
        crashpoints.reach("job.accepted")
        return placed, Opening.NEW
    await asyncio.to_thread(_drop_spool, placed.spec)
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


def _drop_spool(spec: JobSpec) -> None:
    """A spooled copy that no job needs."""
    if spec.source.spooled:
        Path(spec.source.path).unlink(missing_ok=True)
