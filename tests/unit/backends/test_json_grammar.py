"""What follows a grammar is JSON of the schema's shape; any other schema is refused.

The grammars are followed at random by a small reader of their language, so that
no model is needed to see what one could write.
"""

import json
from decimal import Decimal
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nightkiln.backends.engines.json_grammar import UnknownSchema, grammar_of

from .ebnf import Grammar


def grammar(schema: Any) -> str:
    return grammar_of(json.dumps(schema))


def said(schema: Any, *, times: int = 60) -> list[str]:
    """Some texts that follow the grammar of a schema."""
    rules = Grammar(grammar(schema))
    return [rules.text(seed) for seed in range(times)]


def fits(schema: Any, text: str) -> bool:
    return bool(jsonschema_rs.is_valid(schema, msgspec.json.decode(text)))


def thing(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def test_an_object_keeps_its_order_and_leaves_out_only_what_may_be() -> None:
    properties = {"a": {"type": "integer"}, "b": {"type": "null"}, "c": {"const": 'x"y'}}
    found = {
        tuple(json.loads(text))
        for text in said({"type": "object", "properties": properties, "required": ["b"]})
    }
    assert found == {("b",), ("a", "b"), ("b", "c"), ("a", "b", "c")}


ORDINARY: dict[str, Any] = {
    "bounds": thing(n={"type": "integer", "minimum": 3, "maximum": 41}),
    "a bound below": thing(n={"type": "integer", "exclusiveMinimum": -2}),
    "fractions": thing(x={"type": "number", "minimum": 0.25, "maximum": 1}),
    "fractions around zero": thing(x={"type": "number", "minimum": -1.5, "exclusiveMaximum": 2}),
    "a format": thing(when={"type": "string", "format": "date"}, kind={"enum": ["a", "b"]}),
    "a map": thing(counts={"type": "object", "additionalProperties": {"type": "integer"}}),
    "a map of few": {"additionalProperties": {"enum": [1]}, "minProperties": 1},
    "keys by pattern": {"type": "object", "patternProperties": {"^x_[a-z]$": {"type": "null"}}},
    "whole floats": thing(a={"type": "string", "minLength": 1.0, "maxLength": 4.0}),
    "types": {"type": ["integer", "null", "string"], "maxLength": 3, "minimum": 7},
    "things in lists": {
        "type": "array",
        "minItems": 1,
        "maxItems": 3,
        "items": thing(a={"type": "array", "items": {"type": "boolean"}}),
    },
    "values of all types": thing(v={"enum": [1, 2.5, None, True, "z\n", [1, {"k": "é"}]]}),
    "const": {"const": {"a": [1, "x"]}},
    "anyOf": {"anyOf": [thing(a={"type": "integer"}), {"type": "array", "maxItems": 0}]},
    "oneOf": {"oneOf": [{"type": "integer", "maximum": 3}, {"type": "integer", "minimum": 5}]},
    "anyOf beside": {
        **thing(kind={"type": "string", "maxLength": 2}),
        "anyOf": [{"required": ["kind"]}, {"properties": {"n": {"type": "null"}}}],
    },
    "allOf": {"allOf": [thing(a={"type": "integer"}), thing(a={"minimum": 5}, b={"const": 1})]},
    "a reference": {
        **thing(a={"$ref": "#/$defs/x~1y", "description": "it"}),
        "$defs": {"x/y": {"type": "integer", "minimum": 0}},
    },
    "a reference with more": {
        **thing(a={"$ref": "#/$defs/n", "maximum": 3}),
        "$defs": {"n": {"type": "integer", "minimum": 0}},
    },
    "itself": {
        **thing(v={"type": "null"}),
        "properties": {"v": {"type": "null"}, "c": {"$ref": "#"}},
    },
    "itself in lists": {
        "$ref": "#/$defs/n",
        "$defs": {"n": thing(kids={"type": "array", "items": {"$ref": "#/$defs/n"}})},
    },
    "tuple": {
        "type": "array",
        "prefixItems": [{"type": "integer"}, {"type": "null"}, {"type": "boolean"}],
        "minItems": 1,
        "items": False,
    },
    "tuple and more": {
        "prefixItems": [{"type": "null"}],
        "items": {"const": 1},
        "minItems": 3,
        "type": "array",
    },
    "pattern": thing(code={"type": "string", "pattern": r"^[A-Z]{2}-\d{3,5}(\.x|\"y\\z)?$"}),
    "open pattern": {"type": "string", "pattern": "(ab|cd)+"},
    "no members": {"type": "object", "properties": {}, "additionalProperties": False},
    "a member nobody described": {"type": "object", "required": ["a"]},
    "anything": {},
    "an object": {"type": "object"},
    "an array": {"type": "array"},
    "notes": {"type": "boolean", "title": "t", "default": True, "x-own": 1, "$comment": "c"},
}


@pytest.mark.parametrize("name", ORDINARY)
def test_what_follows_the_grammar_fits_the_schema(name: str) -> None:
    schema = ORDINARY[name]
    for text in said(schema):
        assert fits(schema, text), text


@pytest.mark.parametrize("name", ORDINARY)
def test_white_space_is_one_space_and_nowhere_repeated(name: str) -> None:
    for text in said(ORDINARY[name]):
        bare = json.dumps(json.loads(text), ensure_ascii=False)
        blanks = sum(text.count(one) for one in " \n\t\r")
        assert blanks <= bare.count(" ") + text.count(", "), text


@pytest.mark.parametrize(("least", "most"), [(-12, 120), (0, 0), (7, 99), (-1005, -98), (95, 1203)])
def test_every_integer_within_bounds_can_be_said(least: int, most: int) -> None:
    schema = {"type": "integer", "minimum": least, "maximum": most}
    rules = Grammar(grammar(schema))
    for number in range(least - 30, most + 31):
        assert rules.takes(str(number)) is (least <= number <= most), number


@pytest.mark.parametrize("text", ["0.25", "0.250", "0.3", "0.9999", "1", "12", "12.4", "12.50"])
def test_every_fraction_within_bounds_can_be_said(text: str) -> None:
    rules = Grammar(grammar({"type": "number", "minimum": 0.25, "maximum": 12.5}))
    assert rules.takes(text) is (text != "12.50")
    assert not any(map(rules.takes, ("0.24", "0.1", "0", "12.51", "12.6", "13", "-1")))


def test_no_number_overflows_and_no_escape_names_half_a_character() -> None:
    rules = Grammar(grammar({"type": "array", "items": {"type": ["number", "string"]}}))
    for seed in range(400):
        text = rules.text(seed)
        json.dumps(msgspec.json.decode(text), ensure_ascii=False).encode()
    numbers = Grammar(grammar({"type": "number"}))
    assert numbers.takes("-12.5e-10")
    assert not numbers.takes("556666655566556565E565")
    strings = Grammar(grammar({"type": "string"}))
    assert strings.takes(r'"\u00e9\uFFFD\ud7ff"')
    assert not strings.takes(r'"\ud800"')
    assert not strings.takes(r'"\uDFFF"')


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "nonsense"}, "type 'nonsense'"),
        ({"type": "string", "pattern": "(?<=x)y"}, "pattern .*lookbehind"),
        ({"type": "string", "pattern": r"\bx"}, "pattern"),
        ({"type": "string", "pattern": "(["}, "pattern"),
        ({"$ref": "http://elsewhere/x"}, "http://elsewhere/x"),
        ({"$ref": "#/$defs/nope"}, "leads to no schema"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "nothing that ends"),
        (thing(a={"$ref": "#"}), "nothing that ends"),
        ({"enum": []}, "enum"),
        ({"enum": ["a"], "type": "integer"}, "enum"),
        ({"type": "string", "minLength": 5, "maxLength": 2}, "minLength 5 and maxLength 2"),
        ({"type": "integer", "minimum": 3.2, "maximum": 3.8}, "between its bounds"),
        ({"allOf": [{"type": "null"}, {"type": "string"}]}, "nothing is both"),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, "nothing fits"),
        (False, "nothing fits"),
        ({"type": "string", "minLength": 10**9}, "nothing that a model says"),
        ({"type": {"a": 1}}, "no JSON schema"),
    ],
)
def test_what_nothing_fits_or_no_grammar_says_is_refused_with_the_reason(
    schema: Any, why: str
) -> None:
    with pytest.raises(UnknownSchema, match=why):
        grammar(schema)


