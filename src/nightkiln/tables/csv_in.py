"""CSV in: every column a string, every quoted newline kept, resumable at any record.

A record may span lines, so the place to resume is taken between records only:
the parser asks for the next line no earlier than for the next record, so at
that moment the count of bytes is a record boundary. Values are never
interpreted: `007` stays `007`.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from nightkiln.core.errors import UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.badrows import Flaw, good_rows, with_flaws
from nightkiln.tables.base import Block, Place
from nightkiln.tables.columns import check_present, listed, quoted
from nightkiln.tables.csv_records import Records, Taken
from nightkiln.tables.lines import open_lines

if TYPE_CHECKING:
    import pyarrow as pa

_OTHERS: Final = (";", "\t", "|")  # that often stand where a comma was meant


def other_delimiter(head: Block) -> str | None:
    """What seems to be between the fields of a table that was read as one column; else None.

    It has to be in the header, and as often in every row that could be read: text
    that merely has a semicolon in it is not often so even. Nothing is read
    otherwise because of it: a guess is for a message.
    """
    rows = good_rows(head)
    if rows.num_columns != 1 or not rows.num_rows:
        return None
    texts = [head.end.columns[0], *(value or "" for value in rows.column(0).to_pylist())]
    try:
        return next((mark for mark in _OTHERS if _is_even(texts, mark)), None)
    except csv.Error:  # a line break in a value, so it was in quotes and is one field
        return None


def _is_even(texts: list[str], delimiter: str) -> bool:
    """True where every text has the same number of fields, and more than one."""
    counts = {len(fields) for fields in csv.reader(texts, delimiter=delimiter)}
    return len(counts) == 1 and counts.pop() > 1


class CsvReader:
    """Reads one CSV file. Raises UsageError for a delimiter that cannot delimit."""

    def __init__(self, source: SourceSpec) -> None:
        if len(source.delimiter) != 1 or source.delimiter in '"\r\n\0':
            raise UsageError(
                f"the delimiter must be one character, not {source.delimiter!r}",
                hint="a tab is written --delimiter $'\\t'",
            )
        self._source = source

    def blocks(self, start: Place, *, rows: int) -> Iterator[Block]:
        """Blocks of at most `rows` rows from `start` to the end, at flat memory."""
        with open_lines(self._source, start) as lines:
            work = Records(lines, self._source.delimiter)
            place = start if start.columns else _after_header(work)
            id_index = self._id_index(place.columns)
            limit = self._source.limit
            while limit is None or place.row < limit:
                wanted = rows if limit is None else min(rows, limit - place.row)
                taken = work.take(len(place.columns), wanted, place.row)
                if not taken.values:
                    return
                place = Place(
                    offset=lines.offset,
                    line=lines.line,
                    row=place.row + len(taken.values),
                    columns=place.columns,
                )
                yield _block(taken, place, id_index)

    def _id_index(self, columns: tuple[str, ...]) -> int | None:
        name = self._source.id_column
        if name is None:
            return None
        check_present([name], columns, what="--id-column")
        return columns.index(name)


def _after_header(work: Records) -> Place:
    lines = work.lines
    names = work.header()
    nameless = [index for index, name in enumerate(names, 1) if not name.strip()]
    if nameless:
        raise lines.error(
            f"column {nameless[0]} of the header has no name; {listed(names)}",
            hint="give every column a name",
        )
    doubles = [name for name, count in Counter(names).items() if count > 1]
    if doubles:
        raise lines.error(
            f"the header names {quoted(doubles)} more than once", hint="rename one of them"
        )
    return Place(offset=lines.offset, line=lines.line, columns=tuple(names))


def _block(taken: Taken, end: Place, id_index: int | None) -> Block:
    import pyarrow as pa

    arrays = [pa.array(column, pa.string()) for column in zip(*taken.values, strict=True)]
    block = Block(
        rows=pa.RecordBatch.from_arrays(arrays, names=list(end.columns)),
        ids=None if id_index is None else _ids(taken, id_index),
        lines=(taken.starts[0], end.line),
        starts=tuple(taken.starts),
        bad=tuple(taken.bad),
        end=end,
    )
    return block if id_index is None else _with_checked_ids(block, taken, id_index)


def _ids(taken: Taken, id_index: int) -> "pa.Array":
    """The ids of the rows; a bad one has none, so that it repeats no other's."""
    import pyarrow as pa

    ids = [values[id_index] for values in taken.values]
    first = taken.first_row
    for bad in taken.bad:
        ids[bad.row - first] = None
    return pa.array(ids, pa.string())


def _with_checked_ids(block: Block, taken: Taken, id_index: int) -> Block:
    """The block with its rows without an id made bad; they have none, so none repeats."""
    import pyarrow as pa

    ids = [value or None for value in _ids(taken, id_index).to_pylist()]
    if all(ids):
        return block
    flaw = Flaw(f'the id in column "{block.end.columns[id_index]}" is empty')
    found = {index: flaw for index, value in enumerate(ids) if value is None}
    return with_flaws(msgspec.structs.replace(block, ids=pa.array(ids, pa.string())), found)
