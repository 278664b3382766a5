"""The command with every kind of table, as users run it: in as it is, out as it is asked for."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import python_calamine
import xlsxwriter
from tests.scenario.place import Place


def test_a_folder_of_parquet_becomes_every_kind_of_table(place: Place) -> None:
    data = place.folder / "data"
    data.mkdir()
    for number in range(3):
        table = pa.table({"n": range(5 * number, 5 * number + 5), "s": ["=1+1"] * 5})
        pq.write_table(table, data / f"{number}.parquet")
    backend = ("--endpoint", place.url, "--model", "m", "--prompt", "{n}: {s}")
    done = place.nightkiln("run", "data", "-o", "out.parquet", *backend)
    assert done.returncode == 0, done.stderr
    found = pq.read_table(place.folder / "out.parquet")
    assert found.schema.field("n").type == pa.int64()
    assert found.column("n").to_pylist() == list(range(15))

    for name in ("out.xlsx", "out.jsonl.gz", "safe.csv"):
        safe = ("--excel-safe",) if name == "safe.csv" else ()
        assert place.nightkiln("jobs", "results", "-o", name, *safe).returncode == 0
    sheet = python_calamine.CalamineWorkbook.from_path(
        place.folder / "out.xlsx"
    ).get_sheet_by_index(0)
    assert [row[:2] for row in sheet.iter_rows()][1:] == [[n, "=1+1"] for n in range(15)]
    lines = gzip.decompress((place.folder / "out.jsonl.gz").read_bytes()).splitlines()
    assert [json.loads(line)["n"] for line in lines] == list(range(15))
    assert (place.folder / "safe.csv").read_text().splitlines()[1].startswith("0,'=1+1,")


def test_a_named_sheet_is_answered(place: Place) -> None:
    with xlsxwriter.Workbook(place.folder / "in.xlsx") as book:
        book.add_worksheet("notes").write(0, 0, "nothing to see")
        sheet = book.add_worksheet("tickets")
        for number, row in enumerate([["id", "text"], ["007", "hello"], ["008", "there"]]):
            sheet.write_row(number, 0, row)
    backend = ("--endpoint", place.url, "--model", "m", "--column", "text")
    done = place.nightkiln("run", "in.xlsx", "--sheet", "tickets", "-o", "out.tsv", *backend)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in (place.folder / "out.tsv").read_text().splitlines()]
    assert [row[:2] for row in rows] == [["id", "text"], ["007", "hello"], ["008", "there"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("http://127.0.0.1:1/a.csv", "-o", "o.csv"), "127.0.0.1 is at no public address"),
        (("in.csv", "-o", "o.xlsx", "--excel-safe"), "excel-safe is for CSV and TSV"),
        (("in.csv", "-o", "-", "--output-format", "xlsx"), "a workbook cannot go to standard"),
        (("*.parquet", "-o", "o.csv"), "no file is named like"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_sent(
    place: Place, arguments: tuple[str, ...], said: str
) -> None:
    (place.folder / "in.csv").write_text("text\nhello\n")
    done = place.nightkiln("run", *arguments, "--endpoint", place.url, "--model", "m")
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(place.folder.glob("o.*"))
