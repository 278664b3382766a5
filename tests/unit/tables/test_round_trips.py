"""Nasty tables through every pair of formats: the same rows, in order, with the documented losses.

What a format loses:

- CSV, TSV and text know texts only; null and empty are one and the same.
- CSV, TSV and text are not read with NUL in them; XLSX has no control characters.
- XLSX shows numbers with fifteen digits and truth values in capitals.
- JSONL has no NaN and no infinity; they are null.
- Keys of JSON lines are columns of text outside JSONL.
"""

import io
import json
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import LINE_COLUMN, OUTPUT_COLUMNS, Place, WriteOptions
from nightkiln.tables.formats import open_reader, open_writer

Answered = Callable[[Sequence[str | None]], pa.Table]

KINDS_OUT = ("csv", "tsv", "jsonl", "parquet", "xlsx")
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
NASTY = st.sampled_from(
    [
        "", " ", "=1+1", "-1", "@a", "007", "1e5", "NaN", "null", "true", "a,b", 'q"uo"te',
        "tab\tb", "line\nline", "cr\rcr", "crlf\r\ncrlf", "\u2028\u0085", "\ufeffbom", "\x7f",
        "\U0001f600", "<r>x</r>", "_x0041_", "&amp;<b>", "{column}", "'", '""', "\\n",
        "x" * 3000, "é", "\x1b[0m",
    ]
)  # fmt: skip
TEXTS = NASTY | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SETTINGS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def rows_through(kind: str, data: bytes, folder: Path) -> list[dict[str, Any]]:
    """Read a table back with our own reader; JSON lines as their objects."""
    path = folder / f"back.{kind}"
    path.write_bytes(data)
    spec = SourceSpec(kind=kind, path=str(path), name=path.name, size_bytes=len(data), sha256="")
    rows: list[dict[str, Any]] = []
    for block in open_reader(spec).blocks(Place(), rows=3):
        assert not getattr(block, "bad", ())
        rows += block.rows.to_pylist()
    if kind == "jsonl":
        return [json.loads(row[LINE_COLUMN]) for row in rows]
    return rows


def segments(kind: str, data: bytes, folder: Path) -> tuple[list[str], list[pa.Table]]:
    """The pieces that a reader makes of a source, as a job would store them."""
    path = folder / f"in.{kind}"
    path.write_bytes(data)
    spec = SourceSpec(kind=kind, path=str(path), name=path.name, size_bytes=len(data), sha256="")
    blocks = list(open_reader(spec).blocks(Place(), rows=2))
    return list(blocks[-1].end.columns), [pa.Table.from_batches([block.rows]) for block in blocks]


def through(source: str, data: bytes, target: str, folder: Path, answered: Answered) -> Any:
    """Read with the reader of one format, write with the writer of another, read again."""
    columns, pieces = segments(source, data, folder)
    out = io.BytesIO()
    writer = open_writer(target, columns, source=source, options=WriteOptions())
    aligned = [(piece, answered(["yes"] * piece.num_rows)) for piece in pieces]
    count = writer.write(out, aligned)
    back = rows_through(target, out.getvalue(), folder)
    assert len(back) == count == sum(piece.num_rows for piece in pieces)
    for row in back:
        assert list(row) == [*columns, *OUTPUT_COLUMNS]
        assert row["answer"] == "yes"
    return [{name: row[name] for name in columns} for row in back]


def as_source(kind: str, rows: list[dict[str, str]]) -> bytes:
    """Rows of texts as a file of a kind, written without any code of ours."""
    out = io.BytesIO()
    if kind == "jsonl":
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), out, row_group_size=3)
        return out.getvalue()
    if kind == "xlsx":
        import xlsxwriter

        with xlsxwriter.Workbook(out) as book:
            sheet = book.add_worksheet()
            for number, row in enumerate([dict(zip(rows[0], rows[0], strict=True)), *rows]):
                for column, value in enumerate(row.values()):
                    sheet.write_string(number, column, value)
        return out.getvalue()
    if kind == "text":
        return "".join(row["text"] + "\n" for row in rows).encode()
    mark = "\t" if kind == "tsv" else ","
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    quoted = [mark.join('"' + v.replace('"', '""') + '"' for v in line) for line in lines]
    return ("\n".join(quoted) + "\n").encode()


def in_a_workbook(value: str) -> str:
    """A text without what the library that makes the workbook would not write as it is."""
    return CONTROL.sub("", value).replace("<r>", "")