@pytest.mark.parametrize(
    ("least", "most"), [(0, 33), (0, 100), (40, None), (45, 45), (7, 120), (101, 250), (0, 200)]
)
def test_large_counts_are_exact(least: int, most: int | None) -> None:
    limits = {"minLength": least} | ({} if most is None else {"maxLength": most})
    rules = Grammar(grammar({"type": "string", **limits}))
    for count in (0, 1, 6, 7, 33, 34, 39, 40, 44, 45, 46, 100, 101, 120, 121, 200, 201, 250, 251):
        fitting = least <= count and (most is None or count <= most)
        assert rules.takes(f'"{"x" * count}"') is fitting, count


def test_a_large_count_is_a_small_grammar() -> None:
    large = grammar({"type": "string", "maxLength": 87_654})
    assert "{0,87654}" not in large
    assert large.count("\n") < 400


def numbered(word: str) -> st.SearchStrategy[dict[str, Any]]:
    bound = st.one_of(st.integers(-2000, 2000), st.decimals(-99, 99, places=2).map(float))
    return st.builds(
        lambda low, wide: {"type": word, "minimum": low, "maximum": low + wide + 1},
        bound,
        st.integers(0, 500),
    )


LEAVES = st.one_of(
    st.sampled_from([{"type": kind} for kind in ("string", "number", "integer", "null")]),
    numbered("integer"),
    numbered("number"),
    st.builds(
        lambda n, m: {"type": "string", "minLength": n, "maxLength": n + m},
        st.integers(0, 5),
        st.integers(0, 9),
    ),
    st.lists(
        st.one_of(st.text(max_size=5), st.integers(), st.none(), st.booleans()),
        min_size=1,
        max_size=4,
    ).map(lambda values: {"enum": values}),
    st.sampled_from([{"type": "string", "format": kind} for kind in ("date", "uuid", "email")]),
)


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.text(min_size=1, max_size=4)
    objects = st.dictionaries(names, inner, max_size=4).flatmap(
        lambda properties: st.builds(
            lambda needed, closed: {
                "type": "object",
                "properties": properties,
                "required": sorted(needed),
                "additionalProperties": not closed,
            },
            st.sets(st.sampled_from(sorted(properties))) if properties else st.just(set()),
            st.booleans(),
        )
    )
    arrays = st.builds(
        lambda items, least, more: {
            "type": "array",
            "items": items,
            "minItems": least,
            "maxItems": least + more,
        },
        inner,
        st.integers(0, 2),
        st.integers(0, 2),
    )
    maps = inner.map(lambda value: {"type": "object", "additionalProperties": value})
    unions = st.lists(inner, min_size=1, max_size=3).map(lambda choices: {"anyOf": choices})
    return st.one_of(objects, arrays, maps, unions)


