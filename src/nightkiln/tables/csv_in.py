"""CSV in: every column a string, every quoted newline kept, resumable at any record.

The parsing is the standard library's, in its strict mode; around it stand the
checks that it leaves out. A record may span lines, so the place to resume is
taken between records only: the parser asks for the next line no earlier than
for the next record, so at that moment the count of bytes is a record boundary.
Values are never interpreted: `007` stays `007`.
"""

import csv
from collections import Counter
from collections.abc import Iterator

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import BLOCK_BYTES, MAX_LINE_BYTES, Block, Place
from nightkiln.tables.columns import check_present, listed, quoted
from nightkiln.tables.lines import Lines, open_lines


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
        # The limit is one setting for the whole process, so it is only ever raised.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
        with open_lines(self._source, start) as lines:
            work = _Records(lines, self._source.delimiter)
            place = start if start.columns else _after_header(work)
            id_index = self._id_index(place.columns)
            limit = self._source.limit
            while limit is None or place.row < limit:
                wanted = rows if limit is None else min(rows, limit - place.row)
                values, starts = work.take(len(place.columns), wanted)
                if not values:
                    return
                place = Place(
                    offset=lines.offset,
                    line=lines.line,
                    row=place.row + len(values),
                    columns=place.columns,
                )
                yield _block(values, starts, place, id_index, lines)

    def _id_index(self, columns: tuple[str, ...]) -> int | None:
        name = self._source.id_column
        if name is None:
            return None
        check_present([name], columns, what="--id-column")
        return columns.index(name)


class _Records:
    """The records of a file, with its errors told in our words."""

    def __init__(self, lines: Lines, delimiter: str) -> None:
        self.lines = lines
        self._reader = csv.reader(lines.text(), delimiter=delimiter, strict=True)

    def header(self) -> list[str]:
        """The first record that is not a blank line."""
        try:
            for record in self._reader:
                self.lines.record_done()
                if record:
                    return record
        except csv.Error as exc:
            raise self._explained(exc) from None
        raise self.lines.about_file(
            "the file has no header", hint="the first line names the columns"
        )

    def take(self, width: int, count: int) -> tuple[list[list[str]], list[int]]:
        """Up to `count` records and the line each begins on. Blank lines are no records."""
        lines = self.lines
        values: list[list[str]] = []
        starts: list[int] = []
        stop = lines.offset + BLOCK_BYTES
        try:
            for record in self._reader:
                if len(record) == width:
                    values.append(record)
                    starts.append(lines.record_line + 1)
                elif record:
                    raise self._ragged(len(record), width)
                lines.record_done()
                if len(values) == count or (values and lines.offset >= stop):
                    break
        except csv.Error as exc:
            raise self._explained(exc) from None
        return values, starts

    def _ragged(self, found: int, width: int) -> InputError:
        many = "many" if found > width else "few"
        return self.lines.error(
            f"too {many} fields: {found}, where the header has {width}",
            line=self.lines.record_line + 1,
            hint="quote values that hold the delimiter, or name it with --delimiter",
        )

    def _explained(self, exc: csv.Error) -> InputError:
        lines, said = self.lines, str(exc)
        if "unexpected end" in said:
            what, hint = "a quote is opened here and never closed", 'end the value with "'
        elif "new-line character" in said:
            what = "a carriage return outside quotes"
            hint = "quote the value; if all lines end so, convert them: tr '\\r' '\\n' < IN > OUT"
        elif "expected after" in said:
            what = "text follows a closing quote"
            hint = 'write a quote inside a quoted value twice: ""'
        else:
            what, hint = f"not CSV: {said}", ""
        return lines.error(what, line=lines.record_line + 1, hint=hint)


def _after_header(work: _Records) -> Place:
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


def _block(
    values: list[list[str]], starts: list[int], end: Place, id_index: int | None, lines: Lines
) -> Block:
    import pyarrow as pa

    arrays = [pa.array(column, pa.string()) for column in zip(*values, strict=True)]
    ids = None
    if id_index is not None:
        ids = arrays[id_index]
        empty = next((row for row, value in enumerate(values) if not value[id_index]), None)
        if empty is not None:
            raise lines.error(
                f'the id in column "{end.columns[id_index]}" is empty', line=starts[empty]
            )
    return Block(
        rows=pa.RecordBatch.from_arrays(arrays, names=list(end.columns)),
        ids=ids,
        lines=(starts[0], end.line),
        starts=tuple(starts),
        end=end,
    )
