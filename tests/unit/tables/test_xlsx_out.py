"""XLSX out: typed cells, no formula, nothing cut in silence."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pytest
import python_calamine

from nightkiln.core.errors import UsageError
from nightkiln.tables.base import WriteOptions
from nightkiln.tables.xlsx_out import XlsxWriter

Answered = Callable[[Sequence[str | None]], pa.Table]


@contextmanager
def beside(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as out:
        yield out


def written(inputs: pa.Table, answers: pa.Table, **options: Any) -> tuple[bytes, list[str]]:
    out = io.BytesIO()
    writer = XlsxWriter(
        inputs.column_names, source="parquet", options=WriteOptions(open_overflow=beside, **options)
    )
    assert writer.write(out, [(inputs, answers)]) == inputs.num_rows
    return out.getvalue(), writer.notices


def cells(data: bytes, sheet: int = 0) -> list[list[Any]]:
    found = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    return list(found.get_sheet_by_index(sheet).iter_rows())


def xml(data: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read("xl/worksheets/sheet1.xml").decode()


def test_numbers_are_numbers_and_texts_are_texts(answered: Answered) -> None:
    inputs = pa.table(
        {
            "i": [1],
            "f": [0.1 + 0.2],
            "b": [True],
            "s": ["007"],
            "big": [2**53 + 1],
            "nan": [float("nan")],
            "l": [[1, 2]],
            "none": pa.nulls(1),
        }
    )
    data, notices = written(inputs, answered(["yes"]))
    header, row = cells(data)
    assert header[: len(inputs.column_names)] == inputs.column_names
    assert row[:9] == [1, 0.1 + 0.2, True, "007", str(2**53 + 1), "NaN", "[1,2]", "", "yes"]
    assert notices == []


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        '=HYPERLINK("http://x.y","click")',
        "{=SUM(A1)}",
        "http://example.org/a",
        "<r><t>rich</t></r>",
        "<r></t></is></c><c><f>1+1</f></c></r>",
        "_x0041_",
        "_x0041_x0042_",
        "a\rb\r\nc\n",
        "  spaces  ",
        "a & b < c > d \" '",
        "\U0001f600\u2028\u0085",
        "]]>",
        "12",
        "TRUE",
    ],
)
def test_a_text_comes_back_as_it_was_and_is_never_a_formula(answered: Answered, text: str) -> None:
    data, _ = written(pa.table({text: [text]}), answered([text]))
    header, row = cells(data)
    assert (header[0], row[0], row[1]) == (text, text, text)
    assert "<f>" not in xml(data)
    assert "hyperlink" not in xml(data)


def test_control_characters_are_replaced_and_counted(answered: Answered) -> None:
    data, notices = written(pa.table({"s": ["a\0b\x1f\ufffe\tc"]}), answered(["\x0b"]))
    assert cells(data)[1][:2] == ["a\ufffdb\ufffd\ufffd\tc", "\ufffd"]
    assert notices == ["control characters that XLSX cannot hold: 4; each became U+FFFD"]


@pytest.mark.parametrize("text", ["x" * 32_767, "\U0001f600" * 16_383 + "x"])
def test_what_a_cell_can_hold_is_whole(answered: Answered, tmp_path: Path, text: str) -> None:
    data, notices = written(
        pa.table({"s": [text]}), answered(["y"]), overflow=tmp_path / "side.jsonl"
    )
    assert cells(data)[1][0] == text
    assert notices == []
    assert not (tmp_path / "side.jsonl").exists()


@pytest.mark.parametrize("text", ["x" * 32_768, "\U0001f600" * 16_384, "=" * 1_000_000])
def test_what_a_cell_cannot_hold_goes_whole_into_the_side_file(
    answered: Answered, tmp_path: Path, text: str
) -> None:
    side = tmp_path / "side.jsonl"
    data, (notice,) = written(pa.table({"s": ["a", text]}), answered([text, "b"]), overflow=side)
    shown = cells(data)[2][0]
    assert len(shown.encode("utf-16-le")) // 2 <= 32_767
    assert shown.startswith(text[:1000])
    assert shown.endswith(f"cut: {len(text)} characters, row 1 of side.jsonl has them all]")
    lines = [json.loads(line) for line in side.read_text().splitlines()]
    assert lines == [
        {"row": 0, "column": "answer", "value": text},
        {"row": 1, "column": "s", "value": text},
    ]
    assert str(side) in notice


def test_without_a_place_for_it_a_long_text_is_an_error(answered: Answered) -> None:
    with pytest.raises(UsageError, match='row 0, column "s": a text of 40000 characters'):
        written(pa.table({"s": ["x" * 40_000]}), answered(["y"]))


@pytest.mark.parametrize(("rows", "sheets"), [(5, 1), (6, 2), (10, 2), (11, 3)])
def test_rows_beyond_a_sheet_go_on_in_the_next(answered: Answered, rows: int, sheets: int) -> None:
    data, notices = written(pa.table({"n": range(rows)}), answered(["x"] * rows), sheet_rows=5)
    book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    assert book.sheet_names == ["rows", "rows 2", "rows 3"][:sheets]
    found = [cells(data, sheet) for sheet in range(sheets)]
    assert all(sheet[0][0] == "n" for sheet in found)
    assert [row[0] for sheet in found for row in sheet[1:]] == list(range(rows))
    assert [len(sheet) - 1 for sheet in found[:-1]] == [5] * (sheets - 1)
    assert bool(notices) == (sheets > 1)


def test_more_columns_than_a_sheet_takes_are_refused_before_anything_is_written() -> None:
    with pytest.raises(UsageError, match="16396 columns; a sheet takes 16384"):
        XlsxWriter([f"c{number}" for number in range(16_384)], source="csv")


def test_a_failure_in_the_middle_leaves_no_workbook(answered: Answered) -> None:
    def broken() -> Iterator[tuple[pa.Table, pa.Table]]:
        yield pa.table({"n": [1]}), answered(["x"])
        raise ZeroDivisionError

    out = io.BytesIO()
    with pytest.raises(ZeroDivisionError):
        XlsxWriter(["n"], source="parquet").write(out, broken())
    assert out.getvalue() == b""


def test_schema_fields_have_their_types(answered: Answered) -> None:
    schema = json.dumps(
        {"type": "object", "properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}}}
    )
    out = io.BytesIO()
    writer = XlsxWriter(
        ("s",), source="csv", fields=("n", "ok"), options=WriteOptions(output_schema=schema)
    )
    answers = answered(['{"n": 3, "ok": true}', None])
    writer.write(out, [(pa.table({"s": ["a", "b"]}), answers)])
    assert [row[-2:] for row in cells(out.getvalue())] == [["n", "ok"], [3, True], ["", ""]]
    assert re.search(r'<c r="N2"><v>3</v>', xml(out.getvalue()))
