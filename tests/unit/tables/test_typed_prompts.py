"""Typed columns in prompts: one plain text for every value, and none for bytes."""

import datetime as dt

import pyarrow as pa
import pytest

from nightkiln.core.errors import InputError
from nightkiln.core.job import PromptSpec
from nightkiln.tables.prompts import Renderer

TABLE = pa.table(
    {
        "s": pa.array(["x", None], pa.large_string()),
        "k": pa.array(["red", "red"]).dictionary_encode(),
        "i": [1, None],
        "f": [2.0, 0.5],
        "b": [True, False],
        "d": [dt.date(2024, 1, 31), None],
        "t": pa.array([0, 1], pa.timestamp("ms", "UTC")),
        "l": [[1, 2], []],
        "m": [{"a": None, "b": "ü"}, None],
        "raw": [b"\xff", b""],
    }
)


def prompts(template: str) -> list[object]:
    renderer = Renderer(PromptSpec(template=template), TABLE.column_names, "parquet")
    renderer.flaws(TABLE)
    return list(renderer.prompts(TABLE))


def test_every_type_has_its_plain_text() -> None:
    assert prompts("{s}|{k}|{i}|{f}|{b}|{d}|{t}|{l}|{m}") == [
        'x|red|1|2|true|2024-01-31|1970-01-01T00:00:00Z|[1,2]|{"a":null,"b":"ü"}',
        "|red||0.5|false||1970-01-01T00:00:00.001Z|[]|",
    ]


def test_bytes_in_a_prompt_are_an_error_that_names_the_column() -> None:
    assert prompts("{i}") == ["1", ""]
    with pytest.raises(InputError, match=r'the column "raw" holds bytes \(binary\)'):
        prompts("{i} {raw}")


def test_messages_may_be_structures() -> None:
    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    table = pa.table({"m": pa.array([[{"role": "user", "content": "hi"}], []], kind)})
    renderer = Renderer(PromptSpec(messages_column="m"), ("m",), "parquet")
    assert list(renderer.flaws(table)) == [1]
    (prompt,) = renderer.prompts(table.slice(0, 1))
    assert bytes(prompt) == b'[{"role":"user","content":"hi"}]'  # type: ignore[arg-type]
