"""Rows by a text that they hold, sorted if somebody wants it: a scan, for no index has either.

A job has no index over its texts, so looking for one reads chunk after chunk. It
is told as it happens, as a stream: where the scan stands, the rows that it found,
and at the end why it ended. The stream is the scan: who hangs up has cancelled it, a
restart loses nothing that anybody would look for, and there is no name, no list and
no sweeping of scans that nobody fetches. A scan with an id that is polled could do no
more, and would have to keep its hits for somebody who may never come.

What it takes is bounded in every direction. One chunk is in memory at a time. Of the
rows found the first `limit` are kept and no more, sorted or not, each with its long
texts clipped: the whole row is a page of rows away. At most two chunks are read at
once in the whole process, so scans wait for each other and take few threads from jobs at
work: two that read, and after a client has left one each that waits to close. A read that nobody
waits for any more keeps its place until it ends. A project has so many scans at once; and
a scan that lasts too long ends, says so, and names the row to go on from.
"""

import asyncio
import contextlib
import heapq
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from itertools import chain
from typing import Any, Final, Literal, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from nightkiln.core.chunk import Chunk
from nightkiln.core.errors import UsageError
from nightkiln.core.ids import ProjectId
from nightkiln.core.job import Job
from nightkiln.service.context import Context
from nightkiln.service.results import answers_of
from nightkiln.service.rowpages import RowsWanted, answers_in, matches, may_hold
from nightkiln.store import chunks
from nightkiln.tables.base import OUTPUT_COLUMNS
from nightkiln.tables.inputcolumns import InputColumns
from nightkiln.vault.home import JobFiles
from nightkiln.vault.segments import InputReader

HITS: Final = 200
CLIPPED: Final = 1000  # characters of a text in a hit
EACH: Final = 4  # scans of a project at once
_READ_AT_ONCE: Final = 2  # chunks, in the whole process
_LONGEST_S: Final = 120.0
_TELL_S: Final = 0.2  # between two words of progress
_CUSTOM_ID: Final = "custom_id"

_Key: TypeAlias = tuple[int, float, str]  # the kind of a value, then the value


class ScanWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for."""

    rows: RowsWanted = RowsWanted(limit=HITS)  # start, limit, and how they ended
    text: str = ""  # letters anywhere in a column, in upper or lower case
    column: str | None = None  # the only one to look in; None: every column of text
    sort: str | None = None  # a column; None: in row order, and the scan ends with enough rows
    descending: bool = False
    longest_s: float = _LONGEST_S


class ScanProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a scan is."""

    scanned: int  # rows that are behind it
    rows: int  # of the job
    found: int


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is wanted; long texts are clipped, and then `clipped` is true."""

    row: int
    custom_id: str | None
    input: dict[str, Any]
    answer: dict[str, Any]
    clipped: bool


class ScanEnd(msgspec.Struct, frozen=True, kw_only=True):
    """Why a scan ended, and the row to go on from where it did not see all."""

    reason: Literal["complete", "enough", "deadline"]
    scanned: int
    found: int  # of these `limit` were told
    next: int | None


ScanEvent: TypeAlias = ScanProgress | Hit | ScanEnd


class Scans:
    """The scans of one process: how many a project has, and how many read at once."""

    def __init__(self) -> None:
        self._open: Counter[ProjectId] = Counter()
        self._reading = asyncio.Semaphore(_READ_AT_ONCE)

    def begin(self, project: ProjectId) -> bool:
        """Count one more; False where a project has as many as it may have."""
        if self._open[project] >= EACH:
            return False
        self._open[project] += 1
        return True

    def end(self, project: ProjectId) -> None:
        """Count one less."""
        self._open[project] -= 1
        if self._open[project] <= 0:
            del self._open[project]

    async def look(self, scan: "_Scan", chunk: Chunk) -> list[Hit]:
        """Let a scan look at a chunk, when it is its turn."""
        await self._reading.acquire()
        try:
            looking = asyncio.get_running_loop().run_in_executor(None, scan.look, chunk)
        except RuntimeError:  # no thread can be had
            self._reading.release()
            raise
        looking.add_done_callback(lambda _: self._reading.release())
        return await asyncio.shield(looking)  # who leaves cannot call the thread back


def check(job: Job, wanted: ScanWanted) -> None:
    """Refuse columns that a job has not. Raises UsageError."""
    known = (*_inputs_of(job).names, *OUTPUT_COLUMNS, _CUSTOM_ID)
    for name in (wanted.column, wanted.sort):
        if name is not None and name not in known:
            raise UsageError(
                f"the job has no column {name!r}", hint=f"there are: {', '.join(known[:50])}"
            )


async def scan(
    context: Context, job: Job, wanted: ScanWanted, scans: Scans
) -> AsyncGenerator[ScanEvent, None]:
    """Progress, hits, and one end. Closing it ends the scan. Raises UsageError, DamagedError."""
    check(job, wanted)
    known = await context.store.read(lambda tx: chunks.all_chunks(tx, job.id))
    looking = _Scan(context.files(job.id), job, wanted)
    started = told = time.monotonic()
    reason: Literal["complete", "enough", "deadline"] = "complete"
    try:
        yield looking.progress
        for chunk in looking.worth(known):
            if time.monotonic() - started > wanted.longest_s:
                reason = "deadline"
                break
            for hit in await scans.look(looking, chunk):
                yield hit
            if looking.has_enough:
                reason = "enough"
                break
            if time.monotonic() - told >= _TELL_S:
                told = time.monotonic()
                yield looking.progress
        for hit in looking.best():
            yield hit
        yield looking.ended(reason)
    finally:
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, looking.close))


class _Scan:
    """One scan. `look` and `close` are blocking, and `close` waits for a look to end."""

    def __init__(self, files: JobFiles, job: Job, wanted: ScanWanted) -> None:
        self._files = files
        self._job = job
        self._wanted = wanted
        self._columns = _inputs_of(job)
        self._reader = InputReader(files)
        self._at_work = threading.Lock()
        self._found = 0
        self._next = wanted.rows.start  # the first row that is not behind it
        self._best: list[tuple[_Key, Hit]] = []

    @property
    def progress(self) -> ScanProgress:
        """How far it is."""
        return ScanProgress(scanned=self._next, rows=self._job.rows, found=self._found)

    @property
    def has_enough(self) -> bool:
        """True when no later row could be told."""
        return self._wanted.sort is None and self._found >= self._wanted.rows.limit

    def worth(self, known: Sequence[Chunk]) -> Iterable[Chunk]:
        """The chunks that may hold such rows; passing one over is progress too."""
        for chunk in known:
            end = chunk.first_row + chunk.rows
            if end > self._wanted.rows.start and may_hold(chunk, self._job, self._wanted.rows):
                yield chunk
            else:
                self._next = max(self._next, end)

    def look(self, chunk: Chunk) -> list[Hit]:
        """Look at a chunk: its rows that can be told at once. Blocking. Raises DamagedError."""
        with self._at_work:
            return self._look(chunk)

    def _look(self, chunk: Chunk) -> list[Hit]:
        answers = answers_in(self._files, self._job, chunk)
        inputs = self._reader.read(chunk).rows
        given = pa.table(self._columns.take(inputs), names=list(self._columns.names))
        piece = _Piece(given, answers)
        first = max(0, self._wanted.rows.start - chunk.first_row)
        places = piece.holding(matches(answers, self._wanted.rows, first=first), self._wanted)
        self._next = chunk.first_row + chunk.rows
        if self._wanted.sort is not None:
            self._found += len(places)
            self._sort_in(piece, places, chunk, self._wanted.sort)
            return []
        room = self._wanted.rows.limit - self._found
        self._found += min(room, len(places))
        if len(places) > room:
            self._next = chunk.first_row + places[room]
        return [piece.hit(chunk, at) for at in places[:room]]

    def _sort_in(self, piece: "_Piece", places: list[int], chunk: Chunk, name: str) -> None:
        """Keep the best of what there was and what this chunk has, without ever having more."""
        pick = heapq.nlargest if self._wanted.descending else heapq.nsmallest
        limit = self._wanted.rows.limit
        values = piece.column(name).to_pylist()
        nothing = -1 if self._wanted.descending else 3  # rows without a value come last
        new = ((_key_of(values[at], nothing), at) for at in places)
        chosen = pick(limit, new, key=lambda one: one[0])
        hits = [(key, piece.hit(chunk, at)) for key, at in chosen]
        self._best = pick(limit, chain(self._best, hits), key=lambda one: one[0])

    def best(self) -> list[Hit]:
        """What a sorted scan has to tell at its end."""
        return [hit for _, hit in self._best]

    def ended(self, reason: Literal["complete", "enough", "deadline"]) -> ScanEnd:
        """The last word."""
        if reason == "enough" and self._next >= self._job.rows:
            reason = "complete"
        following = None if reason == "complete" else self._next
        return ScanEnd(reason=reason, scanned=self._next, found=self._found, next=following)

    def close(self) -> None:
        """Close the files. Blocking."""
        with self._at_work, contextlib.suppress(OSError):
            self._reader.close()


class _Piece:
    """A chunk's rows with their answers, as columns."""

    def __init__(self, inputs: pa.Table, part: pa.Table) -> None:
        self._inputs = inputs
        self._answers = answers_of(part)
        self._ids = part.column(_CUSTOM_ID)

    def column(self, name: str) -> Any:
        """A column by its name; a row's own come before those of its answer."""
        if name in self._inputs.column_names:
            return self._inputs.column(name)
        return self._ids if name == _CUSTOM_ID else self._answers.column(name)

    def holding(self, places: list[int], wanted: ScanWanted) -> list[int]:
        """Of these rows the ones that hold the text."""
        if not wanted.text or not places:
            return places
        names = (*self._inputs.column_names, "answer", "fault_message", _CUSTOM_ID)
        keep = None
        for name in names if wanted.column is None else (wanted.column,):
            one = pc.fill_null(_holds(self.column(name), wanted.text), fill_value=False)
            keep = one if keep is None else pc.or_(keep, one)
        assert keep is not None
        held = set(pc.indices_nonzero(keep).to_pylist())
        return [at for at in places if at in held]

    def hit(self, chunk: Chunk, at: int) -> Hit:
        """A row as it is told."""
        (given,) = self._inputs.slice(at, 1).to_pylist() or [{}]
        (answer,) = self._answers.slice(at, 1).to_pylist()
        shown = {name: _clipped(value) for name, value in given.items()}
        said = {name: _clipped(value) for name, value in answer.items()}
        clipped = shown != given or said != answer
        row, name = chunk.first_row + at, self._ids[at].as_py()
        return Hit(row=row, custom_id=name, input=shown, answer=said, clipped=clipped)


def _inputs_of(job: Job) -> InputColumns:
    return InputColumns(job.columns, source=job.spec.source.kind)


def _holds(column: Any, text: str) -> Any:
    """Where a column holds a text. What is no text is looked at as it is written."""
    try:
        texts = pc.cast(column, pa.large_string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # lists, structs, bytes
        values = column.to_pylist()
        texts = pa.array([None if one is None else _written(one) for one in values])
    return pc.match_substring(texts, text, ignore_case=True)


def _written(value: object) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _clipped(value: object) -> object:
    """A value that is short: texts are cut, and what is large within becomes a text."""
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else _written(value)
    if len(text) > CLIPPED:
        return text[:CLIPPED]
    return value


def _key_of(value: object, nothing: int) -> _Key:
    """Something that any two values of a column can be compared by."""
    if value is None or value != value:
        return (nothing, 0.0, "")
    if isinstance(value, int | float):
        return (0, value, "")
    text = value if isinstance(value, str) else _written(value)
    return (1, 0.0, text[:CLIPPED])
