"""XLSX out: numbers as numbers, text as text and never as a formula, nothing cut in silence.

A sheet takes 1,048,576 rows and a cell 32,767 characters. More rows go on in
sheets `rows 2`, `rows 3` and so on, each with the header. A longer text is
clipped, the cell says so, and the whole of it goes as a line of JSON (row,
column, value) into a side file. A control character that XML cannot hold becomes
U+FFFD and is counted. Dates and times are ISO text, so none is before 1900 and
none loses its zone; whole numbers that fifteen digits cannot show are text too.
One row at a time is in memory; rows wait in a temporary file until the end.
"""

import contextlib
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from nightkiln.core.errors import UsageError
from nightkiln.tables.answertypes import AnswerColumns
from nightkiln.tables.base import WriteOptions
from nightkiln.tables.extra import needed
from nightkiln.tables.inputcolumns import InputColumns
from nightkiln.tables.pieces import bounded
from nightkiln.tables.values import is_number, texts_of

if TYPE_CHECKING:
    import pyarrow as pa

CELL_CHARACTERS: Final = 32_767  # in UTF-16, as Excel counts
MAX_COLUMNS: Final = 16_384
_EXACT: Final = 10**15  # whole numbers below it keep all their digits
_UNHOLDABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_LIKE_ESCAPE: Final = re.compile(r"_(?=x[0-9a-fA-F]{4}_)")


class XlsxWriter:
    """Writes one workbook. Raises MissingExtra without xlsxwriter."""

    def __init__(
        self,
        columns: Sequence[str],
        *,
        source: str,
        fields: Sequence[str] = (),
        options: WriteOptions | None = None,
    ) -> None:
        self.notices: list[str] = []
        self._options = options or WriteOptions()
        self._inputs = InputColumns(columns, source=source)
        self._ours = AnswerColumns(fields, self._options.output_schema)
        self._names = (*self._inputs.names, *self._ours.names)
        if len(self._names) > MAX_COLUMNS:
            raise UsageError(
                f"the output has {len(self._names)} columns; a sheet takes {MAX_COLUMNS}",
                hint="name an output that ends in .csv or .parquet",
            )
        needed("xlsxwriter")

    def write(self, out: BinaryIO, pieces: Iterable[tuple["pa.Table", "pa.Table"]]) -> int:
        """Write everything and return the number of rows written."""
        rows = 0
        with contextlib.ExitStack() as stack:
            overflow = _Overflow(self._options, stack)
            cells = _Cells(self._names, overflow)
            book = stack.enter_context(_workbook(out))
            sheets = _Sheets(book, cells.header(), self._options.sheet_rows)
            for inputs, answers in bounded(pieces):
                columns = self._inputs.take(inputs) + self._ours.take(answers)
                values = [_values(column) for column in columns]
                for row in zip(*values, strict=True):
                    sheets.add(cells.row(row, rows))
                    rows += 1
        self.notices = [*sheets.notices(), *cells.notices(), *self._ours.notices()]
        return rows


@contextlib.contextmanager
def _workbook(out: BinaryIO) -> Iterator[Any]:
    """A workbook that is written out at the end, and only if all went well."""
    xlsxwriter = needed("xlsxwriter")
    with tempfile.TemporaryDirectory(prefix="nightkiln-xlsx-") as folder:
        settings = {"constant_memory": True, "tmpdir": folder, "use_zip64": True}
        book = xlsxwriter.Workbook(out, settings)
        is_whole = False
        try:
            yield book
            is_whole = True
        finally:
            if not is_whole:
                book.fileclosed = True  # it would complain that it was never closed
                for sheet in book.worksheets():
                    sheet._opt_close()  # noqa: SLF001
        book.close()


class _Sheets:
    """The sheets of a workbook, the next one begun when one is full."""

    def __init__(self, book: Any, header: Sequence[str], most: int) -> None:
        self._book = book
        self._header = header
        self._most = most
        self._count = 0
        self._kind = _worksheet_kind()
        self._begin()

    def _begin(self) -> None:
        self._count += 1
        name = "rows" if self._count == 1 else f"rows {self._count}"
        self._sheet = self._book.add_worksheet(name, self._kind)
        self._rows = 0
        self._put(self._header)

    def add(self, cells: Sequence[Any]) -> None:
        """Write the next row of data."""
        if self._rows > self._most:
            self._begin()
        self._put(cells)

    def _put(self, cells: Sequence[Any]) -> None:
        sheet, row = self._sheet, self._rows
        for column, cell in enumerate(cells):
            if cell is None or cell == "":
                continue
            if isinstance(cell, str):
                sheet._write_string(row, column, cell)  # noqa: SLF001
            elif isinstance(cell, bool):
                sheet._write_boolean(row, column, cell)  # noqa: SLF001
            else:
                sheet._write_number(row, column, cell)  # noqa: SLF001
        self._rows += 1

    def notices(self) -> list[str]:
        """How many sheets there are, if there is more than one."""
        if self._count == 1:
            return []
        return [f"the rows fill {self._count} sheets, up to {self._most} rows each"]


