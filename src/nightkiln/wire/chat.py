"""OpenAI chat completions: how a prompt becomes a request body. Pure.

Everything that is the same for all rows of a job is encoded once. A row costs
the encoding of its own text and one concatenation; messages that came as JSON
are passed through as bytes and never written again.
"""

import math
from typing import Final

import msgspec

from nightkiln.core.errors import UsageError
from nightkiln.core.job import Sampling
from nightkiln.core.request import Prompt
from nightkiln.wire.structured import response_format

PATH: Final = "/chat/completions"

_RESERVED: Final = {
    "model": "give the model with --model",
    "messages": "rows become messages by --column, --prompt or --messages",
    "stream": "answers are taken whole",
    "stream_options": "answers are taken whole",
}
_SPACE: Final = b" \t\r\n"
_encode: Final = msgspec.json.Encoder().encode


class ChatEncoder:
    """Turns one job's rows into request bodies. Raises UsageError for settings it cannot say."""

    __slots__ = ("_raw_head", "_text_head")

    def __init__(
        self, model: str, system: str | None, sampling: Sampling, schema: bytes | None = None
    ) -> None:
        fields = {"model": _encode(model), **_asked(sampling), **_extras(sampling)}
        if schema is not None:
            if "response_format" in fields:
                raise UsageError(
                    "--param response_format is given by --schema as well", hint="keep one of them"
                )
            fields["response_format"] = response_format(schema)
        settings = b",".join(_encode(name) + b":" + value for name, value in fields.items())
        first = b"" if system is None else _encode({"role": "system", "content": system}) + b","
        self._raw_head = b"{" + settings + b',"messages":[' + first
        self._text_head = self._raw_head + b'{"role":"user","content":'

    def encode(self, prompt: Prompt) -> bytes:
        """The body for one row: a text is one user message, Raw a JSON list of messages."""
        if isinstance(prompt, str):
            return b"%b%b}]}" % (self._text_head, _encode(prompt))
        messages = bytes(prompt).strip(_SPACE)
        if messages[:1] != b"[" or messages[-1:] != b"]":
            raise UsageError("messages must be a JSON list of {role, content} objects")
        rest = messages[1:-1].strip(_SPACE)
        if not rest:
            raise UsageError("messages must hold at least one message")
        return b"%b%b]}" % (self._raw_head, rest)


def _asked(sampling: Sampling) -> dict[str, bytes]:
    if sampling.temperature is not None and not math.isfinite(sampling.temperature):
        raise UsageError(f"--temperature must be a number, not {sampling.temperature}")
    asked = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
    }
    return {name: _encode(value) for name, value in asked.items() if value is not None}


def _extras(sampling: Sampling) -> dict[str, bytes]:
    asked = _asked(sampling)
    extras: dict[str, bytes] = {}
    for name, raw in sampling.extra.items():
        if name in _RESERVED:
            raise UsageError(f"--param {name} cannot be set", hint=_RESERVED[name])
        if name in asked:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"--param {name} is given by {flag} as well", hint="keep one of them")
        extras[name] = _checked(name, bytes(raw))
    return extras


def _checked(name: str, value: bytes) -> bytes:
    try:
        meant: object = msgspec.json.decode(value)
    except (ValueError, RecursionError) as problem:
        raise UsageError(f"--param {name} is not JSON: {problem}") from problem
    if name == "n" and meant != 1:
        raise UsageError("--param n must be 1", hint="one row has one answer")
    return value
