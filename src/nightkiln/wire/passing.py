"""Bodies that came whole, as batch lines have them: sent as they are, or taken apart. Pure.

A body is somebody else's and stays theirs: only the model's name is replaced,
and only where it differs. Then the top-level fields are joined anew around their
own bytes, so every value keeps its digits, escapes and order of keys.
"""

from typing import Final

import msgspec

from nightkiln.core.errors import UsageError
from nightkiln.core.job import Sampling
from nightkiln.core.request import WireBody


class _Named(msgspec.Struct):
    model: msgspec.Raw = msgspec.Raw()


_decode_name: Final = msgspec.json.Decoder(_Named).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode
_SILENT: Final = frozenset(
    {
        "metadata",
        "model",
        "parallel_tool_calls",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)  # fields that change nothing about the text of an answer
_OFF: Final = {"n": b"1", "stream": b"false", "logprobs": b"false"}
_NULL: Final = b"null"


def body_for(body: WireBody, model: bytes) -> bytes:
    """The body asking this model (its name as JSON). Raises UsageError for what is no object."""
    try:
        if bytes(_decode_name(body.json).model) == model:
            return body.json
        fields = _decode_fields(body.json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise UsageError(f"the body is no JSON object: {problem}") from problem
    fields["model"] = msgspec.Raw(model)
    return b"{" + b",".join(_encode(name) + b":" + raw for name, raw in fields.items()) + b"}"


def chat_of(body: WireBody) -> tuple[msgspec.Raw, Sampling]:
    """The messages of a chat body, and everything it says about sampling.

    For backends with a dialect of their own. Raises UsageError for a body without messages.
    """
    try:
        fields = _decode_fields(body.json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise UsageError(f"the body is no JSON object: {problem}") from problem
    said = {name: raw for name, raw in fields.items() if bytes(raw) != _NULL}
    messages = said.pop("messages", None)
    if messages is None:
        raise UsageError("the body has no messages")
    for name in _SILENT:
        said.pop(name, None)
    for name, off in _OFF.items():
        if name in said and bytes(said[name]) == off:
            del said[name]
    if "max_completion_tokens" in said:
        said["max_tokens"] = said.pop("max_completion_tokens")
    limit, temperature = _number(said, "max_tokens"), _number(said, "temperature")
    seed = _number(said, "seed")
    return messages, Sampling(
        max_tokens=None if limit is None else int(limit),
        temperature=temperature,
        seed=None if seed is None else int(seed),
        extra={name: msgspec.Raw(bytes(raw)) for name, raw in said.items()},
    )


def _number(said: dict[str, msgspec.Raw], name: str) -> float | None:
    """Take a number out of the fields. Raises UsageError for what is none."""
    raw = said.pop(name, None)
    if raw is None:
        return None
    value: object = msgspec.json.decode(raw)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{name} of the body is no number")
    return value
