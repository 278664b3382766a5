"""Parquet in: columns with their own types, from one file, a folder or a pattern of files.

Several files are one table, in the order of their names; so they have to agree
on names and types of columns. The place to resume is the number of rows given:
whole files and row groups before it are stepped over by their metadata. Rows
come in blocks of the size that was asked for, whatever the row groups are; in
messages they count like lines, from 1. A file that was staged from Python also
says which of its rows could not be kept.
"""

import glob
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from nightkiln.core.errors import InputError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.badrows import Flaw, with_flaws, with_ids
from nightkiln.tables.base import BLOCK_BYTES, Block, Place
from nightkiln.tables.cleantext import with_clean_texts
from nightkiln.tables.columns import check_present, quoted

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ENDINGS: Final = (".parquet", ".pq")
MAX_FILES: Final = 100_000
FLAWS: Final = b"nightkiln.flaws"  # metadata of a staged file: its bad rows, by number
_BUFFER_BYTES: Final = 1 << 20
_MAGIC: Final = "*?["
_COPIED_ROWS: Final = 65_536  # at once, and no more than a block's bytes


def files_of(path: str) -> list[Path]:
    """The files of one file, a folder or a pattern, sorted by name. Raises InputError."""
    place = Path(path)
    if place.is_dir():
        found = [inner for inner in place.iterdir() if inner.suffix.lower() in ENDINGS]
        wanted = [inner for inner in found if inner.is_file() and inner.name[:1] not in "._"]
        if not wanted:
            raise InputError(
                f"the folder {path} holds no .parquet files",
                hint="name the folder they are in, or a pattern like 'data/**/*.parquet'",
            )
    elif is_pattern(path):
        wanted = [Path(name) for name in glob.glob(path, recursive=True) if Path(name).is_file()]
        if not wanted:
            raise InputError(f"no file is named like {path}", hint="check the pattern")
        _check_names(wanted)
    else:
        return [place]
    if len(wanted) > MAX_FILES:
        raise InputError(f"{path} means {len(wanted)} files; at most {MAX_FILES} are taken")
    return sorted(wanted, key=str)


def is_pattern(path: str) -> bool:
    """True for a name with wildcards that is not simply the name of a file."""
    return any(mark in path for mark in _MAGIC) and not Path(path).exists()


def is_among(file: Path, path: str) -> bool:
    """True when a file, there or not, is one of those that a folder or a pattern means."""
    place, file = Path(path), file.expanduser().absolute()
    if place.is_dir():
        return file.suffix.lower() in ENDINGS and file.parent.resolve() == place.resolve()
    return is_pattern(path) and file.match(path)


def _check_names(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.suffix.lower() not in ENDINGS:
            raise InputError(
                f"{path} is no Parquet file by its name, and only those can be taken together",
                hint="let the pattern end in .parquet",
            )


def in_one_file(path: str, out: BinaryIO) -> None:
    """Write the rows of all files that a name means as one file. Raises InputError, OSError."""
    import pyarrow.parquet as pq

    source = SourceSpec(kind="parquet", path=path, name=path, size_bytes=0, sha256="")
    writer: pq.ParquetWriter | None = None
    with ExitStack() as stack:
        batches = stack.enter_context(closing(_batches(source, 0, _COPIED_ROWS)))
        for batch in batches:
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(out, batch.schema))
            writer.write_batch(batch)
        if writer is None:  # no row, and yet columns
            with _opened(files_of(path)[0]) as file:
                pq.write_table(file.schema_arrow.remove_metadata().empty_table(), out)


class ParquetReader:
    """Reads the Parquet files of one source as one table."""

    def __init__(self, source: SourceSpec) -> None:
        self._source = source
        self._flaws: dict[int, str] = {}

    def blocks(self, start: Place, *, rows: int) -> Iterator[Block]:
        """Blocks of at most `rows` rows from `start` to the end, at flat memory."""
        limit = self._source.limit
        row = start.row
        left = None if limit is None else limit - row
        if left is not None and left <= 0:
            return
        self._flaws = flaws_in(Path(self._source.path)) if self._source.framed else {}
        with closing(_batches(self._source, row, rows)) as batches:
            for batch in _regrouped(batches, rows):
                taken = batch if left is None else batch.slice(0, left)
                yield self._block(taken, row)
                row += taken.num_rows
                if left is not None:
                    left -= taken.num_rows
                    if left == 0:
                        return

    def _block(self, batch: "pa.RecordBatch", first: int) -> Block:
        end = first + batch.num_rows
        starts = (0,) * batch.num_rows if self._source.framed else tuple(range(first + 1, end + 1))
        block = Block(
            rows=batch,
            ids=None,
            lines=(first + 1, end),
            starts=starts,
            end=Place(line=end, row=end, columns=tuple(batch.schema.names)),
        )
        staged = {row - first: Flaw(why) for row, why in self._flaws.items() if first <= row < end}
        block = with_clean_texts(with_flaws(block, staged))
        name = self._source.id_column
        if name is None:
            return block
        check_present([name], batch.schema.names, what="--id-column")
        return with_ids(block, name)


