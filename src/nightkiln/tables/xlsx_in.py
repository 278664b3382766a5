"""XLSX in: one sheet of a workbook, every cell as the text that the sheet shows.

The first row with anything in it names the columns. Whole numbers have no `.0`,
other numbers fifteen digits, dates are ISO 8601, truth values TRUE and FALSE;
text is text, so `007` typed as text stays `007`. Formulas count with the value
that was saved with them, nothing is computed. Rows without any value are no
rows; in messages a row has the number that the sheet shows. The parser holds the
whole sheet in memory (about 80 bytes a cell), which is why `workbook` looks at
the file first.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.badrows import with_ids
from nightkiln.tables.base import BLOCK_BYTES, Block, Place
from nightkiln.tables.cleantext import with_clean_texts
from nightkiln.tables.columns import check_present, listed, quoted
from nightkiln.tables.extra import needed
from nightkiln.tables.values import plain_number
from nightkiln.tables.workbook import check_workbook

_RowOf = tuple[int, list[str]]  # a row of the sheet, from 1, and its cells


class XlsxReader:
    """Reads one sheet. Raises MissingExtra without python-calamine."""

    def __init__(self, source: SourceSpec) -> None:
        self._source = source

    def blocks(self, start: Place, *, rows: int) -> Iterator[Block]:
        """Blocks of at most `rows` rows from `start` to the end."""
        source = self._source
        sheet = _sheet(source)
        values = _rows_of(sheet)
        columns = _header(source, values)
        if source.id_column is not None:
            check_present([source.id_column], columns, what="--id-column")
        for line, _ in values if start.line else ():
            if line >= start.line:
                break
        row, limit = start.row, source.limit
        while limit is None or row < limit:
            taken = _taken(values, len(columns), rows if limit is None else min(rows, limit - row))
            if not taken.cells:
                return
            row += len(taken.cells)
            end = Place(line=taken.starts[-1], row=row, columns=columns)
            yield _block(taken, end, source.id_column)


def _block(taken: "_Taken", end: Place, id_column: str | None) -> Block:
    import pyarrow as pa

    arrays = [pa.array(column, pa.string()) for column in zip(*taken.cells, strict=True)]
    block = Block(
        rows=pa.RecordBatch.from_arrays(arrays, names=list(end.columns)),
        ids=None,
        lines=(taken.starts[0], taken.starts[-1]),
        starts=tuple(taken.starts),
        end=end,
    )
    block = with_clean_texts(block)
    return block if id_column is None else with_ids(block, id_column)


class _Taken(NamedTuple):
    """The rows of one block."""

    cells: list[list[str]]
    starts: list[int]


def _sheet(source: SourceSpec) -> Any:
    calamine = needed("python_calamine")
    check_workbook(source.path, source.name)
    try:
        book = calamine.CalamineWorkbook.from_path(source.path)
        if source.sheet is None:
            return book.get_sheet_by_index(0)
        if source.sheet not in book.sheet_names:
            raise UsageError(
                f'--sheet names "{source.sheet}", which is not in {source.name};'
                f" the sheets are: {quoted(book.sheet_names)}"
            )
        return book.get_sheet_by_name(source.sheet)
    except calamine.PasswordError:
        raise InputError(f"{source.name} has a password", hint="save a copy without one") from None
    except (calamine.CalamineError, OSError, ValueError, IndexError) as error:
        said = str(error).partition("\n")[0][:200]
        raise InputError(
            f"{source.name} cannot be read as XLSX: {said}", hint="open it and save it again"
        ) from error


def _rows_of(sheet: Any) -> Iterator[_RowOf]:
    """The rows with a value in them, each with its number in the sheet."""
    for number, row in enumerate(sheet.iter_rows(), 1):
        cells = [_text(value) for value in row]
        if any(cells):
            yield number, cells


def _header(source: SourceSpec, rows: Iterator[_RowOf]) -> tuple[str, ...]:
    number, names = next(rows, (0, []))
    if not names:
        raise InputError(
            f"{source.name}: the sheet is empty",
            hint="the first row names the columns; another sheet is named with --sheet",
        )
    nameless = [index for index, name in enumerate(names, 1) if not name.strip()]
    if nameless:
        raise InputError(
            f"{source.name}, row {number} of the sheet: column {nameless[0]} has no name;"
            f" {listed(names)}",
            line=number,
            hint="the first row with a value names the columns; give every column a name",
        )
    doubles = [name for name, count in Counter(names).items() if count > 1]
    if doubles:
        raise InputError(
            f"{source.name}, row {number} of the sheet: {quoted(doubles)} more than once",
            line=number,
            hint="rename one of them",
        )
    return tuple(names)


def _taken(rows: Iterator[_RowOf], width: int, count: int) -> _Taken:
    taken = _Taken([], [])
    size = 0
    for number, cells in rows:
        taken.cells.append(cells + [""] * (width - len(cells)))
        taken.starts.append(number)
        size += sum(map(len, cells))
        if len(taken.cells) == count or size >= BLOCK_BYTES:
            break
    return taken


def _text(value: Any) -> str:
    """A cell as the sheet shows it."""
    match value:
        case str():
            return value
        case bool():
            return "TRUE" if value else "FALSE"
        case int() | float():
            return plain_number(value)
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return _duration(value)
        case _:
            return "" if value is None else str(value)


def _duration(value: dt.timedelta) -> str:
    """Hours, minutes and seconds, as a sheet shows a time longer than a day."""
    seconds = abs(value.total_seconds())
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    sign = "-" if value.total_seconds() < 0 else ""
    shown = f"{rest:06.3f}".rstrip("0").rstrip(".") if rest % 1 else f"{int(rest):02d}"
    return f"{sign}{hours:02d}:{minutes:02d}:{shown}"
