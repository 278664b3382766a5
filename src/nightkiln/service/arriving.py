"""The rows of a submission that came over a wire: sent along, uploaded, at a URL, or answered.

A wire never names a path of this machine. Whatever it names becomes a file in the
spool of the home, which the job then owns.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightkiln.core.errors import InputError, UnreachableError, UsageError
from nightkiln.core.files import FileId, StoredFile
from nightkiln.core.job import SourceSpec
from nightkiln.service import files, submit
from nightkiln.service.batches import recognised
from nightkiln.service.context import Context
from nightkiln.service.diskroom import check_room
from nightkiln.service.fetching import Fetching, fetch, is_url, path_of
from nightkiln.service.naming import find_job
from nightkiln.service.orders import Order, Staged
from nightkiln.service.outward import Outward
from nightkiln.service.reaching import shown_url
from nightkiln.service.results import aligned
from nightkiln.service.staging import stage, staged_in
from nightkiln.tables.columns import check_collisions
from nightkiln.tables.formats import TEXTUAL, compression_of, format_of
from nightkiln.tables.frames import frame_of
from nightkiln.tables.inputcolumns import InputColumns
from nightkiln.tables.prompts import demanded
from nightkiln.vault.durable import disk_errors, link, sha256_of

EARLIER: Final = "earlier_answer"
_FETCHING: Final = Fetching(deadline_s=300.0)  # somebody waits for the answer meanwhile


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
    context: Context,
    wanted: Wanted,
    order: Order,
    *,
    outward: Outward,
    fetching: Fetching | None = None,
) -> tuple[SourceSpec, Order]:
    """The durable source, and the order with its name. Raises InputError, UsageError, NotFound.

    However it fails, nothing is left in the spool.
    """
    await asyncio.to_thread(check_room, context.home.root, reserve=context.reserve_bytes)
    match wanted:
        case FromRows():
            frame = frame_of(wanted.rows, needed=demanded(order.prompt))
            staged = await asyncio.to_thread(stage, context.home, frame)
            with _spooled(context, Path(staged.path)):
                order = _naming(order, staged.name, staged)
                return await submit.source_of(context, order), order
        case FromFile():
            return await _of_file(context, wanted, order)
        case FromUrl():
            rules = msgspec.structs.replace(
                fetching or _FETCHING, reserve_bytes=context.reserve_bytes
            )
            return await _of_url(context, wanted.url, order, rules, outward)
        case FromJob():
            return await _of_job(context, wanted, order)


@contextmanager
def _spooled(context: Context, path: Path | None = None) -> Iterator[Path]:
    """A path in the spool, a new one where none is given; nothing stays there after a failure."""
    path, is_whole = path or context.home.spool / context.new_job_id(), False
    try:
        yield path
        is_whole = True
    finally:
        if not is_whole:
            path.unlink(missing_ok=True)


def _naming(order: Order, name: str, staged: Staged | None = None) -> Order:
    return msgspec.structs.replace(order, input=name, staged=staged)


async def _of_file(context: Context, wanted: FromFile, order: Order) -> tuple[SourceSpec, Order]:
    file = await files.get(context, FileId(wanted.id))
    with _spooled(context) as path:
        await asyncio.to_thread(_linked, context, file, path)
        if wanted.framed:
            order = _naming(order, file.name, await asyncio.to_thread(staged_in, path, file.name))
            return await submit.source_of(context, order), order
        source = _described(order, file.name, file.name, path, (file.sha256, file.size_bytes))
        return await recognised(source, order), _naming(order, file.name)


def _linked(context: Context, file: StoredFile, path: Path) -> None:
    """Make a second name for an uploaded file, which the job may move."""
    with disk_errors("taking an uploaded file"):
        link(files.path_of(context, file.id), path)


async def _of_url(
    context: Context, url: str, order: Order, rules: Fetching, outward: Outward
) -> tuple[SourceSpec, Order]:
    """The table at a URL. A server that does not answer is the caller's to hear of."""
    if not is_url(url):
        raise UsageError(f"{url} is no http:// or https:// URL")
    format_of(path_of(url), order.input_format)  # before anything is fetched
    gone = threading.Event()
    shown = shown_url(url)
    with _spooled(context) as path:

        def work() -> tuple[str, int]:
            content = fetch(url, path, rules)
            if gone.is_set():  # nobody waits any more
                path.unlink(missing_ok=True)
            return content

        try:
            content = await outward.run(
                context.project, work, deadline_s=rules.deadline_s, what=f"fetching {shown}"
            )
        except UnreachableError as error:
            raise InputError(error.message, hint=error.hint or "check the URL") from error
        finally:
            gone.set()
        source = _described(order, shown, path_of(url), path, content)
        return await recognised(source, order), _naming(order, url)


def _described(
    order: Order, name: str, ending: str, path: Path, content: tuple[str, int]
) -> SourceSpec:
    """A file of the spool as a source; what `ending` ends with tells its format."""
    kind = format_of(ending, order.input_format)
    return submit.described(
        order,
        kind=kind,
        path=path,
        name=name,
        content=content,
        spooled=True,
        compression=compression_of(ending, order.input_format) if kind in TEXTUAL else None,
    )


async def _of_job(context: Context, wanted: FromJob, order: Order) -> tuple[SourceSpec, Order]:
    job = await find_job(context, wanted.id)
    check_collisions(job.columns, added=(wanted.column,))
    pieces = await aligned(context, job)
    name = f"results of {job.id}"

    def write(path: Path) -> tuple[str, int]:
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

    with _spooled(context) as path:
        content = await asyncio.to_thread(write, path)
        source = submit.described(
            order,
            kind="parquet",
            path=path,
            name=name,
            content=content,
            spooled=True,
            compression=None,
        )
    return source, _naming(order, name)