def _worksheet_kind() -> type:
    """Worksheets that write their cells themselves.

    The library's own take a text between <r> and </r> for ready-made XML, so an
    answer could put formulas into the sheet; they undo an escape too few where
    two follow each other; and they round numbers to sixteen digits.
    """
    worksheet = needed("xlsxwriter.worksheet")
    address = needed("xlsxwriter.utility").xl_rowcol_to_cell_fast

    def write_cell(sheet: Any, row: int, column: int, cell: Any) -> None:
        if isinstance(cell, worksheet.CellStringTuple):
            text = _LIKE_ESCAPE.sub("_x005F_", cell.string).replace("\r", "_x000D_")
            head, tail = ' t="inlineStr"><is><t xml:space="preserve">', "</t></is></c>"
            value = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        elif isinstance(cell, worksheet.CellBooleanTuple):
            head, value, tail = ' t="b"><v>', str(int(cell.boolean)), "</v></c>"
        else:
            head, value, tail = "><v>", repr(cell.number), "</v></c>"
        sheet.fh.write(f'<c r="{address(row, column)}"{head}{value}{tail}')

    return type("PlainWorksheet", (worksheet.Worksheet,), {"_write_cell": write_cell})


class _Cells:
    """Makes values fit into cells, and remembers what had to be changed."""

    def __init__(self, names: Sequence[str], overflow: "_Overflow") -> None:
        self._names = names
        self._overflow = overflow
        self._replaced = 0

    def header(self) -> list[str]:
        """The names of the columns."""
        return [self._plain(name)[:CELL_CHARACTERS] for name in self._names]

    def row(self, values: Sequence[Any], row: int) -> list[Any]:
        """The cells of a row."""
        return [
            self._text(value, row, column) if type(value) is str else value
            for column, value in enumerate(values)
        ]

    def _text(self, text: str, row: int, column: int) -> str:
        if len(text) > CELL_CHARACTERS // 2 and _units(text) > CELL_CHARACTERS:
            self._overflow.add(row, self._names[column], text)
            text = _clipped(text, self._overflow.marker(row, text))
        return self._plain(text)

    def _plain(self, text: str) -> str:
        if text.isprintable():
            return text
        plain, count = _UNHOLDABLE.subn("\ufffd", text)
        self._replaced += count
        return plain

    def notices(self) -> list[str]:
        """What was changed."""
        found = self._overflow.notices()
        if self._replaced:
            found.append(
                f"control characters that XLSX cannot hold: {self._replaced}; each became U+FFFD"
            )
        return found


class _Overflow:
    """The side file for texts that no cell can hold; made with the first of them."""

    def __init__(self, options: WriteOptions, stack: contextlib.ExitStack) -> None:
        self._path = options.overflow
        self._open = options.open_overflow
        self._stack = stack
        self._out: BinaryIO | None = None
        self._count = 0

    def add(self, row: int, column: str, value: str) -> None:
        """Keep a whole value. Raises UsageError where there is no place for it."""
        if self._path is None or self._open is None:
            raise UsageError(
                f'row {row}, column "{column}": a text of {len(value)} characters, and a cell of'
                f" XLSX takes {CELL_CHARACTERS}",
                hint="name a file as the output, so that the whole text can go beside it",
            )
        if self._out is None:
            self._out = self._stack.enter_context(self._open(self._path))
        line = msgspec.json.encode({"row": row, "column": column, "value": value})
        self._out.write(line + b"\n")
        self._count += 1

    def marker(self, row: int, text: str) -> str:
        """What a clipped cell says."""
        name = "" if self._path is None else self._path.name
        return f" […cut: {len(text)} characters, row {row} of {name} has them all]"

    def notices(self) -> list[str]:
        """How many texts were clipped, and where they are."""
        if not self._count:
            return []
        said = (
            f"texts longer than the {CELL_CHARACTERS} characters of a cell: {self._count};"
            f" the cells are clipped and say so, the whole texts are in {self._path}"
        )
        return [said]


def _clipped(text: str, marker: str) -> str:
    room = CELL_CHARACTERS - _units(marker)
    kept = text[:room].encode("utf-16-le")[: 2 * room].decode("utf-16-le", "ignore")
    return kept + marker


def _units(text: str) -> int:
    """Characters as Excel counts them."""
    return len(text) + sum(character > "\uffff" for character in text)


def _values(column: "pa.Array") -> list[Any]:
    """A column as cells: numbers and truth values if they are exact, else text."""
    import pyarrow.types as kinds

    if not is_number(column.type):
        return list(texts_of(column).to_pylist())
    if kinds.is_dictionary(column.type):
        column = column.dictionary_decode()
    if kinds.is_boolean(column.type):
        return list(column.to_pylist())
    fits: Callable[[Any], Any] = _whole if kinds.is_integer(column.type) else _fraction
    if kinds.is_decimal(column.type):
        return [_decimal(text) for text in texts_of(column).to_pylist()]
    return [None if value is None else fits(value) for value in column.to_pylist()]


def _whole(value: int) -> int | str:
    return value if -_EXACT < value < _EXACT else str(value)


def _fraction(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decimal(text: str | None) -> float | str | None:
    if text is None:
        return None
    digits = sum(character.isdigit() for character in text)
    return float(text) if digits <= 15 else text
