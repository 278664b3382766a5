"""What can go wrong between us and a server, and which fault each is. Pure.

The question that decides is whether a byte of the request has left: if none
has, nothing can have been billed and the failure says nothing about the row;
if one has, the provider may have done the work, whatever the error is called.
"""

import enum
from typing import Final

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.wire.redact import excerpt


class Trouble(enum.StrEnum):
    """A connection's ways to fail; the value is the fault's code."""

    DNS = "dns"
    REFUSED = "connection_refused"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"
    LOCAL = "no_local_resources"  # too many open files, no memory, no ports left
    SHUT = "transport_closed"  # we ourselves are shutting down
    RESET = "connection_reset"
    CLOSED = "connection_closed"
    TRUNCATED = "truncated_reply"
    TIMEOUT = "timeout"
    BAD_HTTP = "bad_http"
    HEADERS_TOO_LARGE = "headers_too_large"
    BODY_TOO_LARGE = "body_too_large"


_BROKEN_PROTOCOL: Final = frozenset(
    {Trouble.BAD_HTTP, Trouble.HEADERS_TOO_LARGE, Trouble.BODY_TOO_LARGE}
)
_OURS: Final = frozenset({Trouble.LOCAL, Trouble.SHUT})


def transport_fault(trouble: Trouble, detail: str = "", *, sent: bool) -> Fault:
    """The fault for trouble on a connection; `sent` says whether any byte of the request left."""
    kind = _kind(trouble, sent=sent)
    return Fault(
        kind=kind,
        code=str(trouble),
        message=excerpt(detail),
        sent=sent,
        unreachable=not sent and kind is FaultClass.TRANSIENT,
    )


def _kind(trouble: Trouble, *, sent: bool) -> FaultClass:
    if not sent:
        return FaultClass.LOCAL if trouble in _OURS else FaultClass.TRANSIENT
    return FaultClass.PROTOCOL if trouble in _BROKEN_PROTOCOL else FaultClass.AMBIGUOUS
