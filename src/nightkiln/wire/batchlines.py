"""The lines of OpenAI's batch files, in and out: what each holds, and how it is written. Pure.

A line that comes in names a route and carries a whole body. A line that goes out
has the raw reply of a row, or the reason why there is none: an HTTP failure with
its status and body and an `error` beside it, anything else with an `error` alone.
"""

from typing import Final, NamedTuple

import msgspec

from nightkiln.core.fault import FaultClass
from nightkiln.core.job import BatchHead, Task
from nightkiln.wire.tasks import DIALECTS

METHOD: Final = "POST"
KEYS: Final = ("custom_id", "method", "url", "body")
URLS: Final = {"/v1" + dialect.path: task for task, dialect in DIALECTS.items()}
"""The routes that a batch may ask, and the kind of request each is."""

_KNOWN: Final = ", ".join(URLS)
_NULL: Final = b"null"
_SHOWN: Final = 100  # characters of a name in a message
_encode: Final = msgspec.json.Encoder().encode


class Wrong(NamedTuple):
    """What is wrong with a line, in OpenAI's words where it has some."""

    code: str
    message: str
    param: str | None = None


class _Body(msgspec.Struct, gc=False):
    model: str | None = None
    stream: bool | None = None


class BatchLine(msgspec.Struct, gc=False):
    """A line that came in, as far as it is looked at."""

    custom_id: str
    method: str
    url: str
    body: _Body


class _Refused(msgspec.Struct, gc=False):
    code: str
    message: str


class _OwnLine(BatchLine, gc=False):
    """A line that we wrote ourselves; of a request that cannot be said it has the reason."""

    refused: _Refused | None = None


