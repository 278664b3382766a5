"""What is wrong with a request, in the shape of Anthropic's messages: a path, then a reason. Pure.

Anthropic names a place by its keys with dots between them (`requests.0.custom_id`),
and inside a block by the block's type as well (`messages.0.content.1.text.text`).
Values are never repeated: they may be a prompt.
"""

import re
from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

import msgspec

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.wire.redact import excerpt

INVALID: Final = "invalid_params"
UNSUPPORTED: Final = "unsupported_params"
REQUIRED: Final = "Field required"
EXTRA: Final = "Extra inputs are not permitted"

Json: TypeAlias = bytes | memoryview | msgspec.Raw
T = TypeVar("T")

_FIELD: Final = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
_TYPE: Final = re.compile(r"Expected `([^`]+)`, got `[^`]+`")
_BOUND: Final = re.compile(r"Expected `(?:int|float)` (>=|<=) (\S+)")
_LENGTH: Final = re.compile(r"Expected `(\w+)` of length (>=|<=) (\d+)")
_AT: Final = re.compile(r" - at `\$(.*?)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_KINDS: Final = {
    "array": "a valid list",
    "bool": "a valid boolean",
    "float": "a valid number",
    "int": "a valid integer",
    "object": "a valid dictionary",
    "str": "a valid string",
}
_SIGNS: Final = {">=": "greater than or equal to", "<=": "less than or equal to"}
_FEWEST: Final = {">=": "at least", "<=": "at most"}
_UNITS: Final = {"str": ("String", "character"), "array": ("List", "item")}


class Refused(Exception):
    """A part of a request that cannot be taken. It never leaves this package."""

    def __init__(self, at: str, why: str, *, code: str = INVALID) -> None:
        super().__init__(f"{at}: {why}" if at else why)
        self.code = code

    @property
    def fault(self) -> Fault:
        """The same as a value: the fault of a row that is never asked."""
        return Fault(
            kind=FaultClass.PERMANENT, code=self.code, message=excerpt(str(self)), sent=False
        )


def unsupported(at: str, why: str) -> Refused:
    """For what Anthropic would take and we cannot say; `why` says what to do instead."""
    return Refused(at, why, code=UNSUPPORTED)


def decoded(decode: Callable[[Json], T], raw: Json, at: str) -> T:
    """What the JSON at a place holds. Raises Refused, naming the place inside it."""
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        place, why = reason_of(problem)
        raise Refused(joined(at, place), why) from problem


def joined(*steps: str) -> str:
    """A path from its steps; empty ones are left out."""
    return ".".join(step for step in steps if step)


def reason_of(problem: Exception) -> tuple[str, str]:
    """Where and why JSON did not decode, in Anthropic's words. The place may be empty."""
    if isinstance(problem, RecursionError):
        return "", "The JSON is nested too deeply"
    if not isinstance(problem, msgspec.ValidationError):
        return "", "The JSON could not be read"
    text = str(problem)
    found = _AT.search(text)
    place = _dotted(found[1]) if found else ""
    text = text[: found.start()] if found else text
    if field := _FIELD.fullmatch(text):
        missing = field[1].startswith("missing")
        return joined(place, field[2][:80]), REQUIRED if missing else EXTRA
    return place, _reason(text)


def _dotted(path: str) -> str:
    return ".".join(name or index for name, index in _STEP.findall(path))


def _reason(text: str) -> str:
    if kind := _TYPE.fullmatch(text):
        names = [name for name in kind[1].split(" | ") if name != "null"]
        return "Input should be " + " or ".join(_KINDS.get(name, name) for name in names)
    if bound := _BOUND.fullmatch(text):
        return f"Input should be {_SIGNS[bound[1]]} {bound[2].removesuffix('.0')}"
    if length := _LENGTH.fullmatch(text):
        thing, unit = _UNITS.get(length[1], ("Input", "item"))
        plural = unit if length[3] == "1" else unit + "s"
        return f"{thing} should have {_FEWEST[length[2]]} {length[3]} {plural}"
    return "Input is not valid"
