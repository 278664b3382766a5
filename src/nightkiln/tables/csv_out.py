"""CSV and TSV out: the input's columns, then ours, made by Arrow a column at a time.

Only a value that contains the delimiter, a quote or a line end is quoted, so a
file without such values comes back as it went in. Null and empty are both
written as nothing. Nothing is changed for the sake of spreadsheets, unless that
is asked for: then a text that a spreadsheet would take for a formula gets a `'`
in front, whatever spaces it hides behind.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final

from nightkiln.tables.answerfields import AnswerFields
from nightkiln.tables.base import OUTPUT_COLUMNS
from nightkiln.tables.inputcolumns import InputColumns
from nightkiln.tables.pieces import bounded, flat, write_text
from nightkiln.tables.values import is_number, texts_of

if TYPE_CHECKING:
    import pyarrow as pa

# What OWASP lists, the full-width forms that some spreadsheets read alike too,
# behind whatever is trimmed or skipped before a cell is read.
_FORMULA: Final = r"^[\pZ\p{Cc}\p{Cf}]*[=+\-@\t\r\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"
# A sign before nothing but a number computes nothing: a spreadsheet shows the number.
_NUMBER: Final = r"^[+-]([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"


class CsvWriter:
    """Writes a CSV file with the input columns, OUTPUT_COLUMNS, and the answers' fields.

    `source` is the format the rows came in; of JSONL rows every key of
    `columns` becomes a column.
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        source: str,
        fields: Sequence[str] = (),
        delimiter: str = ",",
        excel_safe: bool = False,
    ) -> None:
        self.notices: list[str] = []
        self._inputs = InputColumns(columns, source=source)
        self._fields = AnswerFields(fields)
        self._delimiter = delimiter
        self._safe = excel_safe

    def write(self, out: BinaryIO, pieces: Iterable[tuple["pa.Table", "pa.Table"]]) -> int:
        """Write everything and return the number of rows written."""
        names = (*self._inputs.names, *OUTPUT_COLUMNS, *self._fields.names)
        header = self._delimiter.join(_quoted_name(name, self._delimiter) for name in names)
        if self._safe:
            header = self._safe_header(names)
        out.write((header + "\n").encode())
        rows = 0
        for inputs, answers in bounded(pieces):
            columns = self._inputs.take(inputs)
            ours = [flat(answers, name) for name in OUTPUT_COLUMNS]
            fields = self._fields.columns(answers)
            if self._safe:
                columns, ours, fields = (
                    [_safe(column) for column in group] for group in (columns, ours, fields)
                )
            write_text(out, csv_lines([*columns, *ours, *fields], delimiter=self._delimiter))
            rows += inputs.num_rows
        return rows

    def _safe_header(self, names: Sequence[str]) -> str:
        import pyarrow as pa

        safe = _safe(pa.array(names, pa.string())).to_pylist()
        return self._delimiter.join(_quoted_name(name, self._delimiter) for name in safe)


def csv_lines(columns: Sequence["pa.Array"], *, delimiter: str = ",") -> "pa.Array":
    """The rows of some columns of one length as CSV lines, each with its line end."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = [_cells(column, delimiter) for column in columns]
    if len(cells) == 1:  # a line with nothing on it would be no row
        only = pc.fill_null(cells[0], "")
        cells = [pc.if_else(pc.equal(only, ""), pa.scalar('""'), only)]
    # The last column is mostly short: giving it the line end is cheaper than
    # copying whole lines once more.
    cells[-1] = pc.binary_join_element_wise(
        cells[-1], "", "\n", null_handling="replace", null_replacement=""
    )
    if len(cells) == 1:
        return cells[0]
    return pc.binary_join_element_wise(
        *cells, delimiter, null_handling="replace", null_replacement=""
    )


def _cells(column: "pa.Array", delimiter: str) -> "pa.Array":
    """A column as text, quoted where it must be."""
    import pyarrow.compute as pc

    text = texts_of(column)
    if is_number(column.type):  # numbers and truth values hold nothing special
        return text
    special = pc.match_substring_regex(text, f'[{delimiter}"\r\n]')
    if not pc.any(special).as_py():
        return text
    doubled = pc.replace_substring(text, '"', '""')
    return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), text)


def _safe(column: "pa.Array") -> "pa.Array":
    """A column in which no text begins like a formula; a plain number may."""
    import pyarrow.compute as pc

    if is_number(column.type):
        return column
    text = texts_of(column)
    suspect = pc.match_substring_regex(text, _FORMULA)
    suspect = pc.and_not(suspect, pc.match_substring_regex(text, _NUMBER))
    if not pc.any(suspect).as_py():
        return text
    return pc.if_else(suspect, pc.binary_join_element_wise("'", text, ""), text)


def _quoted_name(name: str, delimiter: str) -> str:
    if any(character in name for character in f'{delimiter}"\r\n'):
        return '"' + name.replace('"', '""') + '"'
    return name
