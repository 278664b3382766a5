"""An ended job's rows and answers as two tables of one length, for faces that speak Python.

Rows of a frame come back from the file they were staged in, so with their own
types and a pandas index; rows of a file as the columns an output would have.
Everything is in memory at once, as the frame was.
"""

import asyncio
from collections.abc import Iterator

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from nightkiln.core.job import Job
from nightkiln.service.context import Context
from nightkiln.service.results import aligned
from nightkiln.service.staging import Origin, origin_in
from nightkiln.tables.inputcolumns import InputColumns
from nightkiln.vault.durable import whole
from nightkiln.vault.home import JobFiles


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A job with its rows and answers, in row order."""

    job: Job
    inputs: pa.Table
    answers: pa.Table  # has tables.base.OUTPUT_COLUMNS
    origin: Origin | None  # None: the rows came from a file


async def answered(context: Context, job: Job, *, partial: bool = False) -> Answered:
    """Everything a frame of results is made of. Raises NotFound while nothing is published.

    With `partial` a job that is not over has its committed prefix; other rows are pending.
    """
    pieces = await aligned(context, job, partial=partial)
    return await asyncio.to_thread(_gathered, context.files(job.id), job, pieces)


def _gathered(files: JobFiles, job: Job, pieces: Iterator[tuple[pa.Table, pa.Table]]) -> Answered:
    columns = InputColumns(job.columns, source=job.spec.source.kind)
    inputs, answers = [], []
    for rows, results in pieces:
        if not job.spec.source.framed:
            inputs.append(pa.table(columns.take(rows), names=list(columns.names)))
        answers.append(results)
    if job.spec.source.framed:
        with whole(files.source):
            table = pq.read_table(files.source, partitioning=None).slice(0, job.rows)
    else:
        table = pa.concat_tables(inputs)
    return Answered(
        job=job, inputs=table, answers=pa.concat_tables(answers), origin=origin_in(table.schema)
    )