@given(schema=st.recursive(LEAVES, grown, max_leaves=8), seed=st.integers(0, 2**32))
@example(schema={"type": "integer", "minimum": 0.03, "maximum": 2.0300000000000002}, seed=1)
@example(schema={"type": "number", "minimum": 1e-20, "maximum": 2.0300000000000002}, seed=1)
@settings(max_examples=250, deadline=None)
def test_whatever_the_schema_what_follows_its_grammar_fits_it(schema: Any, seed: int) -> None:
    text = Grammar(grammar(schema)).text(seed)
    assert fits(schema, text), text


@given(
    low=st.decimals(-30, 30, places=3),
    wide=st.decimals(0, 30, places=2),
    number=st.decimals(-70, 70, places=3),
)
@settings(max_examples=300, deadline=None)
def test_a_number_can_be_said_if_and_only_if_it_is_within_bounds(
    low: Decimal, wide: Decimal, number: Decimal
) -> None:
    high = low + wide
    rules = Grammar(grammar({"type": "number", "minimum": float(low), "maximum": float(high)}))
    for value in (number, low, high, round(number, 1), round(low, 1)):
        text = f"{float(value)!r}".removesuffix(".0").replace("-0", "-0" if value else "0")
        assert rules.takes(text) is (low <= value <= high), text
