"""CSV out: what Python's csv module reads is what was to be written."""

import csv
import io
from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightkiln.tables.base import OUTPUT_COLUMNS
from nightkiln.tables.csv_out import CsvWriter, csv_lines
from nightkiln.tables.pieces import PIECE_BYTES

Answered = Callable[[Sequence[str | None]], pa.Table]


def written(
    pieces: list[tuple[pa.Table, pa.Table]], columns: tuple[str, ...], source: str = "csv"
) -> str:
    out = io.BytesIO()
    rows = CsvWriter(columns, source=source).write(out, pieces)
    assert rows == sum(inputs.num_rows for inputs, _ in pieces)
    return out.getvalue().decode()


def read_back(text: str) -> list[dict[str, str]]:
    csv.field_size_limit(1 << 30)
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


TEXT = st.text(
    st.sampled_from("ab\",;\n\r '=é\U0001f525\u2028\x85\0\\")
    | st.characters(exclude_categories=["Cs"]),
    max_size=8,
)


@given(table=st.lists(st.tuples(TEXT, TEXT, st.none() | TEXT), max_size=8), cut=st.integers(0, 8))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nasty_values_come_back_through_python(
    answered: Answered, table: list[tuple[str, str, str | None]], cut: int
) -> None:
    inputs = pa.table({"a": [row[0] for row in table], 'b,"': [row[1] for row in table]})
    inputs = inputs.cast(pa.schema([("a", pa.string()), ('b,"', pa.large_string())]))
    answers = answered([row[2] for row in table])
    pieces = [
        (inputs.slice(0, cut), answers.slice(0, cut)),
        (pa.concat_tables([inputs.slice(cut)] * 2), pa.concat_tables([answers.slice(cut)] * 2)),
    ]

    rows = read_back(written(pieces, ("a", 'b,"')))

    expected = [(one, two, answer or "") for one, two, answer in table]
    expected = expected[:cut] + expected[cut:] * 2
    assert [(row["a"], row['b,"'], row["answer"]) for row in rows] == expected


def test_only_values_that_need_it_are_quoted(answered: Answered) -> None:
    inputs = pa.table({"a": ["x", "007", "a,b"], "b": ["", 'say "hi"', "it's; fine "]})
    text = written([(inputs, answered(["yes\nno", None, ""]))], ("a", "b"))
    assert text == (
        f"a,b,{','.join(OUTPUT_COLUMNS)}\n"
        'x,,"yes\nno",ok,,,stop,12,0,34,0.000123,5.5,1,openai\n'
        '007,"say ""hi""",,failed,permanent,"no, ""never""",stop,12,0,34,,5.5,1,openai\n'
        '"a,b",it\'s; fine ,,ok,,,stop,12,0,34,0.000123,5.5,1,openai\n'
    )


def test_a_very_long_value_comes_back(answered: Answered) -> None:
    long = 'x"\n,' * 250_000
    (row,) = read_back(written([(pa.table({"a": ["1"]}), answered([long]))], ("a",)))
    assert row["answer"] == long


def test_a_piece_beyond_the_bound_is_written_in_halves(answered: Answered) -> None:
    long = ["a" * (PIECE_BYTES // 2), "b" * (PIECE_BYTES // 2), "c"]
    text = written([(pa.table({"a": ["1", "2", "3"]}), answered(long))], ("a",))
    assert [row["answer"] for row in read_back(text)] == long


def test_json_rows_become_one_column_per_key(answered: Answered) -> None:
    lines = ['{"a": "x,y", "b": 1.50}', '{"c": [1, "q"], "a": null}']
    text = written([(pa.table({"line": lines}), answered(["1", "2"]))], ("a", "b", "c"), "jsonl")
    rows = [(row["a"], row["b"], row["c"]) for row in read_back(text)]
    assert rows == [("x,y", "1.50", ""), ("", "", '[1,"q"]')]


def test_json_rows_without_any_key_still_have_their_answers(answered: Answered) -> None:
    text = written([(pa.table({"line": ["{}"]}), answered(["1"]))], (), "jsonl")
    assert [row["answer"] for row in read_back(text)] == ["1"]


def test_an_empty_row_of_one_column_stays_a_row() -> None:
    lines = csv_lines([pa.array(["a", "", None, "b,c"])])
    assert lines.to_pylist() == ["a\n", '""\n', '""\n', '"b,c"\n']


def test_no_rows_leave_the_header(answered: Answered) -> None:
    assert written([], ("a",)) == f"a,{','.join(OUTPUT_COLUMNS)}\n"


def test_pieces_that_do_not_match_are_a_bug(answered: Answered) -> None:
    with pytest.raises(ValueError, match="1 inputs beside 2 answers"):
        written([(pa.table({"a": ["1"]}), answered(["x", "y"]))], ("a",))
