"""Frames from Python made durable: one Parquet file in the home's spool.

The file has typed columns and row groups of one size, so the hash that names
its rows depends on the rows and their types alone: not on how they were cut,
nor on the library or the compression. Types that widen on the way (an iterator
may bring a fraction after a thousand whole numbers) are written again from the
start, so memory stays flat whatever comes. Nothing here knows of jobs.
"""

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from nightkiln.core.errors import InputError
from nightkiln.service.orders import Staged
from nightkiln.tables.frames import Frame, FrameKind
from nightkiln.tables.parquet_in import FLAWS
from nightkiln.tables.widening import fitted, unified
from nightkiln.vault.durable import disk_errors, fsync_dir
from nightkiln.vault.home import Home

GROUP_ROWS: Final = 4096
_KIND: Final = b"nightkiln.frame"
_PANDAS: Final = b"pandas"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a staged file says of the frame it holds."""

    kind: FrameKind
    columns: tuple[str, ...]  # those the user sees
    hidden: tuple[str, ...] = ()  # the index of a pandas frame


def stage(home: Home, frame: Frame) -> Staged:
    """Write a frame's rows durably. Blocking. Raises InputError, UsageError, DiskError.

    The home has to be held. The file goes with the job that takes it; one that
    no job takes is the caller's to remove.
    """
    path = home.spool / f"frame-{secrets.token_hex(8)}"
    spool = _Spool(path, frame.kind)
    try:
        with disk_errors("staging rows"):
            for table in frame.tables:
                _check_names(frame, table)
                spool.add(table)
            rows, schema = spool.finish(frame.flaws)
            if not rows:
                raise InputError(f"the {frame.name} has no rows", hint="give at least one row")
            fsync_dir(path.parent)
            sha256 = _hash_of(path, frame.kind)
    finally:
        spool.close()
    origin = origin_in(schema)
    assert origin is not None
    return Staged(
        path=str(path),
        name=frame.name,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        columns=origin.columns,
    )


def staged_in(path: Path, name: str) -> Staged:
    """A staged file that came from elsewhere, its hash made anew. Blocking. Raises InputError."""
    try:
        with pq.ParquetFile(path) as file:
            origin = origin_in(file.schema_arrow)
    except pa.ArrowInvalid as error:
        raise InputError(f"{name} is no Parquet file", hint="send it again") from error
    if origin is None:
        raise InputError(f"{name} holds no rows from Python", hint="leave `framed` out")
    return Staged(
        path=str(path),
        name=name,
        sha256=_hash_of(path, origin.kind),
        size_bytes=path.stat().st_size,
        columns=origin.columns,
    )


def _check_names(frame: Frame, table: pa.Table) -> None:
    """Said here, where the frame is known: later it is a file that nobody has heard of."""
    if not all(name.strip() for name in table.schema.names):
        raise InputError(
            f"the {frame.name} has a column without a name", hint="give every column a name"
        )


def origin_in(schema: pa.Schema) -> Origin | None:
    """What the schema of a staged file says, or None for a file that is none."""
    said = schema.metadata or {}
    if _KIND not in said:
        return None
    hidden: tuple[str, ...] = ()
    if _PANDAS in said:
        index = msgspec.json.decode(said[_PANDAS]).get("index_columns", [])
        hidden = tuple(name for name in index if isinstance(name, str))
    columns = tuple(name for name in schema.names if name not in hidden)
    return Origin(kind=FrameKind(said[_KIND].decode()), columns=columns, hidden=hidden)


class _Spool:
    """A Parquet file in the making; gone again when it is closed unfinished."""

    def __init__(self, path: Path, kind: FrameKind) -> None:
        self._path = path
        self._mark = {_KIND: str(kind).encode()}
        self._schema: pa.Schema | None = None
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self._rows = 0
        self._finished = False

    def add(self, table: pa.Table) -> None:
        """Take some more rows."""
        schema = table.schema if self._schema is None else unified(self._schema, table.schema)
        if self._schema is None or not schema.equals(self._schema):
            self._widen(schema.with_metadata({**(schema.metadata or {}), **self._mark}))
        assert self._schema is not None
        self._held.append(fitted(table, self._schema))
        self._held_rows += table.num_rows
        if self._held_rows >= GROUP_ROWS:
            self._write(pa.concat_tables(self._held), whole=False)

    def finish(self, flaws: Mapping[int, str]) -> tuple[int, pa.Schema]:
        """Write what is left and make the file durable; the number of rows and the schema.

        The file says itself which of its rows are bad; `tables.parquet_in` reads that.
        """
        if self._held_rows:
            self._write(pa.concat_tables(self._held), whole=True)
        if self._writer is not None:
            if flaws:
                self._writer.add_key_value_metadata({FLAWS: msgspec.json.encode(flaws)})
            self._writer.close()
            with self._path.open("rb+") as out:
                os.fsync(out.fileno())
        self._finished = self._rows > 0
        return self._rows, self._schema or pa.schema([])

    def close(self) -> None:
        """Remove a file that was not finished."""
        if not self._finished:
            if self._writer is not None:
                self._writer.close()
            self._path.unlink(missing_ok=True)

    def _write(self, table: pa.Table, *, whole: bool) -> None:
        """Write full row groups; of the rest only what has to be."""
        full = table.num_rows if whole else table.num_rows - table.num_rows % GROUP_ROWS
        if self._writer is None:
            self._writer = _writer(self._path, table.schema)
        self._writer.write_table(table.slice(0, full), row_group_size=GROUP_ROWS)
        self._rows += full
        self._held = [table.slice(full)]
        self._held_rows = table.num_rows - full

    def _widen(self, schema: pa.Schema) -> None:
        """Bring everything so far under a wider schema."""
        self._schema = schema
        self._held = [fitted(table, schema) for table in self._held]
        if self._writer is None:
            return
        self._writer.close()
        narrow = self._path.with_suffix(".narrow")
        self._path.rename(narrow)
        self._writer = _writer(self._path, schema)
        try:
            with pq.ParquetFile(narrow) as file:
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group, use_threads=False)
                    self._writer.write_table(fitted(rows, schema), row_group_size=GROUP_ROWS)
        finally:
            narrow.unlink()


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", compression_level=1)


def _hash_of(path: Path, kind: FrameKind) -> str:
    """The rows by their values and types, a row group at a time.

    They are read back for this: what Parquet gives is the same for the same
    values, whatever stood in memory under a null.
    """
    digest = hashlib.sha256(str(kind).encode())
    with pq.ParquetFile(path) as file:
        digest.update(file.schema_arrow.remove_metadata().serialize())
        digest.update((file.metadata.metadata or {}).get(FLAWS, b""))
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, use_threads=False).combine_chunks()
            for batch in table.replace_schema_metadata(None).to_batches():
                digest.update(batch.serialize())
    return digest.hexdigest()
