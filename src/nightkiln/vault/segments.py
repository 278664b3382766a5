"""Input segments: the rows of a job as Parquet, one row group per chunk.

A segment appears whole and durable or not at all. Its metadata carries the
place in the source after its last row, so an ingest that was killed goes on
from its last segment. User columns are stored under `c:<name>`, custom ids
under `id`, what is wrong with a bad row under `bad` (null for the good ones,
opaque here); so no user column can ever collide with ours.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from nightkiln.core import crashpoints
from nightkiln.core.chunk import Chunk
from nightkiln.vault.durable import disk_errors, fsync_dir, replacing, whole
from nightkiln.vault.home import JobFiles

SEGMENT_BYTES: Final = 64 * 1024 * 1024
_ID: Final = "id"
_BAD: Final = "bad"
_PREFIX: Final = "c:"
_NOTE: Final = "nightkiln"


class SegmentNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment says about itself; `end` is the reader's place, opaque here."""

    first_row: int
    group_rows: tuple[int, ...]
    bad: int = 0  # how many of its rows are bad
    end: msgspec.Raw


class SegmentWriter:
    """Writes segments one after the other; syncing runs behind, in a small pool.

    Leaving the `with` block without `finish` gives up what is not sealed.
    """

    def __init__(self, files: JobFiles, *, next_segment: int, next_row: int) -> None:
        self._files = files
        self._number = next_segment
        self._row = next_row
        self._first = next_row
        self._groups: list[int] = []
        self._bad = 0
        self._bytes = 0
        self._end = b"{}"
        self._writer: pq.ParquetWriter | None = None
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="segment-sync")
        self._syncing: list[Future[None]] = []

    def add(
        self,
        rows: pa.RecordBatch,
        ids: pa.Array | None,
        *,
        bad: pa.Array | None = None,
        end: bytes | None,
    ) -> None:
        """Append one chunk's rows; `end` is the JSON of the place after them.

        `bad` has a text for each bad row. Without a place a segment may not end here.
        """
        bad = pa.nulls(rows.num_rows, pa.string()) if bad is None else bad
        batch = _stored(rows, ids, bad)
        with disk_errors("writing an input segment"):
            if self._writer is None:
                self._writer = pq.ParquetWriter(
                    self._scratch(), batch.schema, compression="zstd", compression_level=1
                )
            self._writer.write_table(
                pa.Table.from_batches([batch]), row_group_size=max(1, batch.num_rows)
            )
        self._row += batch.num_rows
        self._groups.append(batch.num_rows)
        self._bad += len(bad) - bad.null_count
        self._bytes += batch.nbytes
        if end is not None:
            self._end = end
            if self._bytes >= SEGMENT_BYTES:
                self._seal()

    def finish(self) -> None:
        """Seal the last segment and wait until all are durable. Raises DiskError."""
        if self._writer is not None:
            self._seal()
        for waiting in self._syncing:
            waiting.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):  # a full disk is why we are here
                self._writer.close()
            self._scratch().unlink(missing_ok=True)
        self._pool.shutdown()

    def _scratch(self) -> Path:
        return self._files.segment(self._number).with_suffix(".tmp")

    def _seal(self) -> None:
        assert self._writer is not None
        note = SegmentNote(
            first_row=self._first,
            group_rows=tuple(self._groups),
            bad=self._bad,
            end=msgspec.Raw(self._end),
        )
        with disk_errors("writing an input segment"):
            self._writer.add_key_value_metadata({_NOTE: msgspec.json.encode(note).decode()})
            self._writer.close()
        scratch, final = self._scratch(), self._files.segment(self._number)
        before = self._syncing[-1] if self._syncing else None
        self._syncing.append(self._pool.submit(_publish, scratch, final, before))
        self._writer, self._groups, self._bad, self._bytes = None, [], 0, 0
        self._number += 1
        self._first = self._row


def _publish(scratch: Path, final: Path, before: "Future[None] | None") -> None:
    """Make a closed segment durable; in order, so segments never have a gap."""
    with disk_errors("writing an input segment"), scratch.open("rb+") as out:
        os.fsync(out.fileno())
    crashpoints.reach("segment.written")
    if before is not None:
        before.result()
    with disk_errors("writing an input segment"):
        scratch.replace(final)
        fsync_dir(final.parent)
    crashpoints.reach("segment.renamed")