def seen_by(target: str, value: str) -> str:
    """What a text is after the target."""
    return CONTROL.sub("\ufffd", value) if target == "xlsx" else value


@pytest.mark.parametrize("target", KINDS_OUT)
@pytest.mark.parametrize("source", ["csv", "tsv", "jsonl", "parquet", "xlsx"])
@SETTINGS
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=7))
def test_texts_survive_every_pair(
    source: str, target: str, tmp_path: Path, answered: Answered, rows: list[tuple[str, str]]
) -> None:
    if source == "xlsx":
        rows = [(in_a_workbook(a), in_a_workbook(b)) for a, b in rows]
    table = [{"id": f"r{n}", "a": a, "b, \u00e9": b} for n, (a, b) in enumerate(rows)]
    found = through(source, as_source(source, table), target, tmp_path, answered)
    assert found == [{name: seen_by(target, value) for name, value in row.items()} for row in table]


@pytest.mark.parametrize("target", KINDS_OUT)
@SETTINGS
@given(lines=st.lists(TEXTS, min_size=1, max_size=7))
def test_lines_of_text_survive_every_target(
    target: str, tmp_path: Path, answered: Answered, lines: list[str]
) -> None:
    table = [{"text": re.sub("[\r\n]", "", line).removeprefix("\ufeff")} for line in lines]
    found = through("text", as_source("text", table), target, tmp_path, answered)
    assert [row["text"] for row in found] == [seen_by(target, row["text"]) for row in table]


NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.none()
FLOATS = st.floats() | st.none()
TYPED = st.fixed_dictionaries(
    {
        "i": NUMBERS,
        "f": FLOATS,
        "b": st.booleans() | st.none(),
        "s": TEXTS | st.none(),
        "l": st.lists(st.integers(-9, 9) | st.none(), max_size=3) | st.none(),
        "t": st.datetimes() | st.none(),
    }
)
SCHEMA = pa.schema(
    [
        ("i", pa.int64()),
        ("f", pa.float64()),
        ("b", pa.bool_()),
        ("s", pa.string()),
        ("l", pa.list_(pa.int64())),
        ("t", pa.timestamp("us")),
    ]
)


def typed_text(value: Any) -> str:
    """A typed value as every output of text has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return json.dumps(value, separators=(",", ":"))
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize("target", KINDS_OUT)
@SETTINGS
@given(rows=st.lists(TYPED, min_size=1, max_size=7))
def test_typed_values_survive_every_target(
    target: str, tmp_path: Path, answered: Answered, rows: list[dict[str, Any]]
) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=2)
    found = through("parquet", out.getvalue(), target, tmp_path, answered)
    if target == "parquet":
        assert (
            pa.Table.from_pylist(found, schema=SCHEMA).to_pydict().keys()
            == table.to_pydict().keys()
        )
        assert json.dumps(found, default=str) == json.dumps(table.to_pylist(), default=str)
        return
    for before, after in zip(table.to_pylist(), found, strict=True):
        check_typed(target, before, after)


def check_typed(target: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """One row of typed values after a target that has fewer types."""
    stamp = None if before["t"] is None else before["t"].isoformat()
    if stamp is not None and "." in stamp:
        stamp = stamp.rstrip("0")
    if target == "jsonl":
        number = before["f"]
        assert after["i"] == before["i"]
        assert after["f"] == (number if number is not None and math.isfinite(number) else None)
        assert (after["b"], after["s"], after["l"]) == (before["b"], before["s"], before["l"])
        assert after["t"] == stamp
        return
    assert after["i"] == typed_text(None if before["i"] is None else str(before["i"]))
    assert same_number(after["f"], before["f"], exact=target != "xlsx")
    truth = typed_text(before["b"])
    assert after["b"] == (truth.upper() if target == "xlsx" else truth)
    text = typed_text(before["s"])
    assert after["s"] == (CONTROL.sub("\ufffd", text) if target == "xlsx" else text)
    assert after["l"] == typed_text(before["l"])
    assert after["t"] == typed_text(stamp)


def same_number(text: str, number: float | None, *, exact: bool) -> bool:
    """True when a text says a number, or nothing for none."""
    if number is None:
        return text == ""
    if not math.isfinite(number):
        return str(float(text)) == str(number)
    if exact:
        return float(text) == number
    # Decimal: the largest numbers, rounded to fifteen digits, are beyond what a float holds.
    return abs(Decimal(text) - Decimal(number)) <= abs(Decimal(number)) * Decimal("1e-14")
