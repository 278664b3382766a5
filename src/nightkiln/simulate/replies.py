"""HTTP/1.1 answers as bytes. Nothing here reads a request or writes to a socket."""

import math
from http import HTTPStatus
from typing import Final

import msgspec

JSON: Final = b"application/json"
HTML: Final = b"text/html; charset=utf-8"
METRICS: Final = b"text/plain; version=0.0.4; charset=utf-8"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
EVENT_STREAM_END: Final = b"0\r\n\r\n"

STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}
ERROR_CODES: Final = {
    400: "invalid_request",
    401: "invalid_api_key",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    500: "server_error",
    503: "service_unavailable",
}


def reply(status: int, body: bytes, *, headers: bytes = b"", content_type: bytes = JSON) -> bytes:
    """A whole answer; `headers` are complete lines."""
    return b"%bContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        STATUS_LINES[status],
        content_type,
        headers,
        len(body),
        body,
    )


def error_reply(status: int, message: str, *, kind: str = "", headers: bytes = b"") -> bytes:
    """An error in the shape of the OpenAI API; `kind` defaults to whose error it is."""
    error = {
        "message": message,
        "type": kind or ("server_error" if status >= 500 else "invalid_request_error"),
        "param": None,
        "code": ERROR_CODES[status],
    }
    return reply(status, msgspec.json.encode({"error": error}), headers=headers)


def retry_headers(seconds: float) -> bytes:
    """When to come back, in whole seconds and in milliseconds, both rounded up."""
    return b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (
        math.ceil(seconds),
        math.ceil(seconds * 1000),
    )


def event_stream_head(headers: bytes) -> bytes:
    """The start of a streamed answer."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n%b\r\n" % headers
    )


def chunk(data: bytes) -> bytes:
    """One piece of a streamed answer."""
    return b"%x\r\n%b\r\n" % (len(data), data)
