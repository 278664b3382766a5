"""The rows of a submission that came over a wire: sent along, uploaded, at a URL, or answered.

A wire never names a path of this machine. Whatever it names becomes a file in the
spool of the home, which the job then owns.
"""

import asyncio
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.files import FileId, StoredFile
from nightkiln.core.job import SourceSpec
from nightkiln.service import files, submit
from nightkiln.service.batches import recognised
from nightkiln.service.context import Context
from nightkiln.service.fetching import Fetching, is_url
from nightkiln.service.naming import find_job
from nightkiln.service.orders import Order, Staged
from nightkiln.service.results import aligned
from nightkiln.service.staging import stage, staged_in
from nightkiln.tables.columns import check_collisions
from nightkiln.tables.formats import TEXTUAL, compression_of, format_of
from nightkiln.tables.frames import frame_of
from nightkiln.tables.inputcolumns import InputColumns
from nightkiln.vault.durable import disk_errors, link, sha256_of

EARLIER: Final = "earlier_answer"


class FromRows(msgspec.Struct, frozen=True, kw_only=True, tag_field="from", tag="rows"):
    """Rows in the request itself: texts, objects, or lists of messages."""

    rows: list[Any]


class FromFile(msgspec.Struct, frozen=True, kw_only=True, tag_field="from", tag="file"):
    """A file that was uploaded before; its name tells its format."""

    id: str
    framed: bool = False  # it holds rows that the Python client staged


class FromUrl(msgspec.Struct, frozen=True, kw_only=True, tag_field="from", tag="url"):
    """A file at a public http:// or https:// address."""

    url: str


class FromJob(msgspec.Struct, frozen=True, kw_only=True, tag_field="from", tag="job"):
    """The rows of an ended job that have a result, with the answers as one more column."""

    id: str
    column: str = EARLIER  # what that column is called


Wanted: TypeAlias = FromRows | FromFile | FromUrl | FromJob


async def arrived(
    context: Context, wanted: Wanted, order: Order, *, fetching: Fetching | None = None
) -> tuple[SourceSpec, Order]:
    """The durable source, and the order with its name. Raises InputError, UsageError, NotFound."""
    match wanted:
        case FromRows():
            staged = await asyncio.to_thread(stage, context.home, frame_of(wanted.rows))
            order = _naming(order, staged.name, staged)
        case FromFile():
            file = await files.get(context, FileId(wanted.id))
            path = await asyncio.to_thread(_linked, context, file)
            if not wanted.framed:
                source = _of_file(order, file, path)
                return await recognised(source, order), _naming(order, file.name)
            order = _naming(order, file.name, await asyncio.to_thread(_reread, path, file.name))
        case FromUrl():
            if not is_url(wanted.url):
                raise UsageError(f"{wanted.url} is no http:// or https:// URL")
            order = _naming(order, wanted.url)
        case FromJob():
            return await _of_job(context, wanted, order)
    return await submit.source_of(context, order, fetching=fetching), order


def _naming(order: Order, name: str, staged: Staged | None = None) -> Order:
    return msgspec.structs.replace(order, input=name, staged=staged)


def _linked(context: Context, file: StoredFile) -> Path:
    """A second name for an uploaded file, which the job may move."""
    path = context.home.spool / context.new_job_id()
    with disk_errors("taking an uploaded file"):
        link(files.path_of(context, file.id), path)
    return path


def _reread(path: Path, name: str) -> Staged:
    try:
        return staged_in(path, name)
    except InputError:
        path.unlink(missing_ok=True)
        raise


def _of_file(order: Order, file: StoredFile, path: Path) -> SourceSpec:
    try:
        kind = format_of(file.name, order.input_format)
        compression = compression_of(file.name, order.input_format) if kind in TEXTUAL else None
        return submit.described(
            order,
            kind=kind,
            path=path,
            name=file.name,
            content=(file.sha256, file.size_bytes),
            spooled=True,
            compression=compression,
        )
    except UsageError:
        path.unlink(missing_ok=True)
        raise


async def _of_job(context: Context, wanted: FromJob, order: Order) -> tuple[SourceSpec, Order]:
    job = await find_job(context, wanted.id)
    check_collisions(job.columns, added=(wanted.column,))
    pieces = await aligned(context, job)
    path = context.home.spool / context.new_job_id()
    name = f"results of {job.id}"

    def write() -> tuple[str, int]:
        columns, out = InputColumns(job.columns, source=job.spec.source.kind), None
        with disk_errors("taking the results of a job"):
            for inputs, answers in pieces:
                keep = pc.equal(answers.column("status"), "ok")
                table = pa.table(
                    [*columns.take(inputs), answers.column("answer")],
                    names=[*columns.names, wanted.column],
                ).filter(keep)
                out = out or pq.ParquetWriter(path, table.schema)
                out.write_table(table)
            if out is not None:
                out.close()
            return sha256_of(path)

    content = await asyncio.to_thread(write)
    source = submit.described(
        order, kind="parquet", path=path, name=name, content=content, spooled=True, compression=None
    )
    return source, _naming(order, name)
