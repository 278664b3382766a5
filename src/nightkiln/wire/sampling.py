"""A job's sampling as fields of a request body: what all of OpenAI's dialects share. Pure."""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from nightkiln.core.errors import UsageError
from nightkiln.core.job import Sampling

ROWS: Final = "rows become {} by --column, --prompt or --messages"
RESERVED: Final = {
    "model": "give the model with --model",
    "stream": "answers are taken whole",
    "stream_options": "answers are taken whole",
}
NAMES: Final = {"max_tokens": "max_tokens", "temperature": "temperature", "seed": "seed"}
"""What our settings are called on the wire; one that is missing cannot be said."""
encode: Final = msgspec.json.Encoder().encode


def fields_of(
    sampling: Sampling, *, reserved: Mapping[str, str], names: Mapping[str, str] = NAMES
) -> dict[str, bytes]:
    """The fields of a body by name, as JSON. Raises UsageError for what cannot be said."""
    fields = _asked(sampling, names)
    flags = {name: "--" + ours.replace("_", "-") for ours, name in names.items()}
    for name, raw in sampling.extra.items():
        if name in reserved:
            raise UsageError(f"--param {name} cannot be set", hint=reserved[name])
        if name in fields:
            raise UsageError(
                f"--param {name} is given by {flags[name]} as well", hint="keep one of them"
            )
        fields[name] = _checked(name, bytes(raw))
    return fields


def head_of(fields: Mapping[str, bytes]) -> bytes:
    """The beginning of a body: its fields, and a comma for what comes next."""
    return b"{" + b"".join(encode(name) + b":" + value + b"," for name, value in fields.items())


def _asked(sampling: Sampling, names: Mapping[str, str]) -> dict[str, bytes]:
    if sampling.temperature is not None and not math.isfinite(sampling.temperature):
        raise UsageError(f"--temperature must be a number, not {sampling.temperature}")
    asked = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
    }
    said = {name: value for name, value in asked.items() if value is not None}
    for name in said.keys() - names.keys():
        flag = "--" + name.replace("_", "-")
        raise UsageError(f"{flag} has no word in this kind of request", hint=f"leave out {flag}")
    return {names[name]: encode(value) for name, value in said.items()}


def _checked(name: str, value: bytes) -> bytes:
    try:
        meant: object = msgspec.json.decode(value)
    except (ValueError, RecursionError) as problem:
        raise UsageError(f"--param {name} is not JSON: {problem}") from problem
    if name in ("n", "best_of") and meant != 1:
        raise UsageError(f"--param {name} must be 1", hint="one row has one answer")
    return value
