"""Errors in Anthropic's words: the body of a refusal, and the error of a batch line. Pure.

A client acts on the type: `invalid_request_error` has to be mended first, other
errors may be sent again as they are. So the type says that, whatever our own
side calls the fault; trouble with our own credentials is never the caller's.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from nightkiln.core.fault import FaultClass

INVALID: Final = "invalid_request_error"
_API: Final = "api_error"
_OVERLOADED: Final = "overloaded_error"
_TIMEOUT: Final = "timeout_error"

_BY_STATUS: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: _TIMEOUT,
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: _OVERLOADED,
    504: _TIMEOUT,
    529: _OVERLOADED,
}

_F: Final = FaultClass
_BY_FAULT: Final[Mapping[FaultClass, str]] = {
    _F.PERMANENT: INVALID,
    _F.POISON: INVALID,  # asking the same again would do the same harm
    _F.CONTENT: INVALID,
    _F.ROUTE: "not_found_error",
    _F.THROTTLE: "rate_limit_error",
    _F.OVERLOAD: _OVERLOADED,
    _F.AMBIGUOUS: _TIMEOUT,
}
"""Only types that clients know inside a batch line; all other faults are `api_error`."""

_encode: Final = msgspec.json.Encoder().encode


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not taken: the status of the reply, and its message."""

    status: int
    message: str

    def body(self, request_id: str) -> bytes:
        """The body of the reply."""
        return error_body(self.status, self.message, request_id=request_id)


def error_type(status: int) -> str:
    """The type of error that goes with an HTTP status."""
    return _BY_STATUS.get(status, INVALID if status < 500 else _API)


def error_body(status: int, message: str, *, request_id: str) -> bytes:
    """The body of an error reply; its `request_id` goes into the header `request-id` as well."""
    return _encode(error_object(error_type(status), message, request_id))


def fault_type(kind: FaultClass) -> str:
    """The type of error that goes with a class of fault, in a batch line."""
    return _BY_FAULT.get(kind, _API)


def error_object(kind: str, message: str, request_id: str) -> dict[str, object]:
    """An error as an object, for encoding."""
    said = {"type": kind, "message": message}
    return {"type": "error", "error": said, "request_id": request_id or None}
