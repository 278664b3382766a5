"""The records of a CSV file, the bad ones among them, and the place where each begins.

The parsing is the standard library's, in its strict mode; around it stand the
checks that it leaves out. After a record that cannot be read the next one is
looked for:

- wrong number of fields, a NUL or a byte that is no text: the parser knows
  where the record ends, so nothing is lost but the record;
- text behind a closing quote, a carriage return outside quotes: the record
  ends with the line on which that stands;
- beyond the size limit: when it is within quotes it ends where they do, which
  is the first line with an odd number of them, else with its line;
- a quote that is never closed: everything up to the end is this record.
"""

import csv
from collections.abc import Iterator, Sequence
from typing import Final

from nightkiln.core.errors import InputError
from nightkiln.tables.badrows import Flaw, bad_row
from nightkiln.tables.base import BLOCK_BYTES, MAX_LINE_BYTES, BadRow
from nightkiln.tables.lines import LONG, NUL, TOO_LONG, Lines

_QUOTE: Final = b'"'
_DAMAGED: Final = frozenset("\0\N{REPLACEMENT CHARACTER}")  # in a field that was no text


class _TooLong(Exception):
    """The record in work is beyond the limit; it has been passed over."""


class Records:
    """Takes records from a file, one block after the other."""

    def __init__(self, lines: Lines, delimiter: str) -> None:
        # The limit is one setting for the whole process, so it is only ever raised.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
        self.lines = lines
        self._delimiter = delimiter
        self._flaw: Flaw | None = None  # of the record in work, though it can be parsed
        self._head = b""  # its first line
        self._begin()

    def _begin(self) -> None:
        """Parse from the current line on: an iterator that raised gives no more."""
        self._flaw = None
        self._reader = csv.reader(self._texts(), delimiter=self._delimiter, strict=True)

    def _texts(self) -> Iterator[str]:
        """The lines as text, checked for what the parser would swallow silently."""
        lines = self.lines
        for line in lines:
            if lines.line == lines.record_line + 1:
                self._head = line
            if line is TOO_LONG or lines.offset - lines.record_offset > MAX_LINE_BYTES:
                self._pass_over(line)
                raise _TooLong
            if b"\0" in line:
                self._flaw = NUL
            try:
                yield line.decode()
            except UnicodeDecodeError as exc:
                self._flaw = lines.undecodable(line, exc.start)
                yield line.decode(errors="replace")

    def _pass_over(self, line: bytes) -> None:
        """Read to the end of a record that is too long, keeping nothing of it."""
        lines = self.lines
        if line is TOO_LONG:
            quotes = lines.cut_quotes
            self._head = self._head if self._head is not TOO_LONG else lines.cut_head
        else:
            quotes = line.count(_QUOTE)
        is_first = lines.line == lines.record_line + 1
        is_open = bool(quotes % 2) is is_first  # a later line was within quotes already
        source = iter(lines)
        while is_open and (more := next(source, None)) is not None:
            count = lines.cut_quotes if more is TOO_LONG else more.count(_QUOTE)
            is_open = count % 2 == 0

    def header(self) -> list[str]:
        """The first record that is not a blank line. Raises InputError when it is bad."""
        lines = self.lines
        try:
            for record in self._reader:
                if self._flaw is not None:
                    raise self._about_header(self._flaw)
                lines.record_done()
                if record:
                    return record
        except (csv.Error, _TooLong) as exc:
            raise self._about_header(_explained(exc)) from None
        raise lines.about_file("the file has no header", hint="the first line names the columns")

    def _about_header(self, flaw: Flaw) -> InputError:
        return self.lines.error(flaw.reason, line=self.lines.record_line + 1, hint=flaw.hint)

    def take(self, width: int, count: int, first_row: int) -> "Taken":
        """Up to `count` records. Blank lines are none; of bad ones only what could be read."""
        taken = Taken(width, first_row)
        stop = self.lines.offset + BLOCK_BYTES
        while not self._filled(taken, count, stop):
            pass
        return taken

    def _filled(self, taken: "Taken", count: int, stop: int) -> bool:
        """Go on to the end of the block, or to a record that ends the parser."""
        lines, values, starts, width = self.lines, taken.values, taken.starts, taken.width
        try:
            for record in self._reader:
                if len(record) == width and self._flaw is None:
                    values.append(record)
                    starts.append(lines.record_line + 1)
                elif record:
                    self._spoil(taken, self._flaw or _ragged(len(record), width), record)
                lines.record_done()
                if len(values) == count or (values and lines.offset >= stop):
                    return True
        except (csv.Error, _TooLong) as exc:
            self._spoil(taken, _explained(exc))
            lines.record_done()
            self._begin()
            return len(values) == count
        return True

    def _spoil(self, taken: "Taken", flaw: Flaw, record: Sequence[str] = ()) -> None:
        taken.spoil(self.lines.record_line + 1, flaw, self._head, record)
        self._flaw = None


class Taken:
    """The rows of one block."""

    def __init__(self, width: int, first_row: int) -> None:
        self.values: list[Sequence[str | None]] = []
        self.starts: list[int] = []  # the line each row begins on
        self.bad: list[BadRow] = []
        self.width = width
        self.first_row = first_row

    def spoil(self, line: int, flaw: Flaw, text: bytes, record: Sequence[str] = ()) -> None:
        """Add a row that could not be read, with those of its fields that could."""
        self.bad.append(bad_row(self.first_row + len(self.values), line, flaw, text))
        fields = [None if _DAMAGED & set(field) else field for field in record[: self.width]]
        self.values.append(fields + [None] * (self.width - len(fields)))
        self.starts.append(line)


def _ragged(found: int, width: int) -> Flaw:
    many = "many" if found > width else "few"
    return Flaw(
        f"too {many} fields: {found}, where the header has {width}",
        "quote values that hold the delimiter, or name it with --delimiter",
    )


def _explained(exc: Exception) -> Flaw:
    said = str(exc)
    if isinstance(exc, _TooLong):
        return LONG
    if "unexpected end" in said:
        return Flaw("a quote is opened here and never closed", 'end the value with "')
    if "new-line character" in said:
        return Flaw(
            "a carriage return outside quotes",
            "quote the value; if all lines end so, convert them: tr '\\r' '\\n' < IN > OUT",
        )
    if "expected after" in said:
        return Flaw("text follows a closing quote", 'write a quote inside a quoted value twice: ""')
    return Flaw(f"not CSV: {said}")
