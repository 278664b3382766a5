"""Problems in the words of each dialect: OpenAI's errors, Anthropic's, and RFC 9457. Pure.

Everything that refuses a request ends as a `Problem`, and the path of the request
says in which shape it is written. A route that knows its dialect better writes
the reply itself (`Told`) and raises `errors.Refuse`.
"""

import enum
import math
from http import HTTPStatus
from typing import Final, Protocol

import msgspec

from nightkiln.wire.anthropic.errors import error_body
from nightkiln.wire.openai.refusals import INVALID, Refusal

Headers = tuple[tuple[str, str], ...]


class Shape(enum.StrEnum):
    """How answers of a path look."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    NATIVE = "native"


def shape_of(path: str) -> Shape:
    """The shape that belongs to a path, whether there is a route or not."""
    if _is_under(path, "/anthropic") or _is_under(path, "/v1/messages"):
        return Shape.ANTHROPIC
    return Shape.OPENAI if _is_under(path, "/v1") else Shape.NATIVE


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request is refused, in no dialect. The message is for the caller's eyes."""

    status: int  # of HTTP
    code: str  # one of ours (E_NOT_FOUND), or a word of the wire (invalid_api_key)
    message: str
    hint: str = ""
    param: str | None = None
    retry: bool | None = None  # may the same request come again; None: the status says it
    retry_after_s: float | None = None


class Told(Protocol):
    """A refusal as a dialect writes it. `wire.openai.refusals.Refusal` is one."""

    @property
    def status(self) -> int:
        """The status of HTTP."""
        ...

    @property
    def body(self) -> bytes:
        """The JSON."""
        ...

    @property
    def headers(self) -> Headers:
        """The headers that go with it, besides the content's type."""
        ...


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal, ready to be sent."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Headers = ()


def write(problem: Problem, shape: Shape, *, request_id: str) -> Written:
    """A problem in a dialect."""
    headers = () if problem.retry is None else (("x-should-retry", _yes_no(problem.retry)),)
    if problem.retry_after_s is not None:
        headers = (*headers, ("retry-after", str(max(1, math.ceil(problem.retry_after_s)))))
    if shape is Shape.NATIVE:
        return Written(
            status=problem.status,
            body=_native(problem, request_id),
            content_type="application/problem+json",
            headers=headers,
        )
    if shape is Shape.ANTHROPIC:
        body = error_body(problem.status, problem.message, request_id=request_id)
    else:
        body = _openai(problem)
    return Written(status=problem.status, body=body, headers=headers)


class NativeProblem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457, with our code, what to do about it, and the request's id."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    hint: str = ""
    param: str | None = None


def _native(problem: Problem, request_id: str) -> bytes:
    return msgspec.json.encode(
        NativeProblem(
            type=f"urn:nightkiln:problem:{problem.code}",
            title=HTTPStatus(problem.status).phrase,
            status=problem.status,
            detail=problem.message,
            code=problem.code,
            request_id=request_id,
            hint=problem.hint,
            param=problem.param,
        )
    )


_OPENAI_TYPES: Final = {
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "requests",
}


def _openai(problem: Problem) -> bytes:
    usual = INVALID if problem.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    return Refusal(
        status=problem.status,
        message=problem.message,
        type=_OPENAI_TYPES.get(HTTPStatus(problem.status), usual),
        param=problem.param,
        code=None if problem.code.startswith("E_") else problem.code,
    ).body


def _is_under(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _yes_no(value: bool) -> str:
    return "true" if value else "false"