def _stored(rows: pa.RecordBatch, ids: pa.Array | None, bad: pa.Array) -> pa.RecordBatch:
    names = [*(_PREFIX + name for name in rows.schema.names), _BAD]
    arrays = [*rows.columns, bad]
    if ids is not None:
        names.append(_ID)
        arrays.append(ids)
    return pa.RecordBatch.from_arrays(arrays, names=names)


def notes(files: JobFiles) -> list[SegmentNote]:
    """What the sealed segments say, in order, up to the first missing number."""
    found: list[SegmentNote] = []
    while (path := files.segment(len(found))).exists():
        found.append(_note_of(pq.read_metadata(path).metadata))
    return found


def _note_of(metadata: dict[bytes, bytes] | None) -> SegmentNote:
    return msgspec.json.decode((metadata or {})[_NOTE.encode()], type=SegmentNote)


class ChunkInput(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk's rows as they came in."""

    rows: pa.Table  # the user's columns under their own names
    ids: pa.ChunkedArray | None
    bad: dict[int, str] = {}  # what is wrong with the bad rows, by their index in the chunk


class InputReader:
    """Reads chunks back; keeps one segment open at a time."""

    def __init__(self, files: JobFiles) -> None:
        self._files = files
        self._number = -1
        self._open: pq.ParquetFile | None = None

    def read(self, chunk: Chunk) -> ChunkInput:
        """The rows of one chunk."""
        path = self._files.segment(chunk.segment)
        with whole(path):
            if self._open is None or self._number != chunk.segment:
                self.close()
                self._open = pq.ParquetFile(path)
                self._number = chunk.segment
            table = self._open.read_row_group(chunk.row_group, use_threads=False)
        ids = table.column(_ID) if _ID in table.column_names else None
        mine = [name for name in table.column_names if name.startswith(_PREFIX)]
        rows = table.select(mine).rename_columns([name[len(_PREFIX) :] for name in mine])
        return ChunkInput(rows=rows, ids=ids, bad=_bad_of(table))

    def close(self) -> None:
        """Close the open segment."""
        if self._open is not None:
            self._open.close()
            self._open = None


def stored_ids(files: JobFiles, segments: int) -> Iterator[pa.Array]:
    """All custom ids in row order, a row group at a time."""
    for number in range(segments):
        with pq.ParquetFile(files.segment(number)) as segment:
            if _ID not in segment.schema_arrow.names:
                return
            for group in range(segment.num_row_groups):
                column = segment.read_row_group(group, columns=[_ID], use_threads=False)
                yield from column.column(_ID).chunks


def _bad_of(table: pa.Table) -> dict[int, str]:
    """The bad rows of a row group by index; segments of older versions know of none."""
    if _BAD not in table.column_names:
        return {}
    texts = table.column(_BAD)
    if texts.null_count == len(texts):
        return {}
    return {index: text for index, text in enumerate(texts.to_pylist()) if text is not None}


def stored_bad(files: JobFiles) -> Iterator[str]:
    """What is stored of all bad rows in row order, a row group at a time."""
    for number, note in enumerate(notes(files)):
        if note.bad:
            with pq.ParquetFile(files.segment(number)) as segment:
                for group in range(segment.num_row_groups):
                    table = segment.read_row_group(group, columns=[_BAD], use_threads=False)
                    yield from _bad_of(table).values()


def mark_bad(files: JobFiles, number: int, found: Mapping[int, str]) -> None:
    """Write a sealed segment again with more bad rows, by row number. Safe to repeat."""
    path = files.segment(number)
    with disk_errors("marking bad rows"), pq.ParquetFile(path) as old, replacing(path) as file:
        note = _note_of(old.metadata.metadata)
        row, total = note.first_row, 0
        schema = old.schema_arrow.remove_metadata()
        with pq.ParquetWriter(file, schema, compression="zstd", compression_level=1) as out:
            for group, rows in enumerate(note.group_rows):
                table = old.read_row_group(group, use_threads=False)
                bad = _bad_of(table)
                bad |= {each - row: found[each] for each in range(row, row + rows) if each in found}
                texts = pa.array([bad.get(index) for index in range(rows)], pa.string())
                table = table.set_column(table.column_names.index(_BAD), _BAD, texts)
                out.write_table(table.replace_schema_metadata(None), row_group_size=max(1, rows))
                row, total = row + rows, total + len(bad)
            marked = msgspec.structs.replace(note, bad=total)
            out.add_key_value_metadata({_NOTE: msgspec.json.encode(marked).decode()})


def as_table(rows: pa.RecordBatch) -> pa.Table:
    """A batch as the table that chunks are read back as."""
    return pa.Table.from_batches([rows])
