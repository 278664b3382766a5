"""OpenAI chat completions: what a 200 really says. Pure.

A 200 is not yet an answer. Gateways send HTML, proxies cut bodies, servers
report errors inside a success, models refuse. A body becomes a Reply only if
it holds text (or tool calls) that a model meant to say; all else is a fault.
"""

from typing import Final

import msgspec

from nightkiln.core.answer import Reply
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.usage import Usage
from nightkiln.wire.redact import excerpt, excerpt_of_bytes


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()


class _Choice(msgspec.Struct):
    message: _Message | None = None
    finish_reason: str | None = None


class _CachedTokens(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _CachedTokens | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode: Final = msgspec.json.Decoder(_Completion).decode
_NOTHING: Final = (b"", b"null", b"[]", b"{}", b'""', b"false")


def parse_reply(body: bytes, *, keep_body: bool = False) -> Reply | Fault:
    """The reply in the body of a 200, or the fault it is instead. Never raises."""
    try:
        completion = _decode(body)
    except UnicodeDecodeError as problem:
        return _broken("invalid_utf8", body, str(problem))
    except msgspec.ValidationError as problem:
        return _broken("unexpected_shape", body, str(problem))
    except (msgspec.DecodeError, RecursionError) as problem:
        return _broken(_unreadable(body), body, str(problem))
    if bytes(completion.error) not in _NOTHING:
        return _broken("error_in_200", bytes(completion.error))
    if not completion.choices:
        return _broken("no_choices", body)
    return _from_choice(completion.choices[0], completion, body, keep_body=keep_body)


def _from_choice(
    choice: _Choice, completion: _Completion, body: bytes, *, keep_body: bool
) -> Reply | Fault:
    finish = choice.finish_reason or ""
    message = choice.message
    if message is None:
        return _broken("no_message", body)
    if finish == "content_filter":
        return _content("content_filter", "the output was stopped by a content filter")
    text, refusal = _said(message)
    if refusal:
        return _content("refusal", refusal)
    if not text:
        stand_in = _without_content(message, finish, body)
        if isinstance(stand_in, Fault):
            return stand_in
        text = stand_in
    usage = completion.usage
    return Reply(
        text=text,
        finish_reason=finish,
        usage=_NO_USAGE if usage is None else _usage(usage),
        model=completion.model or "",
        body=body if keep_body else None,
    )


_NO_USAGE: Final = Usage()


def _said(message: _Message) -> tuple[str, str]:
    """The text and the refusal of a message; content may come in parts."""
    content = message.content
    if content is None or isinstance(content, str):
        return content or "", message.refusal or ""
    refusal = message.refusal or "".join(part.refusal or "" for part in content)
    return "".join(part.text or "" for part in content), refusal


def _without_content(message: _Message, finish: str, body: bytes) -> str | Fault:
    """Tool calls stand in for text, as the JSON they came in; all else is a fault."""
    calls = bytes(message.tool_calls)
    if calls not in _NOTHING:
        try:
            return calls.decode()
        except UnicodeDecodeError as problem:
            return _broken("invalid_utf8", body, str(problem))
    if finish == "length":
        said = "max tokens were used up before the first word of the answer"
        return Fault(
            kind=FaultClass.INCOMPLETE, code="length_without_content", message=said, status=200
        )
    return _broken("error_in_200" if finish == "error" else "empty_content", body)


def _usage(usage: _Usage) -> Usage:
    details = usage.prompt_tokens_details
    cached = 0 if details is None else details.cached_tokens or 0
    given = usage.prompt_tokens or 0
    return Usage(
        input_tokens=max(0, given),
        cached_tokens=max(0, min(cached, given)),
        output_tokens=max(0, usage.completion_tokens or 0),
    )


def _unreadable(body: bytes) -> str:
    start = body[:200].strip()
    if not start:
        return "empty_body" if not body.strip() else "malformed_json"
    if start.startswith(b"<"):
        return "html_body"
    if start.startswith((b"data:", b"event:", b": ")):
        return "event_stream"
    if start.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        return "compressed_body"  # we ask for identity
    return "malformed_json"


def _broken(code: str, body: bytes, why: str = "") -> Fault:
    words = excerpt_of_bytes(body)
    said = excerpt(f"{why}: {words}" if why and words else why or words)
    return Fault(kind=FaultClass.PROTOCOL, code=code, message=said, status=200)


def _content(code: str, words: str) -> Fault:
    return Fault(kind=FaultClass.CONTENT, code=code, message=excerpt(words), status=200)
