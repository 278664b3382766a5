"""Faults that hide in a 200: what a reply is when it is not the answer that was asked for. Pure.

Gateways send HTML, proxies cut bodies, servers report errors inside a success,
models refuse. Every dialect's parser names its own shapes; what is common to all
of them is here.
"""

from typing import Final

import msgspec

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.wire.redact import excerpt, excerpt_of_bytes

NOTHING: Final = (b"", b"null", b"[]", b"{}", b'""', b"false")


def undecodable(problem: Exception, body: bytes) -> Fault:
    """The fault for a body that did not decode to the shape of a reply."""
    if isinstance(problem, UnicodeDecodeError):
        return broken("invalid_utf8", body, str(problem))
    if isinstance(problem, msgspec.ValidationError):
        return broken("unexpected_shape", body, str(problem))
    return broken(_unreadable(body), body, str(problem))


def broken(code: str, body: bytes, why: str = "") -> Fault:
    """A reply that is not what the protocol promises, with an excerpt of it."""
    words = excerpt_of_bytes(body)
    said = excerpt(f"{why}: {words}" if why and words else why or words)
    return Fault(kind=FaultClass.PROTOCOL, code=code, message=said, status=200)


def withheld(code: str, words: str) -> Fault:
    """An answer that a policy or the model itself refused to give."""
    return Fault(kind=FaultClass.CONTENT, code=code, message=excerpt(words), status=200)


def used_up() -> Fault:
    """An answer whose budget went before its first word."""
    said = "max tokens were used up before the first word of the answer"
    return Fault(
        kind=FaultClass.INCOMPLETE, code="length_without_content", message=said, status=200
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
