"""A job's rows and answers as Arrow streams in a file, for a client that makes frames of them.

Two files of one length: what was asked, and what was answered. Written chunk by
chunk, so memory stays flat however many rows there are.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nightkiln.core.job import Job
from nightkiln.service.context import Context
from nightkiln.service.results import aligned
from nightkiln.tables.inputcolumns import InputColumns
from nightkiln.vault.durable import disk_errors, whole


async def write_answers(context: Context, job: Job, path: Path, *, partial: bool) -> None:
    """The answers, in row order. Raises NotFound while there are none, DiskError."""
    pieces = await aligned(context, job, partial=partial)
    await asyncio.to_thread(_write, path, (answers for _, answers in pieces))


async def write_inputs(context: Context, job: Job, path: Path, *, partial: bool) -> None:
    """The rows, with the types that they came in. Raises NotFound, DiskError."""
    if job.spec.source.framed:
        source = context.files(job.id).source
        await asyncio.to_thread(_write, path, _frame(source, job.rows))
        return
    pieces = await aligned(context, job, partial=partial)
    columns = InputColumns(job.columns, source=job.spec.source.kind)
    tables = (pa.table(columns.take(rows), names=list(columns.names)) for rows, _ in pieces)
    await asyncio.to_thread(_write, path, tables)


def _frame(source: Path, rows: int) -> Iterator[pa.Table]:
    """The first rows of a staged frame, a row group at a time."""
    left = rows
    with whole(source), pq.ParquetFile(source) as file:
        for group in range(file.num_row_groups):
            if left <= 0:
                return
            table = file.read_row_group(group, use_threads=False).slice(0, left)
            left -= table.num_rows
            yield table


def _write(path: Path, tables: Iterator[pa.Table]) -> None:
    with disk_errors("writing a table for a client"), contextlib.ExitStack() as stack:
        writer: pa.RecordBatchStreamWriter | None = None
        for table in tables:
            if writer is None:
                sink = stack.enter_context(pa.OSFile(str(path), "wb"))
                writer = stack.enter_context(pa.ipc.new_stream(sink, table.schema))
            writer.write_table(table)
