"""OpenAI responses: how a prompt becomes a request body, and what a 200 really says. Pure.

We keep nothing at the provider unless asked (`store` is theirs to default, ours
is false), and take answers whole. A reply is a list of items; its text is what
the assistant's messages say, else its tool calls as the JSON they came in.
"""

from typing import Final

import msgspec

from nightkiln.core.answer import Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault
from nightkiln.core.job import Sampling
from nightkiln.core.request import Prompt, WireBody
from nightkiln.core.usage import Usage
from nightkiln.wire.chat import inside_of
from nightkiln.wire.mishaps import NOTHING, broken, undecodable, used_up, withheld
from nightkiln.wire.passing import body_for
from nightkiln.wire.sampling import RESERVED, ROWS, encode, fields_of, head_of
from nightkiln.wire.structured import text_format
from nightkiln.wire.tokencounts import sensible

PATH: Final = "/responses"
_RESERVED: Final = {
    **RESERVED,
    "background": "answers are waited for",
    "input": ROWS.format("the input"),
    "instructions": "give them with --system",
}
_NAMES: Final = {"max_tokens": "max_output_tokens", "temperature": "temperature"}


class ResponseEncoder:
    """Turns one job's rows into request bodies. Raises UsageError for settings it cannot say."""

    __slots__ = ("_head", "_model")

    def __init__(
        self, model: str, system: str | None, sampling: Sampling, schema: bytes | None = None
    ) -> None:
        self._model = encode(model)
        said = fields_of(sampling, reserved=_RESERVED, names=_NAMES)
        fields = {"model": self._model, **said}
        fields.setdefault("store", b"false")
        if system is not None:
            fields["instructions"] = encode(system)
        if schema is not None:
            if "text" in fields:
                raise UsageError(
                    "--param text is given by --schema as well", hint="keep one of them"
                )
            fields["text"] = text_format(schema)
        self._head = head_of(fields) + b'"input":'

    def encode(self, prompt: Prompt) -> bytes:
        """The body for one row: a text is the input, and so is a JSON list of messages."""
        if isinstance(prompt, str):
            return b"%b%b}" % (self._head, encode(prompt))
        if isinstance(prompt, WireBody):
            return body_for(prompt, self._model)
        return b"%b[%b]}" % (self._head, inside_of(prompt))


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct):
    type: str = ""
    content: list[_Part] | None = None


class _Reason(msgspec.Struct):
    reason: str | None = None


class _Cached(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Cached | None = None


class _Response(msgspec.Struct):
    output: list[msgspec.Raw] | None = None
    status: str | None = None
    incomplete_details: _Reason | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode: Final = msgspec.json.Decoder(_Response).decode
_decode_item: Final = msgspec.json.Decoder(_Item).decode
_FINISHED: Final = {"completed": "stop", None: "stop"}
_LIMIT: Final = "max_output_tokens"


def parse_response(body: bytes, *, keep_body: bool = False) -> Reply | Fault:
    """The reply in the body of a 200, or the fault it is instead. Never raises."""
    try:
        response = _decode(body)
        if bytes(response.error) not in NOTHING:
            return broken("error_in_200", bytes(response.error))
        if response.output is None:
            return broken("no_output", body)
        items = [(raw, _decode_item(raw)) for raw in response.output]
        finish = _finish(response, body)
        if isinstance(finish, Fault):
            return finish
        text = _said(items, finish, body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        return undecodable(problem, body)
    if isinstance(text, Fault):
        return text
    return Reply(
        text=text,
        finish_reason=finish,
        usage=_usage(response.usage),
        model=response.model or "",
        body=body if keep_body else None,
    )


def _finish(response: _Response, body: bytes) -> str | Fault:
    """The reason it ended, in the words of chats; a fault when it has not ended well."""
    if response.status in _FINISHED:
        return _FINISHED[response.status]
    if response.status != "incomplete":
        return broken("not_completed", body)
    details = response.incomplete_details
    reason = "" if details is None else details.reason or ""
    if reason == "content_filter":
        return withheld("content_filter", "the output was stopped by a content filter")
    return "length" if reason == _LIMIT else reason or "incomplete"


def _said(items: list[tuple[msgspec.Raw, _Item]], finish: str, body: bytes) -> str | Fault:
    """The text of all messages, or the calls that stand in for it."""
    parts = [part for _, item in items if item.type == "message" for part in item.content or ()]
    if refusal := "".join(part.refusal or "" for part in parts):
        return withheld("refusal", refusal)
    if text := "".join(part.text or "" for part in parts):
        return text
    calls = [bytes(raw) for raw, item in items if item.type.endswith("_call")]
    if calls:
        return (b"[" + b",".join(calls) + b"]").decode()
    return used_up() if finish == "length" else broken("empty_content", body)


def _usage(counts: _Usage | None) -> Usage:
    if counts is None:
        return Usage()
    details = counts.input_tokens_details
    cached = 0 if details is None else details.cached_tokens or 0
    return sensible(counts.input_tokens or 0, cached, counts.output_tokens or 0)