_decode_line: Final = msgspec.json.Decoder(BatchLine).decode
_decode_own_line: Final = msgspec.json.Decoder(_OwnLine).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def has_batch_keys(text: bytes | str) -> bool:
    """True for a JSON object with the four keys of a batch line."""
    try:
        fields = _decode_fields(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return all(key in fields for key in KEYS)


def read_line(text: bytes | str, head: BatchHead) -> BatchLine | Wrong:
    """A line that is an object, if it is one of the file that `head` describes."""
    try:
        line = _decode_own_line(text) if head.translated else _decode_line(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _misshapen(text)
    if isinstance(line, _OwnLine) and line.refused is not None:
        return Wrong(line.refused.code, line.refused.message)
    return _refused(line) or _mismatch(line, head) or line


def _refused(line: BatchLine) -> Wrong | None:
    """What no batch may ask."""
    if not line.custom_id:
        return Wrong("invalid_value", "the custom_id is empty", "custom_id")
    if line.method != METHOD:
        return Wrong("invalid_method", f"the method has to be {METHOD}", "method")
    if line.url not in URLS:
        return Wrong("invalid_url", f"the url is none of {_KNOWN}", "url")
    if line.body.stream:
        return Wrong("streaming_unsupported", "answers of a batch are not streamed", "body.stream")
    return None


def _mismatch(line: BatchLine, head: BatchHead) -> Wrong | None:
    """What this batch does not ask."""
    body = line.body
    if head.url and line.url != head.url:
        return Wrong("url_mismatch", f"the url is not {head.url}, as in the lines before", "url")
    if head.model is not None and body.model != head.model:
        return _other_model(body, head.model)
    if head.unserved:
        named = (head.model or "")[:_SHOWN]
        return Wrong("model_not_found", f"the model '{named}' is not supported here", "body.model")
    return None


def _other_model(body: _Body, expected: str) -> Wrong:
    if body.model is None:
        return _missing("body.model")
    return Wrong(
        "model_mismatch", f"the model is not {expected}, as in the lines before", "body.model"
    )


def _missing(param: str) -> Wrong:
    return Wrong("missing_required_parameter", f"the line has no {param}", param)


def _misshapen(text: bytes | str) -> Wrong:
    """What keeps an object from being a batch line; the slow way, for few lines come here."""
    try:
        fields = _decode_fields(text)
        inner = _decode_fields(fields["body"]) if bytes(fields.get("body", b""))[:1] == b"{" else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Wrong("invalid_json_line", "the line is no JSON object")
    for key in KEYS:
        raw = bytes(fields.get(key, b""))
        if raw in (b"", _NULL):
            return _missing(key)
        kind, opening = ("an object", b"{") if key == "body" else ("a string", b'"')
        if raw[:1] != opening:
            return Wrong("invalid_type", f"the {key} is not {kind}", key)
    wrong = "model" if bytes(inner.get("model", _NULL))[:1] not in (b'"', b"n") else "stream"
    return Wrong("invalid_type", f"the body's {wrong} is of the wrong type", f"body.{wrong}")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a row, as a line is made from it."""

    id: str  # batch_req_…
    custom_id: str | None
    request_id: str = ""
    status: int | None = None  # of HTTP; None: there was no reply
    body: bytes | None = None  # the raw reply
    fault: FaultClass | None = None  # None: the row has a result
    code: str = ""
    message: str = ""

    @property
    def is_reply(self) -> bool:
        """True for a row with a reply that succeeded as far as HTTP goes."""
        return self.status == _OK and self.body is not None


_OK: Final = 200
_EXPIRED: Final = "This request could not be executed before the completion window expired."
_CANCELLED: Final = "This request was not executed before the batch was cancelled."
_CODES: Final = {"timeout": "request_timeout"}


def line_of(outcome: Outcome) -> bytes:
    """The line of a row, with its line end."""
    response, error, body = _NULL, _NULL, outcome.body
    if not outcome.is_reply:
        code, message = _error(outcome)
        error = _encode({"code": code, "message": message})
        if body is None and outcome.status != _OK:  # too large to keep
            said = {"message": message, "type": None, "param": None, "code": code}
            body = _encode({"error": said})
    if outcome.status is not None and body is not None:
        response = b'{"status_code":%d,"request_id":%b,"body":%b}' % (
            outcome.status,
            _encode(outcome.request_id),
            _one_line(body),
        )
    return b'{"id":%b,"custom_id":%b,"response":%b,"error":%b}\n' % (
        _encode(outcome.id),
        _encode(outcome.custom_id),
        response,
        error,
    )


def _error(outcome: Outcome) -> tuple[str, str]:
    match outcome.fault:
        case FaultClass.EXPIRED:
            return "batch_expired", _EXPIRED
        case FaultClass.CANCELLED:
            return "batch_cancelled", _CANCELLED
        case _:
            return _CODES.get(outcome.code, outcome.code), outcome.message or outcome.code


def _one_line(body: bytes) -> bytes:
    """A body that is JSON, without line breaks; one that is no JSON as a string."""
    try:
        if b"\n" in body or b"\r" in body:
            return msgspec.json.format(body, indent=-1)
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _encode(body.decode("utf-8", "replace"))
    return body


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A row's result where no raw reply was kept."""

    text: str
    finish_reason: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""


def body_of(task: Task, row: str, answered: Answered) -> bytes:
    """What OpenAI would have replied: for backends that have no reply of their own."""
    said = answered
    if task is Task.EMBEDDING:
        vector = {"object": "embedding", "index": 0, "embedding": msgspec.Raw(said.text.encode())}
        usage = {"prompt_tokens": said.input_tokens, "total_tokens": said.input_tokens}
        return _encode({"object": "list", "data": [vector], "model": said.model, "usage": usage})
    message = {"role": "assistant", "content": said.text, "refusal": None}
    finish = said.finish_reason or "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return _encode(
        {
            "id": f"chatcmpl-{row}",
            "object": "chat.completion",
            "created": 0,
            "model": said.model,
            "choices": [choice],
            "usage": {
                "prompt_tokens": said.input_tokens,
                "completion_tokens": said.output_tokens,
                "total_tokens": said.input_tokens + said.output_tokens,
            },
        }
    )