def flaws_in(path: Path) -> dict[int, str]:
    """What is wrong with rows of a staged file whose values could not be kept."""
    with _opened(path) as file:
        said = (file.metadata.metadata or {}).get(FLAWS)
    return {} if said is None else msgspec.json.decode(said, type=dict[int, str])


def _batches(source: SourceSpec, start: int, rows: int) -> Generator["pa.RecordBatch", None, None]:
    """The batches of all files from a row on, each at most `rows` rows and about a block."""
    import pyarrow as pa

    schema: pa.Schema | None = None
    for path in files_of(source.path):
        with _opened(path) as file:
            if schema is None:
                schema = file.schema_arrow.remove_metadata()
                _check_columns(path, schema)
                nullable = pa.schema([field.with_nullable(True) for field in schema])
            else:
                _check_agrees(path, file.schema_arrow, schema)
            if start >= file.metadata.num_rows:
                start -= file.metadata.num_rows
                continue
            for batch in _explained(path, _from_row(file, start, rows)):
                columns = batch.select(schema.names).columns  # a bad row's values become null
                yield pa.RecordBatch.from_arrays(columns, schema=nullable)
            start = 0


def _from_row(file: "pq.ParquetFile", start: int, rows: int) -> Iterator["pa.RecordBatch"]:
    meta = file.metadata
    for group in range(meta.num_row_groups):
        about = meta.row_group(group)
        if start >= about.num_rows:
            start -= about.num_rows
            continue
        width = max(1, about.total_byte_size // about.num_rows)
        size = max(1, min(rows, BLOCK_BYTES // width))
        for batch in file.iter_batches(size, row_groups=[group], use_threads=False):
            if start >= batch.num_rows:
                start -= batch.num_rows
                continue
            yield batch.slice(start)
            start = 0


def _regrouped(batches: Iterator["pa.RecordBatch"], rows: int) -> Iterator["pa.RecordBatch"]:
    """The same rows in batches of `rows` rows, or fewer where these fill a block."""
    held: list[pa.RecordBatch] = []
    count = size = 0
    for batch in batches:
        rest = batch
        while rest.num_rows:
            head = rest.slice(0, rows - count)
            rest = rest.slice(head.num_rows)
            held.append(head)
            count += head.num_rows
            size += head.nbytes
            if count == rows or size >= BLOCK_BYTES:
                yield _joined(held)
                held, count, size = [], 0, 0
    if held:
        yield _joined(held)


def _joined(batches: Sequence["pa.RecordBatch"]) -> "pa.RecordBatch":
    import pyarrow as pa

    if len(batches) == 1:
        return batches[0]
    return pa.concat_batches(batches)


def _opened(path: Path) -> "pq.ParquetFile":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _explained(path: Path, batches: Iterator["pa.RecordBatch"]) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa

    try:
        yield from batches
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    said = str(error).partition("\n")[0][:200]
    return InputError(f"{path} cannot be read as Parquet: {said}", hint="is the file whole?")


def _check_columns(path: Path, schema: "pa.Schema") -> None:
    doubles = [name for name, count in Counter(schema.names).items() if count > 1]
    if doubles:
        raise InputError(
            f"{path} names {quoted(doubles)} more than once", hint="rename one of them"
        )
    if not all(name.strip() for name in schema.names):
        raise InputError(f"{path} has a column without a name", hint="give every column a name")


def _check_agrees(path: Path, found: "pa.Schema", wanted: "pa.Schema") -> None:
    """Every file has the columns of the first one, with their types, in any order."""
    for name in wanted.names:
        if name not in found.names:
            raise InputError(
                f'{path} has no column "{name}", which the first file has',
                hint="take together only files of one table",
            )
        kind, first = found.field(name).type, wanted.field(name).type
        if kind != first:
            raise InputError(
                f'{path}: the column "{name}" is {kind}, in the first file it is {first}',
                hint="write all files with the same types",
            )
    if more := [name for name in found.names if name not in wanted.names]:
        raise InputError(
            f"{path} has the column {quoted(more[:1])}, which the first file has not",
            hint="take together only files of one table",
        )
