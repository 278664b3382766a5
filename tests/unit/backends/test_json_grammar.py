"""Grammars hold everything a schema says, or refuse the schema."""

import json
from typing import Any

import pytest

from nightkiln.backends.engines.json_grammar import UnknownSchema, grammar_of


def grammar(schema: Any) -> str:
    return grammar_of(json.dumps(schema))


def test_an_object_keeps_its_order_and_leaves_out_only_what_may_be() -> None:
    properties = {"a": {"type": "integer"}, "b": {"type": "null"}, "c": {"const": 'x"y'}}
    text = grammar({"type": "object", "properties": properties, "required": ["b"]})
    assert text.startswith("root ::= r")
    assert '"\\"b\\"" ": " null' in text
    assert '\\\\\\"y' in text


def test_white_space_is_one_space_and_nowhere_repeated() -> None:
    properties = {"a": {"enum": ["x", "y"]}, "b": {"type": "array", "items": {"type": "number"}}}
    text = grammar({"type": "object", "properties": properties, "required": ["a", "b"]})
    assert "[ \\t\\n]*" not in text
    assert '", "' in text


def test_a_schema_may_refer_to_itself() -> None:
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
        "required": ["next"],
    }
    text = grammar({"$ref": "#/$defs/node", "$defs": {"node": node}})
    assert "n0 ::= " in text


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"type": "string", "pattern": "^a"},
        {"type": "integer", "minimum": 3},
        {"type": "object"},
        {"type": "array"},
        {"$ref": "http://elsewhere/x"},
        {"allOf": [{"type": "null"}]},
        {"enum": []},
        True,
    ],
)
def test_what_is_not_known_is_never_ignored(schema: Any) -> None:
    with pytest.raises(UnknownSchema):
        grammar(schema)
