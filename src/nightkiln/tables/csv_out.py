"""CSV out: the input's columns, then ours, made by Arrow a column at a time.

Only a value that contains the delimiter, a quote or a line end is quoted, so a
file without such values comes back as it went in. Null and empty are both
written as nothing. Nothing is changed for the sake of spreadsheets.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final

from nightkiln.tables.answerfields import AnswerFields
from nightkiln.tables.base import LINE_COLUMN, OUTPUT_COLUMNS
from nightkiln.tables.fields import Picker
from nightkiln.tables.pieces import bounded, flat, write_text

if TYPE_CHECKING:
    import pyarrow as pa

_SPECIAL: Final = '",\r\n'


class CsvWriter:
    """Writes a CSV file with the input columns, OUTPUT_COLUMNS, and the answers' fields.

    `source` is the format the rows came in; of JSONL rows every key of
    `columns` becomes a column.
    """

    def __init__(self, columns: Sequence[str], *, source: str, fields: Sequence[str] = ()) -> None:
        self._columns = tuple(columns)
        self._fields = AnswerFields(fields)
        self._picker = Picker(self._columns) if source == "jsonl" else None

    def write(self, out: BinaryIO, pieces: Iterable[tuple["pa.Table", "pa.Table"]]) -> int:
        """Write everything and return the number of rows written."""
        names = (*self._columns, *OUTPUT_COLUMNS, *self._fields.names)
        out.write((",".join(_quoted_name(name) for name in names) + "\n").encode())
        rows = 0
        for inputs, answers in bounded(pieces):
            columns = self._inputs(inputs) + [flat(answers, name) for name in OUTPUT_COLUMNS]
            columns += self._fields.columns(answers)
            write_text(out, csv_lines(columns))
            rows += inputs.num_rows
        return rows

    def _inputs(self, inputs: "pa.Table") -> list["pa.Array"]:
        import pyarrow as pa

        if self._picker is None:
            return [flat(inputs, name) for name in self._columns]
        if not self._columns:
            return []
        values = self._picker.texts(flat(inputs, LINE_COLUMN).to_pylist())
        return [pa.array(column, pa.string()) for column in zip(*values, strict=True)]


def csv_lines(columns: Sequence["pa.Array"]) -> "pa.Array":
    """The rows of some columns of one length as CSV lines, each with its line end."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = [_cells(column) for column in columns]
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
    return pc.binary_join_element_wise(*cells, ",", null_handling="replace", null_replacement="")


def _cells(column: "pa.Array") -> "pa.Array":
    """A column as text, quoted where it must be."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = column if column.type == pa.string() else pc.cast(column, pa.string())
    if not _is_text(column.type):  # numbers and truth values hold nothing special
        return text
    special = pc.match_substring_regex(text, f"[{_SPECIAL}]")
    if not pc.any(special).as_py():
        return text
    doubled = pc.replace_substring(text, '"', '""')
    return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), text)


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow.types as kinds

    return not (kinds.is_primitive(kind) or kinds.is_null(kind))


def _quoted_name(name: str) -> str:
    if any(character in name for character in _SPECIAL):
        return '"' + name.replace('"', '""') + '"'
    return name
