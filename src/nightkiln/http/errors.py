"""What becomes of an error: a status, a code and words that the caller may read.

Our own errors were written for people, so their words go out; but where the fault
is the server's they may name its folders, so a fixed sentence stands for them.
Nothing else's text ever goes out.
"""

import logging
from typing import Final

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from nightkiln.core.errors import (
    AuthError,
    DiskError,
    Fenced,
    HomeBusy,
    IllegalMove,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobStopped,
    MissingExtra,
    ModelDenied,
    NightkilnError,
    NotFound,
    QuotaError,
    UnreachableError,
    UsageError,
    WaitTimeout,
)
from nightkiln.http.shapes import Problem, Shape, Told, Written, write
from nightkiln.wire.anthropic.errors import Refusal as AnthropicRefusal
from nightkiln.wire.openai.refusals import Refused

log = logging.getLogger(__name__)

_SERVERS_FAULT: Final = 500
_FULL: Final = 507  # clients send what has a status like this again, all of it
_STATUS: Final[dict[type, int]] = {
    NotFound: 404,
    UsageError: 400,
    ModelDenied: 403,
    AuthError: 503,  # of a backend: the caller's own key was good, or no route was reached
    QuotaError: 429,
    UnreachableError: 503,
    WaitTimeout: 504,
    HomeBusy: 503,
    DiskError: 503,  # 507 when it is full
    IllegalMove: 409,
    Fenced: 409,
    JobFailed: 409,
    JobCancelled: 409,
    JobExpired: 409,
    JobStopped: 409,
    MissingExtra: 501,
}
_LASTING: Final = frozenset({409, 429})  # clients repeat these, and here it helps nobody
_SENTENCES: Final = {
    500: "Something went wrong in the server; the request may be sent again.",
    501: "This server was installed without a part that the request needs.",
    503: "The server cannot do this right now; the request may be sent again.",
    504: "The server waited too long for something; the request may be sent again.",
    507: "The server's disk is full; nothing more can be taken until room is made.",
}
_REFUSED_THERE: Final = (
    "A backend refuses the credential that this server sends it, or that credential is not there."
    " Your own API key is good. Whoever runs the server finds in its log which one it is."
)
_WORDS: Final = {
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take this method."),
}
_UNREADABLE: Final = ("invalid_request", "The request cannot be read.")
BUG: Final = Problem(status=500, code="E_INTERNAL", message=_SENTENCES[500])


class Refuse(HTTPException):
    """Ends a request with a problem, or with a reply that a dialect wrote.

    A kind of HTTPException because FastAPI passes only those through unharmed
    when they are raised while it reads a body.
    """

    def __init__(self, why: Problem | Told | AnthropicRefusal) -> None:
        super().__init__(why.status)
        self.why = why


def reply_to(error: Exception, shape: Shape, *, request_id: str) -> Response:
    """The response that an error becomes. Raises the error itself when it is none of ours."""
    why = _why(error)
    if isinstance(why, Problem):
        written = write(why, shape, request_id=request_id)
    elif isinstance(why, AnthropicRefusal):
        written = Written(status=why.status, body=why.body(request_id))
    else:
        written = Written(status=why.status, body=why.body, headers=why.headers)
    response = response_of(written)
    if isinstance(error, HTTPException):  # of a wrong method: those that are right
        response.headers.update(error.headers or {})
    return response


def response_of(written: Written) -> Response:
    """A refusal as a response."""
    headers = dict(written.headers)
    if written.status == 413:  # what is left of the body is not worth reading
        headers["connection"] = "close"
    return Response(written.body, written.status, headers=headers, media_type=written.content_type)


def problem_of(error: NightkilnError) -> Problem:
    """One of our errors as a problem."""
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)
    if isinstance(error, DiskError) and error.full:
        status = 507
    if isinstance(error, AuthError):  # which one it is names variables and folders of ours
        log.warning("a backend's credential: %s", error.message)
        return Problem(status=status, code=error.code, message=_REFUSED_THERE, retry=False)
    if status >= _SERVERS_FAULT:
        retry = False if status == _FULL else None
        return Problem(status=status, code=error.code, message=_SENTENCES[status], retry=retry)
    return Problem(
        status=status,
        code=error.code,
        message=error.message,
        hint=error.hint,
        retry=False if status in _LASTING else None,
    )


def _why(error: Exception) -> Problem | Told | AnthropicRefusal:
    if isinstance(error, Refuse):
        return error.why
    if isinstance(error, Refused):
        return error.refusal
    if isinstance(error, NightkilnError):
        return problem_of(error)
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        code, words = _WORDS.get(
            error.status_code, ("invalid_request", "The request is not valid.")
        )
        return Problem(status=error.status_code, code=code, message=words)
    raise error


class _Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """What FastAPI says of one argument; what the caller sent is in there too, and left out."""

    loc: tuple[str | int, ...] = ()
    msg: str = "is not valid"


def _invalid(error: RequestValidationError) -> Problem:
    found = msgspec.convert(list(error.errors())[:1], list[_Complaint], strict=False)
    first = found[0] if found else _Complaint()
    where = ".".join(str(step) for step in first.loc[1:])
    message = f"{where}: {first.msg}" if where else first.msg
    return Problem(status=400, code="E_USAGE", message=message, param=where or None)
