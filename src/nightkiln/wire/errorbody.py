"""Reads the many shapes of error bodies into one small noun. It judges nothing.

OpenAI, Azure and most others nest `error`; Anthropic adds `details`; Gemini a
list of typed details, sometimes the whole in a list; old vLLM is flat; Bedrock
names its type in a header; gateways send `detail`, `message`, text or HTML.
"""

from collections.abc import Mapping

import msgspec

from nightkiln.wire.redact import excerpt, excerpt_of_bytes


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """What an error body says, whoever wrote it. Missing things are empty."""

    codes: tuple[str, ...] = ()  # the most telling first
    type: str = ""
    message: str = ""  # as received; it may hold secrets, so it is never shown
    excerpt: str = ""  # the message made safe
    retry_delay: str = ""  # Gemini's RetryInfo, a duration
    quota_ids: tuple[str, ...] = ()  # Gemini's QuotaFailure
    flagged: bool = False  # a gateway's moderation names its reasons


def read_error(headers: Mapping[str, str], body: bytes) -> ErrorBody:
    """The error in a reply, as far as it can be read. Never raises."""
    amazon = headers.get("x-amzn-errortype", "").partition(":")[0].strip()
    try:
        document: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorBody(codes=_some(amazon), excerpt=excerpt_of_bytes(body))
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        return ErrorBody(codes=_some(amazon), excerpt=excerpt_of_bytes(body))
    inner = document.get("error")
    if isinstance(inner, dict):
        return _from_object(inner, amazon)
    if isinstance(inner, str):
        return _from_flat({**document, "message": inner}, amazon)
    return _from_flat(document, amazon)


def _from_object(error: dict[str, object], amazon: str) -> ErrorBody:
    details = error.get("details")
    codes = [amazon]
    if isinstance(details, dict):  # Anthropic
        codes.append(_text(details.get("error_code")))
    parts = (
        [part for part in details if isinstance(part, dict)] if isinstance(details, list) else []
    )
    codes += [_text(part.get("reason")) for part in parts]  # Gemini's ErrorInfo
    codes.append(_text(error.get("code")))
    for name in ("innererror", "inner_error"):  # Azure
        nested = error.get(name)
        if isinstance(nested, dict):
            codes.append(_text(nested.get("code")))
    metadata = error.get("metadata")
    message = _text(error.get("message"))
    return ErrorBody(
        codes=_some(*codes),
        type=_text(error.get("type")) or _text(error.get("status")),
        message=message,
        excerpt=excerpt(message),
        retry_delay=next((delay for part in parts if (delay := _text(part.get("retryDelay")))), ""),
        quota_ids=tuple(_quota_ids(parts)),
        flagged=isinstance(metadata, dict) and bool(metadata.get("reasons")),
    )


def _from_flat(document: dict[str, object], amazon: str) -> ErrorBody:
    message = _text(document.get("message")) or _text(document.get("Message"))
    detail = document.get("detail")
    if not message and detail is not None:
        message = detail if isinstance(detail, str) else msgspec.json.encode(detail).decode()
    kind = _text(document.get("__type")).rpartition("#")[2]  # AWS JSON protocol
    return ErrorBody(
        codes=_some(amazon, kind, _text(document.get("code"))),
        type=_text(document.get("type")) or _text(document.get("error_type")),
        message=message,
        excerpt=excerpt(message),
    )


def _quota_ids(parts: list[dict[str, object]]) -> list[str]:
    found: list[str] = []
    for part in parts:
        violations = part.get("violations")
        if isinstance(violations, list):
            found += [_text(one.get("quotaId")) for one in violations if isinstance(one, dict)]
    return [name for name in found if name]


def _some(*codes: str) -> tuple[str, ...]:
    """Without the empty ones and those that only repeat an HTTP status."""
    return tuple(code for code in codes if code and not code.isdigit())


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
