"""OpenAI chat completions: how a prompt becomes a request body. Pure.

Everything that is the same for all rows of a job is encoded once. A row costs
the encoding of its own text and one concatenation; messages that came as JSON
are passed through as bytes and never written again.
"""

from typing import Final

import msgspec

from nightkiln.core.errors import UsageError
from nightkiln.core.job import Sampling
from nightkiln.core.request import Prompt, WireBody
from nightkiln.wire.passing import body_for
from nightkiln.wire.sampling import RESERVED, ROWS, encode, fields_of, head_of
from nightkiln.wire.structured import response_format

PATH: Final = "/chat/completions"

_RESERVED: Final = {**RESERVED, "messages": ROWS.format("messages")}
_SPACE: Final = b" \t\r\n"


class ChatEncoder:
    """Turns one job's rows into request bodies. Raises UsageError for settings it cannot say."""

    __slots__ = ("_model", "_raw_head", "_text_head")

    def __init__(
        self, model: str, system: str | None, sampling: Sampling, schema: bytes | None = None
    ) -> None:
        self._model = encode(model)
        fields = {"model": self._model, **fields_of(sampling, reserved=_RESERVED)}
        if schema is not None:
            if "response_format" in fields:
                raise UsageError(
                    "--param response_format is given by --schema as well", hint="keep one of them"
                )
            fields["response_format"] = response_format(schema)
        first = b"" if system is None else encode({"role": "system", "content": system}) + b","
        self._raw_head = head_of(fields) + b'"messages":[' + first
        self._text_head = self._raw_head + b'{"role":"user","content":'

    def encode(self, prompt: Prompt) -> bytes:
        """The body for one row: a text is one user message, Raw a JSON list of messages."""
        if isinstance(prompt, str):
            return b"%b%b}]}" % (self._text_head, encode(prompt))
        if isinstance(prompt, WireBody):
            return body_for(prompt, self._model)
        return b"%b%b]}" % (self._raw_head, inside_of(prompt))


def inside_of(messages: msgspec.Raw) -> bytes:
    """What stands between the brackets of a list of messages. Raises UsageError."""
    text = bytes(messages).strip(_SPACE)
    if text[:1] != b"[" or text[-1:] != b"]":
        raise UsageError("messages must be a JSON list of {role, content} objects")
    rest = text[1:-1].strip(_SPACE)
    if not rest:
        raise UsageError("messages must hold at least one message")
    return rest
