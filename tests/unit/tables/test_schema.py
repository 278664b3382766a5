"""A schema for answers: what it refuses, what it says, and the columns it makes."""

import csv
import io

import pyarrow as pa
import pytest

from nightkiln.core.answer import Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import FaultClass
from nightkiln.tables.base import OUTPUT_COLUMNS
from nightkiln.tables.columns import check_collisions
from nightkiln.tables.formats import open_writer
from nightkiln.tables.schema import AnswerSchema

TOPIC = b"""{"type": "object", "properties": {"topic": {"enum": ["a", "b"]},
 "n": {"type": "integer"}}, "required": ["topic"], "additionalProperties": false}"""


@pytest.mark.parametrize("text", ['{"topic": "a"}', ' {"topic": "b", "n": 3} '])
def test_an_answer_that_fits_has_no_fault(text: str) -> None:
    assert AnswerSchema(TOPIC).fault_of(Reply(text=text)) is None


@pytest.mark.parametrize(
    ("text", "finish", "code"),
    [
        ('{"topic": "z"}', "stop", "schema_mismatch"),
        ('{"topic": "a", "n": "3"}', "stop", "schema_mismatch"),
        ("[]", "stop", "schema_mismatch"),
        ('{"topic": ', "stop", "json_invalid"),
        ('{"topic": ', "length", "json_cut"),
        ("sure, here you go", "stop", "json_invalid"),
    ],
)
def test_an_answer_that_does_not_fit_is_an_incomplete_one(
    text: str, finish: str, code: str
) -> None:
    fault = AnswerSchema(TOPIC).fault_of(Reply(text=text, finish_reason=finish))
    assert fault is not None
    assert (fault.kind, fault.code) == (FaultClass.INCOMPLETE, code)


def test_a_mismatch_names_the_place_and_never_the_value() -> None:
    fault = AnswerSchema(TOPIC).fault_of(Reply(text='{"topic": "secret words"}'))
    assert fault is not None
    assert "topic" in fault.message
    assert "secret" not in fault.message


@pytest.mark.parametrize(
    "schema",
    [
        b"{",
        b"[]",
        b'{"type": "objct"}',
        b'{"$ref": "http://127.0.0.1:9/elsewhere"}',
        b'{"pattern": "("}',
        b" " * (300 * 1024),
    ],
)
def test_what_is_no_schema_is_refused_at_once(schema: bytes) -> None:
    with pytest.raises(UsageError, match="schema"):
        AnswerSchema(schema)


def test_a_property_may_not_be_named_like_a_column_that_is_there() -> None:
    with pytest.raises(UsageError, match='"topic"'):
        check_collisions(("id", "topic"), ("topic",))
    with pytest.raises(UsageError, match='"status"'):
        check_collisions(("id",), ("status",))
    check_collisions(("id",), ("topic",))


def piece(*answers: str | None) -> tuple[pa.Table, pa.Table]:
    count = len(answers)
    columns = {name: pa.array([None] * count, pa.string()) for name in OUTPUT_COLUMNS}
    columns["answer"] = pa.array(answers, pa.string())
    return pa.table({"id": [str(n) for n in range(count)]}), pa.table(columns)


def test_properties_become_columns_of_a_csv() -> None:
    out = io.BytesIO()
    writer = open_writer("csv", ("id",), source="csv", fields=("topic", "n"))
    writer.write(out, [piece('{"topic": "a, b", "n": 3}', None, '{"topic": "c"}')])
    table = list(csv.DictReader(io.StringIO(out.getvalue().decode())))
    assert [(row["topic"], row["n"]) for row in table] == [("a, b", "3"), ("", ""), ("c", "")]
    assert [*table[0]][-3:] == ["backend", "topic", "n"]


def test_properties_keep_their_types_in_jsonl() -> None:
    out = io.BytesIO()
    writer = open_writer("jsonl", ("id",), source="csv", fields=("topic", "n"))
    writer.write(out, [piece('{"topic": "a", "n": 1.50}', None)])
    first, second = out.getvalue().decode().splitlines()
    assert first.endswith('"topic":"a","n":1.50}')
    assert second.endswith('"topic":null,"n":null}')
