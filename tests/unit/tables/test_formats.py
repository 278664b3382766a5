"""Formats by name, and what is said when there is none."""

from collections.abc import Callable

import pytest

from nightkiln.core.errors import UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.columns import check_collisions
from nightkiln.tables.csv_in import CsvReader
from nightkiln.tables.csv_out import CsvWriter
from nightkiln.tables.formats import FORMATS, format_of, open_reader, open_writer
from nightkiln.tables.jsonl_in import JsonlReader
from nightkiln.tables.jsonl_out import JsonlWriter
from nightkiln.tables.text_in import TextReader

KNOWN = "ending that tells the format; there are: csv (.csv), jsonl (.jsonl, .ndjson), text (.txt)"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("B.CSV", "csv"),
        ("x/a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.txt", "text"),
    ],
)
def test_the_ending_of_the_name_tells_the_format(name: str, kind: str) -> None:
    assert format_of(name) == kind


def test_a_format_said_outright_wins() -> None:
    assert format_of("data.csv", "text") == "text"


@pytest.mark.parametrize(
    ("name", "explicit", "message"),
    [
        ("data.xml", None, f"data.xml has no {KNOWN}"),
        ("-", None, f"standard input and output have no {KNOWN}"),
        ("a.csv", "xml", 'no format "xml"; there are: csv, jsonl, text'),
    ],
)
def test_an_unknown_format_lists_what_there_is(
    name: str, explicit: str | None, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        format_of(name, explicit)
    assert caught.value.message == message


def test_every_format_has_its_reader(source: Callable[..., SourceSpec]) -> None:
    kinds = [type(open_reader(source(kind, b"x\n"))) for kind in FORMATS]
    assert kinds == [CsvReader, JsonlReader, TextReader]


def test_tables_are_written_and_text_is_not() -> None:
    assert isinstance(open_writer("csv", ("a",), source="csv"), CsvWriter)
    assert isinstance(open_writer("jsonl", ("a",), source="jsonl"), JsonlWriter)
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
