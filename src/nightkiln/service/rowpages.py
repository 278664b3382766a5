"""A job's rows a page at a time, from a row on: inputs and answers, filtered without reading all.

Counts that every chunk has anyway say which chunks hold no row that is wanted, so a
filter for one fault among a million rows reads the chunks that have it. Where
counts cannot tell, a page looks at so many chunks and says where to go on.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from nightkiln.core.chunk import Chunk
from nightkiln.core.fault import FaultClass
from nightkiln.core.job import Job, JobState
from nightkiln.service.context import Context
from nightkiln.service.results import answers_of
from nightkiln.store import chunks
from nightkiln.tables.inputcolumns import InputColumns
from nightkiln.vault.home import JobFiles
from nightkiln.vault.parts import completed, read_part
from nightkiln.vault.segments import InputReader

_LOOKED_AT: Final = 64  # chunks that one page reads at most
_MOST_BYTES: Final = 1 << 20  # of a page as JSON; one row may be more
_CUT: Final = frozenset({"length"})  # the one finish reason that chunks count
_IMPLIED: Final = {
    JobState.CANCELLED: FaultClass.CANCELLED,
    JobState.EXPIRED: FaultClass.EXPIRED,
}


class RowsWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows. Values of one field are alternatives; all fields have to hold; empty: any."""

    start: int = 0  # the first row that is looked at
    limit: int = 100
    status: frozenset[str] = frozenset()  # ok, error, pending
    fault: frozenset[str] = frozenset()
    finish_reason: frozenset[str] = frozenset()


class RowObject(msgspec.Struct, frozen=True, kw_only=True):
    """A row with its answer. The rest of the answer is in columns, as in every output."""

    row: int
    custom_id: str | None
    input: dict[str, Any]
    answer: dict[str, Any]  # by the names of the output's columns


class RowPage(msgspec.Struct, frozen=True, kw_only=True):
    """Rows, and where to go on."""

    data: tuple[RowObject, ...]
    has_more: bool  # there may be more rows that are wanted
    next: int | None  # the row to start from then


async def rows_of(context: Context, job: Job, wanted: RowsWanted) -> RowPage:
    """A page of rows, of a job in any state. Raises DamagedError."""
    known = await context.store.read(lambda tx: chunks.all_chunks(tx, job.id))
    return await asyncio.to_thread(_page, context.files(job.id), job, known, wanted)


def _page(files: JobFiles, job: Job, known: Sequence[Chunk], wanted: RowsWanted) -> RowPage:
    columns = InputColumns(job.columns, source=job.spec.source.kind)
    found: list[RowObject] = []
    looked = size = 0
    with contextlib.closing(InputReader(files)) as reader:
        for chunk in known:
            end = chunk.first_row + chunk.rows
            if end <= wanted.start or not may_hold(chunk, job, wanted):
                continue
            if looked == _LOOKED_AT:
                return RowPage(data=tuple(found), has_more=True, next=chunk.first_row)
            looked += 1
            answers, inputs = answers_in(files, job, chunk), None
            for at in matches(answers, wanted, first=wanted.start - chunk.first_row):
                if len(found) == wanted.limit:
                    return RowPage(data=tuple(found), has_more=True, next=chunk.first_row + at)
                if inputs is None:
                    inputs = reader.read(chunk).rows
                row = _row(inputs, columns, answers, chunk, at)
                size += _size_of(row)
                if found and size > _MOST_BYTES:
                    return RowPage(data=tuple(found), has_more=True, next=row.row)
                found.append(row)
    return RowPage(data=tuple(found), has_more=False, next=None)


def _size_of(row: RowObject) -> int:
    return len(msgspec.json.encode(row))


def may_hold(chunk: Chunk, job: Job, wanted: RowsWanted) -> bool:
    """False where the chunk's counts say that it has no such row."""
    totals, pending = chunk.totals, chunk.rows - chunk.totals.answered
    implied = _IMPLIED.get(job.state)
    faults = dict(totals.faults)
    if implied is not None and pending:
        faults[str(implied)] = faults.get(str(implied), 0) + pending
    counts = {
        "ok": totals.ok,
        "error": sum(faults.values()),
        "pending": 0 if implied is not None else pending,
    }
    if wanted.status and not any(counts.get(one, 0) for one in wanted.status):
        return False
    if wanted.fault and not any(faults.get(one, 0) for one in wanted.fault):
        return False
    if wanted.finish_reason == _CUT:
        return totals.truncated > 0
    return not wanted.finish_reason or totals.ok > 0


def answers_in(files: JobFiles, job: Job, chunk: Chunk) -> pa.Table:
    """The chunk's rows as their part has them."""
    part = None
    if chunk.committed_epoch is not None:
        part = read_part(files.part(chunk.number, chunk.committed_epoch))
    implied = _IMPLIED.get(job.state)
    return completed(part, first_row=chunk.first_row, rows=chunk.rows, implied=implied)


def matches(answers: pa.Table, wanted: RowsWanted, *, first: int) -> list[int]:
    """Which rows of a chunk are wanted, by their place in it."""
    keep = pa.array([at >= first for at in range(answers.num_rows)])
    for name in ("status", "fault", "finish_reason"):
        if values := getattr(wanted, name):
            among = pc.is_in(answers.column(name), value_set=pa.array(sorted(values), pa.string()))
            keep = pc.and_(keep, among)
    places: list[int] = pc.indices_nonzero(keep).to_pylist()
    return places


def _row(
    inputs: pa.Table, columns: InputColumns, answers: pa.Table, chunk: Chunk, at: int
) -> RowObject:
    one = pa.table(columns.take(inputs.slice(at, 1)), names=list(columns.names))
    (given,) = one.to_pylist() or [{}]
    part = answers.slice(at, 1)
    (answer,) = answers_of(part).to_pylist()
    return RowObject(
        row=chunk.first_row + at,
        custom_id=part.column("custom_id")[0].as_py(),
        input=given,
        answer=answer,
    )
