"""Reads the fields of a JSON body or a form and says exactly what is wrong with one. Pure.

Every reader raises `Refused` with OpenAI's code for the mistake; the functions
that callers know turn that into a value. A message names the field, what came
and what would have been taken.
"""

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

import msgspec

from nightkiln.wire.openai.refusals import Refused, refused, shown

Fields: TypeAlias = Mapping[str, object]

EXPIRY_LEAST_S: Final = 3600
EXPIRY_MOST_S: Final = 2_592_000  # 30 days
_ANCHOR: Final = "created_at"
_decode: Final = msgspec.json.Decoder(dict[str, object]).decode


def object_of(body: bytes) -> dict[str, object]:
    """The object that a body is."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise refused(
            "The body has to be a JSON object, and could not be read as one.", param=None, code=None
        ) from None


def only(fields: Fields, known: Collection[str], *, within: str = "") -> None:
    """Refuse a field that nobody reads: a misspelt one would be ignored in silence."""
    for name in fields:
        if name not in known:
            param = within + name
            raise refused(
                f"Unknown parameter {shown(param)}; known are {listed(known)}.",
                param=param,
                code="unknown_parameter",
            )


def text(fields: Fields, name: str, *, within: str = "") -> str:
    """A string that has to be there and not empty."""
    found = optional_text(fields, name, within=within)
    if found is None:
        raise missing(within + name)
    if not found:
        raise refused(f"{within}{name} is empty.", param=within + name, code="invalid_value")
    return found


def optional_text(fields: Fields, name: str, *, within: str = "") -> str | None:
    """A string, if there is one."""
    found = fields.get(name)
    if found is not None and not isinstance(found, str):
        raise mistyped(within + name, "a string", found)
    return found


def whole(fields: Fields, name: str, *, within: str = "", least: int, most: int) -> int | None:
    """A whole number between two bounds, if there is one. Forms say it in digits."""
    found = fields.get(name)
    if found is None:
        return None
    param = within + name
    if isinstance(found, str) and found.isascii() and found.removeprefix("-").isdecimal():
        found = int(found[:20])
    if not isinstance(found, int) or isinstance(found, bool):
        raise mistyped(param, "a whole number", found)
    if not least <= found <= most:
        code = "integer_below_min_value" if found < least else "integer_above_max_value"
        raise refused(
            f"{param} is {found}; it has to be between {least} and {most}.", param=param, code=code
        )
    return found


def amount(fields: Fields, name: str, *, within: str = "") -> float | None:
    """A number above zero, if there is one."""
    found, param = fields.get(name), within + name
    if found is None:
        return None
    if isinstance(found, str):
        try:
            found = float(found)
        except ValueError:
            raise mistyped(param, "a number", found) from None
    if not isinstance(found, int | float) or isinstance(found, bool):
        raise mistyped(param, "a number", found)
    if not 0 < found < float("inf"):
        raise refused(f"{param} has to be above 0.", param=param, code="invalid_value")
    return float(found)


def inner(fields: Fields, name: str) -> Fields | None:
    """An object, if there is one."""
    found = fields.get(name)
    if found is not None and not isinstance(found, dict):
        raise mistyped(name, "an object", found)
    return found


def one_of(fields: Fields, name: str, supported: Collection[str]) -> str:
    """A string that has to be one of a few."""
    found = fields.get(name)
    if found is None:
        raise missing(name)
    if not isinstance(found, str):
        raise mistyped(name, "a string", found)
    if found not in supported:
        raise unsupported(name, found, supported)
    return found


def expiry(fields: Fields, name: str) -> int | None:
    """The seconds of an expiry policy, if there is one."""
    policy = inner(fields, name)
    if policy is None:
        return None
    within = f"{name}."
    only(policy, ("anchor", "seconds"), within=within)
    anchor = text(policy, "anchor", within=within)
    if anchor != _ANCHOR:
        raise unsupported(f"{within}anchor", anchor, (_ANCHOR,))
    seconds = whole(policy, "seconds", within=within, least=EXPIRY_LEAST_S, most=EXPIRY_MOST_S)
    if seconds is None:
        raise missing(f"{within}seconds")
    return seconds


def missing(param: str) -> Refused:
    """A field that has to be there and is not."""
    return refused(
        f"Missing required parameter '{param}'.", param=param, code="missing_required_parameter"
    )


def mistyped(param: str, expected: str, found: object) -> Refused:
    """A field that is something else than it has to be."""
    return refused(
        f"Invalid type for '{param}': it has to be {expected}, and is {_kind(found)}.",
        param=param,
        code="invalid_type",
    )


def unsupported(param: str, found: str, supported: Collection[str]) -> Refused:
    """A field with a value that is not taken."""
    return refused(
        f"Invalid value {shown(found)} for '{param}'. Supported values are: {listed(supported)}.",
        param=param,
        code="invalid_value",
    )


def listed(names: Collection[str]) -> str:
    """Names in a sentence."""
    return ", ".join(f"'{name}'" for name in names)


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return f"the string {shown(value)}"
        case list():
            return "an array"
        case _:
            return "an object"
