"""Plain text in: every line a row with the one column `text`, blank lines too.

Only the newline that ends the file makes no row of its own. Values are never
trimmed, apart from the `\\r` of a `\\r\\n` line end.
"""

from collections.abc import Iterator
from typing import Final

from nightkiln.core.errors import UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import BLOCK_BYTES, Block, Place
from nightkiln.tables.lines import Lines, open_lines

TEXT_COLUMN: Final = "text"


class TextReader:
    """Reads one text file. Raises UsageError when an id column is asked for."""

    def __init__(self, source: SourceSpec) -> None:
        if source.id_column is not None:
            raise UsageError(
                f'a text file has no column "{source.id_column}" to take ids from',
                hint="use CSV or JSONL for rows with ids",
            )
        self._source = source

    def blocks(self, start: Place, *, rows: int) -> Iterator[Block]:
        """Blocks of at most `rows` rows from `start` to the end, at flat memory."""
        limit = self._source.limit
        row = start.row
        with open_lines(self._source, start) as lines:
            source = lines.text()
            while limit is None or row < limit:
                values = _taken(source, lines, rows if limit is None else min(rows, limit - row))
                if not values:
                    return
                row += len(values)
                yield _block(values, lines, row)


def _taken(source: Iterator[str], lines: Lines, count: int) -> list[str]:
    values: list[str] = []
    stop = lines.offset + BLOCK_BYTES
    for line in source:
        lines.record_done()
        values.append(line.removesuffix("\n").removesuffix("\r"))
        if len(values) == count or lines.offset >= stop:
            break
    return values


def _block(values: list[str], lines: Lines, row: int) -> Block:
    import pyarrow as pa

    first = lines.line - len(values) + 1
    return Block(
        rows=pa.RecordBatch.from_arrays([pa.array(values, pa.string())], names=[TEXT_COLUMN]),
        ids=None,
        lines=(first, lines.line),
        starts=tuple(range(first, lines.line + 1)),
        end=Place(offset=lines.offset, line=lines.line, row=row, columns=(TEXT_COLUMN,)),
    )
