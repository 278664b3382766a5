"""Formats by name, and what is said when there is none."""

from collections.abc import Callable

import pytest

from nightkiln.core.errors import UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import Place
from nightkiln.tables.batch_in import BatchReader
from nightkiln.tables.columns import check_collisions
from nightkiln.tables.csv_in import CsvReader
from nightkiln.tables.csv_out import CsvWriter
from nightkiln.tables.formats import (
    FORMATS,
    WRITTEN,
    compression_of,
    format_of,
    open_reader,
    open_writer,
)
from nightkiln.tables.jsonl_in import JsonlReader
from nightkiln.tables.jsonl_out import JsonlWriter
from nightkiln.tables.parquet_in import ParquetReader
from nightkiln.tables.parquet_out import ParquetWriter
from nightkiln.tables.text_in import TextReader
from nightkiln.tables.xlsx_in import XlsxReader
from nightkiln.tables.xlsx_out import XlsxWriter

KNOWN = (
    "ending that tells the format; there are: csv (.csv), tsv (.tsv, .tab),"
    " jsonl (.jsonl, .ndjson), text (.txt), parquet (.parquet, .pq), xlsx (.xlsx, .xlsm);"
    " those of text also with .gz or .zst behind"
)
NAMES = "csv, tsv, jsonl, batch, text, parquet, xlsx"


@pytest.mark.parametrize(
    ("name", "kind", "compression"),
    [
        ("a.csv", "csv", None),
        ("B.CSV", "csv", None),
        ("x/a.jsonl", "jsonl", None),
        ("a.ndjson", "jsonl", None),
        ("a.txt", "text", None),
        ("a.tsv", "tsv", None),
        ("a.parquet", "parquet", None),
        ("data/*.parquet", "parquet", None),
        ("a.xlsx", "xlsx", None),
        ("a.csv.gz", "csv", "gzip"),
        ("a.b.JSONL.ZST", "jsonl", "zstd"),
        ("a.txt.gz", "text", "gzip"),
    ],
)
def test_the_ending_of_the_name_tells_the_format(
    name: str, kind: str, compression: str | None
) -> None:
    assert format_of(name) == kind
    assert compression_of(name) == compression


def test_a_format_said_outright_wins() -> None:
    assert format_of("data.csv", "text") == "text"
    assert format_of("-", "csv.gz") == "csv"
    assert compression_of("-", "csv.gz") == "gzip"
    assert compression_of("data.gz", "csv") == "gzip"


@pytest.mark.parametrize(
    ("name", "explicit", "message"),
    [
        ("data.xml", None, f"data.xml has no {KNOWN}"),
        ("data.gz", None, f"data.gz has no {KNOWN}"),
        ("-", None, f"standard input and output have no {KNOWN}"),
        ("a.csv", "xml", f'no format "xml"; there are: {NAMES}'),
        ("a.csv", "csv.bz2", f'no format "csv.bz2"; there are: {NAMES}'),
        ("a.csv", "xlsx.gz", f'no format "xlsx.gz"; there are: {NAMES}'),
        ("a.parquet.gz", None, "a.parquet.gz: parquet is compressed inside already"),
    ],
)
def test_an_unknown_format_lists_what_there_is(
    name: str, explicit: str | None, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        format_of(name, explicit)
    assert caught.value.message == message


def test_every_format_has_its_reader(source: Callable[..., SourceSpec]) -> None:
    kinds = {kind: type(open_reader(source(kind, b"x\n"))) for kind in FORMATS}
    assert kinds == {
        "csv": CsvReader,
        "tsv": CsvReader,
        "jsonl": JsonlReader,
        "batch": BatchReader,
        "text": TextReader,
        "parquet": ParquetReader,
        "xlsx": XlsxReader,
    }


def test_tabs_are_between_the_fields_of_tsv(source: Callable[..., SourceSpec]) -> None:
    spec = source("tsv", b"a\tb\n1,2\t3\n")
    (block,) = open_reader(spec).blocks(Place(), rows=9)
    assert block.rows.to_pylist() == [{"a": "1,2", "b": "3"}]


def test_tables_are_written_and_text_is_not() -> None:
    kinds = [type(open_writer(kind, ("a",), source="csv")) for kind in WRITTEN]
    assert kinds == [CsvWriter, CsvWriter, JsonlWriter, ParquetWriter, XlsxWriter]
    with pytest.raises(UsageError, match="text can be read but not written"):
        open_writer("text", ("a",), source="text")


def test_columns_that_the_output_adds_are_refused_before_anything_is_spent() -> None:
    check_collisions(("id", "text", "Answer"))
    with pytest.raises(UsageError) as caught:
        check_collisions(("id", "status", "answer"))
    assert caught.value.message == (
        'the input already has the columns "status", "answer", which the output adds'
    )
    assert caught.value.hint == "rename them in the input and run again"
