"""JSONL out: the user's bytes untouched, our fields typed, every line valid."""

import io
import json
import math
from collections.abc import Callable, Sequence

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightkiln.tables.base import OUTPUT_COLUMNS
from nightkiln.tables.jsonl_out import JsonlWriter

Answered = Callable[[Sequence[str | None]], pa.Table]


def written(inputs: pa.Table, answers: pa.Table, columns: tuple[str, ...], source: str) -> str:
    out = io.BytesIO()
    rows = JsonlWriter(columns, source=source).write(out, [(inputs, answers)])
    assert rows == inputs.num_rows
    return out.getvalue().decode()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(TEXT.filter(lambda key: key not in OUTPUT_COLUMNS), VALUES, max_size=3)


@given(
    rows=st.lists(st.tuples(OBJECTS, st.none() | TEXT), min_size=1, max_size=5),
    indent=st.sampled_from([(",", ":"), (" , ", " : ")]),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_our_fields_follow_the_users_bytes(
    answered: Answered,
    rows: list[tuple[dict[str, object], str | None]],
    indent: tuple[str, str],
) -> None:
    lines = [json.dumps(value, separators=indent) for value, _ in rows]
    answers = [answer for _, answer in rows]
    text = written(pa.table({"line": pa.array(lines, pa.string())}), answered(answers), (), "jsonl")

    out = text.split("\n")[:-1]

    assert len(out) == len(lines)
    for line, answer, got in zip(lines, answers, out, strict=True):
        assert got.startswith(line[:-1])
        value = json.loads(got)
        assert list(value) == [*json.loads(line), *OUTPUT_COLUMNS]
        assert value["answer"] == answer


def test_an_empty_object_gets_no_stray_comma(answered: Answered) -> None:
    text = written(pa.table({"line": ["{}", "{ \t}"]}), answered(["a", "b"]), (), "jsonl")
    assert [list(json.loads(line)) for line in text.splitlines()] == [list(OUTPUT_COLUMNS)] * 2


def test_our_numbers_are_numbers_and_the_unknown_is_null(answered: Answered) -> None:
    text = written(pa.table({"line": ['{"n": 1.50}']}), answered([None]), ("n",), "jsonl")
    assert text == (
        '{"n": 1.50,"answer":null,"status":"failed","fault":"permanent",'
        '"fault_message":"no, \\"never\\"","finish_reason":"stop","input_tokens":12,'
        '"cached_tokens":0,"output_tokens":34,"cost_usd":null,"latency_ms":5.5,'
        '"attempts":1,"backend":"openai"}\n'
    )


def test_no_number_is_nan(answered: Answered) -> None:
    answers = answered(["a"])
    index = answers.column_names.index("latency_ms")
    answers = answers.set_column(index, "latency_ms", pa.array([math.nan]))
    text = written(pa.table({"line": ["{}"]}), answers, (), "jsonl")
    assert json.loads(text)["latency_ms"] is None


def test_rows_of_a_table_become_objects_of_strings(answered: Answered) -> None:
    inputs = pa.table({"id": ["007"], 'the "text"': ["a\u2028b\n"], "custom_id": ["x"]})
    text = written(inputs, answered(["fine"]), ("id", 'the "text"'), "csv")
    value = json.loads(text)
    assert list(value) == ["id", 'the "text"', *OUTPUT_COLUMNS]
    assert value["id"] == "007"
    assert value['the "text"'] == "a\u2028b\n"
