"""Typed columns as text and as JSON."""

import datetime as dt
import decimal
import json
import uuid
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from nightkiln.tables.values import is_binary, is_number, json_of, plain_number, texts_of

NOON = dt.datetime(2024, 1, 31, 12, 30, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array(["a", "", None]), ["a", "", None]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ["b", "a", "b"]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([1, -(2**63)], pa.int64()), ["1", "-9223372036854775808"]),
        (pa.array([1.0, 0.1, None, 1e20]), ["1", "0.1", None, "1e+20"]),
        (pa.array([0.5], pa.float16()), ["0.5"]),
        (pa.array([decimal.Decimal("1.50")]), ["1.50"]),
        (pa.array([dt.date(1, 1, 1)]), ["0001-01-01"]),
        (pa.array([dt.time(1, 2, 3, 500_000)]), ["01:02:03.5"]),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")), ["2024-01-31T12:30:00"]),
        (pa.array([NOON], pa.timestamp("us", "UTC")), ["2024-01-31T12:30:00Z"]),
        (pa.array([NOON], pa.timestamp("ms", "Europe/Berlin")), ["2024-01-31T13:30:00+01:00"]),
        (pa.array([100], pa.timestamp("ms")), ["1970-01-01T00:00:00.1"]),
        (pa.array([dt.timedelta(seconds=-1.5)]), ["-PT1.5S"]),
        (pa.array([[1, None], [], None]), ["[1,null]", "[]", None]),
        (pa.array([{"a": 1, "b": [1.5]}, None]), ['{"a":1,"b":[1.5]}', None]),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())), ['{"k":1}']),
        (pa.array([None, None]), [None, None]),
        (pa.array([b"\xff"], pa.binary()), ["/w=="]),
    ],
    ids=str,
)
def test_every_type_has_one_text(column: pa.Array, texts: list[str | None]) -> None:
    assert texts_of(column).to_pylist() == texts
    assert texts_of(column).type == pa.string()
    assert texts_of(column[1:]).to_pylist() == texts[1:]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pa.array([1, None]), [1, None]),
        (pa.array([1.5, float("nan"), float("-inf")]), [1.5, None, None]),
        (pa.array([True, None]), [True, None]),
        (pa.array([dt.date(2024, 1, 31)]), ["2024-01-31"]),
        (pa.array([decimal.Decimal("1.50")]), [1.5]),
        (
            pa.array([{"a": [{"b": float("nan")}]}, {"a": None}, None]),
            [{"a": [{"b": None}]}, {"a": None}, None],
        ),
        (
            pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
            [[1, 2], None, [3, 4]],
        ),
        (
            pa.array([[(1, "x")], None, [], [(2, None)]], pa.map_(pa.int8(), pa.string())),
            [{"1": "x"}, None, {}, {"2": None}],
        ),
        (pa.array([["a"], [], ["b", "c"]], pa.large_list(pa.string())), [["a"], [], ["b", "c"]]),
    ],
    ids=str,
)
def test_json_keeps_structure_and_never_has_nan(column: pa.Array, values: list[Any]) -> None:
    for start in range(len(values) + 1):
        found = msgspec.json.encode(json_of(column[start:]))
        assert json.loads(found) == values[start:]


def test_decimals_keep_their_digits_in_json() -> None:
    column = pa.array([decimal.Decimal("0.10000000000000000001")])
    assert msgspec.json.encode(json_of(column)) == b"[0.10000000000000000001]"


def test_a_uuid_is_no_binary() -> None:
    value = uuid.UUID(int=7)
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([value.bytes, None], pa.binary(16)))
    assert texts_of(column).to_pylist() == [str(value), None]
    assert not is_binary(column.type)
    assert is_binary(pa.binary(16))
    assert is_binary(pa.dictionary(pa.int8(), pa.large_binary()))


def test_numbers_are_told_from_texts() -> None:
    assert all(map(is_number, (pa.int8(), pa.float32(), pa.bool_(), pa.decimal128(3))))
    assert not any(map(is_number, (pa.string(), pa.date32(), pa.list_(pa.int8()))))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.1 + 0.2, "0.3"), (-2.5, "-2.5"), (1e22, "1e+22"), (12, "12"), (-0.0, "0")],
)
def test_a_number_is_shown_as_a_sheet_shows_it(value: float, text: str) -> None:
    assert plain_number(value) == text
