"""XLSX in: what the sheet shows, row by row."""

import datetime as dt
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from nightkiln.core.errors import InputError, MissingExtra, UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import Place
from nightkiln.tables.xlsx_in import XlsxReader, _block, _Taken


def book(path: Path, **sheets: Sequence[Sequence[Any]]) -> SourceSpec:
    """A workbook of plain values; dates get a date's format."""
    with xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd"}) as out:
        for name, rows in sheets.items():
            sheet = out.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    return SourceSpec(
        kind="xlsx", path=str(path), name="in.xlsx", size_bytes=path.stat().st_size, sha256=""
    )


def with_options(source: SourceSpec, **options: object) -> SourceSpec:
    fields = {name: getattr(source, name) for name in source.__struct_fields__}
    return SourceSpec(**{**fields, **options})


def rows_of(source: SourceSpec, start: Place | None = None, *, rows: int = 2) -> list[list[str]]:
    blocks = XlsxReader(source).blocks(start or Place(), rows=rows)
    return [list(row.values()) for block in blocks for row in block.rows.to_pylist()]


def test_cells_are_the_text_that_the_sheet_shows(tmp_path: Path) -> None:
    values = [
        ("007", "007"),
        (7, "7"),
        (7.5, "7.5"),
        (0.1 + 0.2, "0.3"),
        (1e-7, "1e-07"),
        (True, "TRUE"),
        (dt.date(2024, 1, 31), "2024-01-31"),
        (dt.datetime.fromisoformat("2024-01-31T12:30:05"), "2024-01-31T12:30:05"),
        (None, ""),
        (" a\nb ", " a\nb "),
    ]
    header = [f"c{number}" for number in range(len(values))]
    source = book(tmp_path / "a.xlsx", rows=[header, [value for value, _ in values]])
    assert rows_of(source) == [[text for _, text in values]]


def test_a_formula_counts_with_the_value_saved_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(path) as out:
        sheet = out.add_worksheet()
        sheet.write_string(0, 0, "n")
        sheet.write_formula(1, 0, "=1+1", None, 2)
    source = book(tmp_path / "b.xlsx", rows=[["n"]])
    assert rows_of(with_options(source, path=str(path))) == [["2"]]


def test_blank_rows_are_no_rows_and_lines_are_those_of_the_sheet(tmp_path: Path) -> None:
    source = book(tmp_path / "a.xlsx", rows=[[], ["n"], [1], [], [], [2], [3]])
    blocks = list(XlsxReader(source).blocks(Place(), rows=2))
    assert [block.starts for block in blocks] == [(3, 6), (7,)]
    assert [block.end.row for block in blocks] == [2, 3]
    assert blocks[0].end.columns == ("n",)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_reading_goes_on_after_any_block(tmp_path: Path, at: int) -> None:
    source = book(tmp_path / "a.xlsx", rows=[["n"], [1], [], [2], [3], [4], [5]])
    ends = [block.end for block in XlsxReader(source).blocks(Place(), rows=2)]
    assert rows_of(source, ends[at]) == [["1"], ["2"], ["3"], ["4"], ["5"]][ends[at].row :]


def test_the_first_sheet_is_read_or_the_one_that_is_named(tmp_path: Path) -> None:
    source = book(tmp_path / "a.xlsx", one=[["n"], [1]], two=[["n"], [2]])
    assert rows_of(source) == [["1"]]
    assert rows_of(with_options(source, sheet="two")) == [["2"]]
    with pytest.raises(UsageError, match='the sheets are: "one", "two"'):
        rows_of(with_options(source, sheet="three"))


def test_a_limit_and_ids(tmp_path: Path) -> None:
    source = book(tmp_path / "a.xlsx", rows=[["n"], [1], [2], [3]])
    (block,) = XlsxReader(with_options(source, limit=2, id_column="n")).blocks(Place(), rows=9)
    assert block.ids is not None
    assert block.ids.to_pylist() == ["1", "2"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the sheet is empty"),
        ([["a", None, "c"]], "row 1 of the sheet: column 2 has no name"),
        ([["a", "a"]], '"a" more than once'),
    ],
)
def test_a_header_that_names_nothing_is_refused(
    tmp_path: Path, rows: list[list[Any]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        rows_of(book(tmp_path / "a.xlsx", rows=rows))


def test_a_row_with_an_empty_id_is_bad_and_named_by_its_row(tmp_path: Path) -> None:
    source = book(tmp_path / "a.xlsx", rows=[["id", "n"], ["x", 1], [None, 2]])
    (block,) = XlsxReader(with_options(source, id_column="id")).blocks(Place(), rows=9)
    assert block.ids is not None
    assert block.ids.to_pylist() == ["x", None]
    assert [(bad.row, bad.line, bad.reason) for bad in block.bad] == [
        (1, 3, 'the id in column "id" is empty')
    ]


def test_what_is_no_workbook_is_said(tmp_path: Path) -> None:
    source = book(tmp_path / "a.xlsx", rows=[["n"]])
    (tmp_path / "a.xlsx").write_text("n\n1\n")
    with pytest.raises(InputError, match=r"in\.xlsx is no XLSX workbook"):
        rows_of(source)


def test_without_the_extra_the_install_line_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = book(tmp_path / "a.xlsx", rows=[["n"]])
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(MissingExtra, match=r'pip install "nightkiln\[excel\]"'):
        rows_of(source)


def test_a_nul_makes_a_row_of_a_sheet_bad() -> None:
    end = Place(line=3, row=2, columns=("a",))
    block = _block(_Taken([["fine"], ["a\0b"]], [2, 3]), end, None)
    assert [(bad.row, bad.line) for bad in block.bad] == [(1, 3)]
    assert block.rows.column("a").to_pylist() == ["fine", None]
