"""Two schemas that hold at once, as one. Pure.

What both say is narrowed to what fits both, as far as that is plain. Where it
is not, the first one's word stands, and whoever validates the answer holds it
to the other one as well: what comes out is never narrower than both together,
except that a member only one of them names is still named.
"""

from collections.abc import Callable
from typing import Any, Final


class Contradiction(ValueError):
    """Nothing fits both."""


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """One schema for both. Raises Contradiction."""
    both = dict(first)
    for word, value in second.items():
        both[word] = _joined(word, first[word], value) if word in first else value
    return both


def types_of(schema: dict[str, Any]) -> list[str]:
    """The types a schema names; none where it names none."""
    kind = schema.get("type", [])
    return list(kind) if isinstance(kind, list) else [kind]


def is_type(value: Any, kind: str) -> bool:
    """True when a value is of a type of JSON Schema."""
    if kind == "integer":
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return is_whole and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "null":
        return value is None
    python = {"string": str, "boolean": bool, "array": list, "object": dict}.get(kind)
    return python is not None and isinstance(value, python)


def _joined(word: str, first: Any, second: Any) -> Any:
    if first == second:
        return first
    join = _JOINS.get(word)
    return first if join is None else join(first, second)


def _types(first: Any, second: Any) -> list[str]:
    mine, theirs = types_of({"type": first}), types_of({"type": second})
    kinds = [kind for kind in mine if kind in theirs]
    kinds += [
        "integer"
        for one, other in ((mine, theirs), (theirs, mine))
        if "integer" in one and "number" in other and "integer" not in other
    ]
    if not kinds:
        raise Contradiction(f"nothing is both {first} and {second}")
    return kinds


def _values(first: list[Any], second: list[Any]) -> list[Any]:
    values = [value for value in first if value in second]
    if not values:
        raise Contradiction("two enums have nothing in common")
    return values


def _schemas(first: Any, second: Any) -> Any:
    if isinstance(first, dict) and isinstance(second, dict):
        return merged(first, second) if "$ref" not in {**first, **second} else _all(first, second)
    return False if first is False or second is False else first if second is True else second


def _all(first: Any, second: Any) -> dict[str, Any]:
    return {"allOf": [first, second]}


def _members(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    both = {name: _schemas(value, second.get(name, True)) for name, value in first.items()}
    return both | {name: value for name, value in second.items() if name not in first}


def _names(first: list[str], second: list[str]) -> list[str]:
    return [*first, *(name for name in second if name not in first)]


def _same(first: Any, second: Any) -> Any:
    raise Contradiction(f"nothing is both {first!r} and {second!r}")


_JOINS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "type": _types,
    "const": _same,
    "enum": _values,
    "properties": _members,
    "required": _names,
    "items": _schemas,
    "additionalProperties": _schemas,
    "allOf": lambda first, second: [*first, *second],
    **dict.fromkeys(("minimum", "exclusiveMinimum"), max),
    **dict.fromkeys(("minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum"), min),
    **dict.fromkeys(("maxLength", "maxItems", "maxProperties"), min),
}
