"""From a source file to input segments and chunks: validation, resumable at every segment.

Rows are read in blocks of a chunk each. How many rows make a chunk depends on
how many there are in all, which nobody knows while streaming: so the first
rows are held back, up to `_LOOKAHEAD_ROWS` or `_LOOKAHEAD_BYTES`; if the source
ends before that the exact number is known, and otherwise chunks have full size.
"""

import itertools
import secrets
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core.chunk import Chunk
from nightkiln.core.errors import InputError
from nightkiln.core.job import Job, JobSpec
from nightkiln.service import badrows
from nightkiln.service.sources import fingerprint, size_of
from nightkiln.tables.badrows import stored, with_flaws
from nightkiln.tables.base import OUTPUT_COLUMNS, BadRow, Block, Place
from nightkiln.tables.columns import check_collisions
from nightkiln.tables.formats import open_reader
from nightkiln.tables.prompts import Renderer
from nightkiln.tables.schema import fields_of
from nightkiln.tables.unique import UniqueIds
from nightkiln.tables.vectors import EMBEDDING, gives_vectors
from nightkiln.vault.durable import disk_errors
from nightkiln.vault.home import JobFiles
from nightkiln.vault.segments import SegmentNote, SegmentWriter, notes, stored_ids

MIN_CHUNK_ROWS: Final = 16
MAX_CHUNK_ROWS: Final = 1000
_LOOKAHEAD_ROWS: Final = 64 * MAX_CHUNK_ROWS
_LOOKAHEAD_BYTES: Final = 16 * 1024 * 1024
_READ_ROWS: Final = MAX_CHUNK_ROWS
MAX_REPEATED_IDS: Final = 100_000  # more, and the column is not one of ids
_INSIDE: Final = -1  # the offset of a place inside a block


class Stopped(Exception):
    """The ingest was told to stop; what is sealed stays, and it goes on from there."""


class Ingested(msgspec.Struct, frozen=True, kw_only=True):
    """A validated input."""

    rows: int
    columns: tuple[str, ...]
    chunks: tuple[Chunk, ...]


