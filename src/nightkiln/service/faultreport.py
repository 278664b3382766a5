"""The row errors of a job: by class, with a sample of each, and row by row if asked.

Says nothing of what was asked: a row's input is shown only when that is wanted.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from nightkiln.core.chunk import Chunk, ChunkState
from nightkiln.core.explain import FAULTS
from nightkiln.core.fault import FaultClass
from nightkiln.core.job import Job, JobState
from nightkiln.service.context import Context
from nightkiln.store import chunks
from nightkiln.vault.durable import whole
from nightkiln.vault.home import JobFiles
from nightkiln.vault.parts import IMPLIED
from nightkiln.vault.segments import InputReader

CODES: Final = 5  # of a class, the most frequent ones
CLIPPED: Final = 200  # characters of an input value
_COLUMNS: Final = ("row", "custom_id", "fault", "fault_message")
_ENDED_EARLY: Final = {
    JobState.CANCELLED: FaultClass.CANCELLED,
    JobState.EXPIRED: FaultClass.EXPIRED,
}


class FaultSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One class of row errors."""

    fault: str
    count: int
    codes: dict[str, int]  # what was said first, such as http_500, the most frequent first
    row: int | None  # one of them
    message: str
    cause: str
    action: str


class FaultRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row with a fault."""

    row: int
    custom_id: str | None
    fault: str
    message: str
    input: dict[str, str] | None = None  # only when it was asked for; values are clipped


class FaultReport(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong in a job so far."""

    job: str
    state: str
    rows: int
    ok: int
    failed: int  # with implied faults
    faults: tuple[FaultSummary, ...]  # the most frequent class first
    listed: tuple[FaultRow, ...]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What to list."""

    rows: int = 0
    classes: AbstractSet[str] = frozenset()  # empty: all
    show_input: bool = False


async def faults_of(context: Context, job: Job, wish: Wish) -> FaultReport:
    """The row errors of a job, of a running one as far as it is committed."""
    known = await context.store.read(lambda tx: chunks.all_chunks(tx, job.id))
    found = await asyncio.to_thread(_collected, context.files(job.id), job, known, wish)
    counts = sum(one.count for one in found.classes.values())
    chosen = (kind for kind in found.classes if not wish.classes or kind in wish.classes)
    return FaultReport(
        job=job.id,
        state=str(job.state),
        rows=job.rows,
        ok=job.totals.ok,
        failed=counts,
        faults=tuple(
            _summary(kind, found.classes[kind])
            for kind in sorted(chosen, key=lambda kind: -found.classes[kind].count)
        ),
        listed=tuple(found.listed),
    )


class _Class:
    """What is known of one class while reading."""

    def __init__(self) -> None:
        self.count = 0
        self.codes: dict[str, int] = {}
        self.row: int | None = None
        self.message = ""


class _Collected:
    """What is known of all classes while reading."""

    def __init__(self) -> None:
        self.classes: dict[str, _Class] = {}
        self.listed: list[FaultRow] = []

    def add(self, kind: str, row: int, message: str) -> None:
        one = self.classes.setdefault(kind, _Class())
        one.count += 1
        code = message.partition(":")[0]
        one.codes[code] = one.codes.get(code, 0) + 1
        if one.row is None:
            one.row, one.message = row, message


def _collected(files: JobFiles, job: Job, known: Sequence[Chunk], wish: Wish) -> _Collected:
    found = _Collected()
    implied = _ENDED_EARLY.get(job.state)
    with contextlib.closing(InputReader(files)) as reader:
        for chunk in known:
            here = [
                fault
                for fault in _faults_in(files, job, chunk, implied)
                if not wish.classes or fault.fault in wish.classes
            ]
            for fault in here:
                found.add(fault.fault, fault.row, fault.message)
            listed = here[: wish.rows - len(found.listed)]
            if listed and wish.show_input:
                listed = _with_input(reader.read(chunk).rows, chunk, listed)
            found.listed += listed
    return found


def _faults_in(
    files: JobFiles, job: Job, chunk: Chunk, implied: FaultClass | None
) -> Iterator[FaultRow]:
    """The rows of a chunk with a fault, in row order."""
    part = _part(files, chunk)
    again = frozenset(job.retry_classes)
    is_open = chunk.state is not ChunkState.COMMITTED
    have: set[int] = set()
    for entry in part.to_pylist():
        have.add(entry["row"])
        kind = entry["fault"]
        if kind is None or (is_open and implied is None and (not again or kind in again)):
            continue  # answered, or being asked again
        yield FaultRow(
            row=entry["row"],
            custom_id=entry["custom_id"],
            fault=kind,
            message=entry["fault_message"] or "",
        )
    if implied is not None:
        for row in range(chunk.first_row, chunk.first_row + chunk.rows):
            if row not in have:
                yield FaultRow(
                    row=row, custom_id=None, fault=str(implied), message=IMPLIED[implied]
                )


def _part(files: JobFiles, chunk: Chunk) -> pa.Table:
    if chunk.committed_epoch is None:
        return pa.table({name: [] for name in _COLUMNS})
    path = files.part(chunk.number, chunk.committed_epoch)
    with whole(path):
        return pq.read_table(path, columns=list(_COLUMNS), use_threads=False, partitioning=None)


def _with_input(rows: pa.Table, chunk: Chunk, faults: Sequence[FaultRow]) -> list[FaultRow]:
    shown = []
    for fault in faults:
        (values,) = rows.slice(fault.row - chunk.first_row, 1).to_pylist()
        clipped = {name: _clipped(value) for name, value in values.items()}
        shown.append(msgspec.structs.replace(fault, input=clipped))
    return shown


def _clipped(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= CLIPPED else text[: CLIPPED - 1] + "…"


def _summary(kind: str, one: _Class) -> FaultSummary:
    words = FAULTS[FaultClass(kind)]
    most = sorted(one.codes.items(), key=lambda item: -item[1])[:CODES]
    return FaultSummary(
        fault=kind,
        count=one.count,
        codes=dict(most),
        row=one.row,
        message=one.message,
        cause=words.meaning,
        action=words.fix,
    )
