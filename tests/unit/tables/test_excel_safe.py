"""`--excel-safe`: no text of CSV or TSV begins like a formula, and numbers stay as they are."""

import csv
import io
from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest

from nightkiln.tables.csv_out import CsvWriter

Answered = Callable[[Sequence[str | None]], pa.Table]
_NUMBERS = ["-3", "-0.5", "+1e5", "+7", "-.5", "-1.", "-2.5E-3"]
_FINE = ["", "a=1", "1-2", "'=1", "(=1", "x\n=1", "é", "5", "  a", "\n", *_NUMBERS]


def cells(inputs: pa.Table, answers: pa.Table, **options: object) -> list[list[str]]:
    out = io.BytesIO()
    fields = {"source": "csv", "excel_safe": True, **options}
    columns = fields.pop("columns", inputs.column_names)
    writer = CsvWriter(columns, **fields)  # type: ignore[arg-type]
    writer.write(out, [(inputs, answers)])
    delimiter = str(options.get("delimiter", ","))
    return list(csv.reader(io.StringIO(out.getvalue().decode(), newline=""), delimiter=delimiter))


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "+1+1", "-1-", "-2+3", "-1\n", "- 1", "+1e5+A1", "-.", "--1",
        "@SUM(A1)", "\tx", "\rx", "  =1", "\u00a0=1", "\n=1", "\r\n=1",
        "\ufeff=1", "\u3000@x", " \u00a0\t=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x", " \tx",
        "=cmd|' /C calc'!A0", "-", "\u200b=1", "\x0b=1", "\u2003=1", "\u2028=1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_what_looks_like_a_formula_gets_a_quote(
    answered: Answered, text: str, delimiter: str
) -> None:
    header, row = cells(pa.table({text: [text]}), answered([text]), delimiter=delimiter)
    assert (header[0], row[0], row[1]) == ("'" + text,) * 3


@pytest.mark.parametrize("text", _FINE)
def test_other_texts_stay_as_they_are(answered: Answered, text: str) -> None:
    _, row = cells(pa.table({"a": [text]}), answered([text]))
    assert row[:2] == [text, text]


def test_numbers_of_numeric_columns_are_untouched(answered: Answered) -> None:
    inputs = pa.table({"i": [-1], "f": [-1.5], "d": ["-x"], "l": [[-1]]})
    _, row = cells(inputs, answered(["x"]), source="parquet")
    assert row[:4] == ["-1", "-1.5", "'-x", "[-1]"]


def test_numbers_of_json_lines_are_untouched(answered: Answered) -> None:
    inputs = pa.table({"line": ['{"n": -1.5e3, "s": "-x", "t": "=1"}']})
    _, row = cells(inputs, answered(["y"]), source="jsonl", columns=("n", "s", "t"))
    assert row[:3] == ["-1.5e3", "'-x", "'=1"]


def test_nothing_is_changed_unless_it_is_asked_for(answered: Answered) -> None:
    _, row = cells(pa.table({"a": ["=1"]}), answered(["-1"]), excel_safe=False)
    assert row[:2] == ["=1", "-1"]