def chunk_rows(rows: int) -> int:
    """How many rows make a chunk of a job with that many."""
    return max(MIN_CHUNK_ROWS, min(rows // 64, MAX_CHUNK_ROWS))


def ingest(
    job: Job, files: JobFiles, *, on_rows: Callable[[int], None], stop: Callable[[], bool]
) -> Ingested:
    """Read, check and store a job's input. Blocking: run it in a thread.

    Raises InputError for what cannot be taken, DiskError, and Stopped.
    """

    def go_on() -> None:
        if stop():
            raise Stopped

    _check_source(job)
    done = notes(files)
    start = msgspec.json.decode(done[-1].end, type=Place) if done else Place()
    last = start
    with SegmentWriter(files, next_segment=len(done), next_row=start.row) as writer:
        for block in _chunked(checked(job.spec, start, go_on), resuming=bool(done)):
            go_on()
            writer.add(block.rows, block.ids, bad=stored(block), end=_end(block))
            last = block.end
            on_rows(last.row)
        writer.finish()
    columns = last.columns
    check_names(columns, job.spec)
    if not last.row:
        raise InputError(
            f"{job.spec.source.name} has no rows", hint="give a table with at least one row"
        )
    _check_unique(job, files, notes(files))
    badrows.refuse(job.spec, files, last.row)
    Renderer(job.spec.prompt, columns, job.spec.source.kind)
    sealed = notes(files)
    return Ingested(rows=last.row, columns=columns, chunks=tuple(_chunks(job, sealed)))


def check_names(columns: Sequence[str], spec: JobSpec) -> None:
    """Refuse columns with the names of those an output adds. Raises UsageError.

    A frame's answers go back to Python under names that its face has checked.
    """
    if not spec.source.framed:
        more = (EMBEDDING,) if gives_vectors(spec) else ()
        check_collisions(columns, fields_of(spec), added=(*OUTPUT_COLUMNS, *more))


def _check_source(job: Job) -> None:
    """Refuse a source that is not what was submitted."""
    source = job.spec.source
    path = Path(source.path)
    try:
        size = size_of(path, source.kind)
    except FileNotFoundError:
        raise InputError(
            f"{source.name} is gone", hint="put the file back, or submit another"
        ) from None
    if size != source.size_bytes or (
        not source.spooled and fingerprint(path, source.kind)[0] != source.sha256
    ):
        raise InputError(
            f"{source.name} changed since it was submitted", hint="run again: a new job is made"
        )


def checked(
    spec: JobSpec, start: Place, go_on: Callable[[], None] = lambda: None
) -> Iterator[Block]:
    """The reader's blocks; a row that cannot become a prompt is a bad one.

    `go_on` is called between them, and while a template is slow; it raises to end the reading.
    """
    renderer: Renderer | None = None
    for block in open_reader(spec.source).blocks(start, rows=_READ_ROWS):
        go_on()
        if renderer is None and len(block.bad) < block.rows.num_rows:
            check_names(block.end.columns, spec)
            renderer = Renderer(spec.prompt, block.end.columns, spec.source.kind)
        yield (
            block
            if renderer is None
            else with_flaws(block, renderer.flaws(block.rows, go_on=go_on))
        )


def _chunked(blocks: Iterator[Block], *, resuming: bool) -> Iterator[Block]:
    """The same rows in blocks of one chunk each."""
    if resuming:
        return blocks  # there is a sealed segment, so chunks have full size
    head, rows, held = [], 0, 0
    for block in blocks:
        head.append(block)
        rows += block.rows.num_rows
        held += block.rows.nbytes
        if rows >= _LOOKAHEAD_ROWS or held >= _LOOKAHEAD_BYTES:
            return itertools.chain(head, blocks)  # as read: MAX_CHUNK_ROWS or its byte cap
    return _resized(head, chunk_rows(rows))


def _resized(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """Blocks cut to at most `size` rows; only the last piece of each ends at a known place."""
    for block in blocks:
        total = block.rows.num_rows
        for first in range(0, total, size):
            count = min(size, total - first)
            yield Block(
                rows=block.rows.slice(first, count),
                ids=None if block.ids is None else block.ids.slice(first, count),
                lines=block.lines,
                bad=_bad_within(block, first, count),
                end=_after(block, first + count),
            )


def _bad_within(block: Block, first: int, count: int) -> tuple[BadRow, ...]:
    """The bad rows of a piece of a block."""
    row = block.end.row - block.rows.num_rows + first
    return tuple(bad for bad in block.bad if row <= bad.row < row + count)


def _after(block: Block, rows: int) -> Place:
    """The place after some rows of a block; inside it, only the row is known."""
    if rows == block.rows.num_rows:
        return block.end
    row = block.end.row - block.rows.num_rows + rows
    return msgspec.structs.replace(block.end, row=row, offset=_INSIDE)


def _end(block: Block) -> bytes | None:
    """What a segment that ends here says about going on, if it may end here."""
    return None if block.end.offset == _INSIDE else msgspec.json.encode(block.end)


def _chunks(job: Job, sealed: Iterable[SegmentNote]) -> Iterator[Chunk]:
    """The chunks as the segments hold them."""
    number = row = 0
    for segment, note in enumerate(sealed):
        for group, rows in enumerate(note.group_rows):
            yield Chunk(
                job=job.id,
                number=number,
                first_row=row,
                rows=rows,
                segment=segment,
                row_group=group,
            )
            number += 1
            row += rows


def _check_unique(job: Job, files: JobFiles, sealed: Sequence[SegmentNote]) -> None:
    """Make bad rows of those that repeat a custom id. Raises InputError for too many."""
    name = job.spec.source.id_column
    if name is None:
        return
    scratch = files.root / "unique"
    shutil.rmtree(scratch, ignore_errors=True)
    with disk_errors("checking custom ids"):
        scratch.mkdir()
        seen, row = UniqueIds(scratch, key=secrets.token_bytes(16)), 0
        for ids in stored_ids(files, len(sealed)):
            seen.add(ids, first_row=row)
            row += len(ids)
        found = seen.duplicates(
            lambda rows: _ids_of(files, len(sealed), rows), most=MAX_REPEATED_IDS
        )
        shutil.rmtree(scratch, ignore_errors=True)
    if found.total > MAX_REPEATED_IDS:
        raise InputError(
            f'{job.spec.source.name}: {found.total:,} rows repeat an id in "{name}"',
            hint="name a column with an id for every row, or leave --id-column out",
        )
    if found.total:
        badrows.mark_repeated(job.spec, files, sealed, found.first)


def _ids_of(files: JobFiles, segments: int, rows: Sequence[int]) -> list[str]:
    """The ids of some rows, read again in one pass."""
    wanted = sorted(set(rows))
    found: dict[int, str] = {}
    first = 0
    for ids in stored_ids(files, segments):
        end = first + len(ids)
        at = bisect_right(wanted, first - 1)
        while at < len(wanted) and wanted[at] < end:
            found[wanted[at]] = ids[wanted[at] - first].as_py()
            at += 1
        first = end
    return [found[row] for row in rows]
