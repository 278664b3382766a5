"""Plain text in: every line a row with the one column `text`, blank lines too.

Only the newline that ends the file makes no row of its own. Values are never
trimmed, apart from the `\r` of a `\r\n` line end.
"""

from collections.abc import Iterator
from typing import Final

from nightkiln.core.errors import UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.badrows import Flaw, bad_row
from nightkiln.tables.base import BLOCK_BYTES, BadRow, Block, Place
from nightkiln.tables.lines import LONG, NUL, TOO_LONG, Lines, open_lines

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
            source = iter(lines)
            while limit is None or row < limit:
                wanted = rows if limit is None else min(rows, limit - row)
                values, bad = _taken(source, lines, wanted, row)
                if not values:
                    return
                row += len(values)
                yield _block(values, bad, lines, row)


def _taken(
    source: Iterator[bytes], lines: Lines, count: int, first_row: int
) -> tuple[list[str | None], list[BadRow]]:
    values: list[str | None] = []
    bad: list[BadRow] = []
    stop = lines.offset + BLOCK_BYTES
    for line in source:
        lines.record_done()
        value, flaw = _value(lines, line)
        if flaw is not None:
            text = lines.cut_head if line is TOO_LONG else line
            bad.append(bad_row(first_row + len(values), lines.line, flaw, text))
        values.append(value)
        if len(values) == count or lines.offset >= stop:
            break
    return values, bad


def _value(lines: Lines, line: bytes) -> tuple[str | None, Flaw | None]:
    """The text of a line, or what is wrong with it."""
    if b"\0" in line:
        return None, LONG if line is TOO_LONG else NUL
    try:
        return line.decode().removesuffix("\n").removesuffix("\r"), None
    except UnicodeDecodeError as exc:
        return None, lines.undecodable(line, exc.start)


def _block(values: list[str | None], bad: list[BadRow], lines: Lines, row: int) -> Block:
    import pyarrow as pa

    first = lines.line - len(values) + 1
    return Block(
        rows=pa.RecordBatch.from_arrays([pa.array(values, pa.string())], names=[TEXT_COLUMN]),
        ids=None,
        lines=(first, lines.line),
        starts=tuple(range(first, lines.line + 1)),
        bad=tuple(bad),
        end=Place(offset=lines.offset, line=lines.line, row=row, columns=(TEXT_COLUMN,)),
    )
