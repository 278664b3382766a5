"""What a caller is told when a request is refused: OpenAI's error body and its status. Pure.

A refusal is a value; the server writes it and raises nothing. Clients of OpenAI
send a refused POST again after 408, 409, 429 and 5xx unless `x-should-retry` says
otherwise, so a refusal that no retry can mend says so.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from nightkiln.core.batches import BatchStatus

INVALID: Final = "invalid_request_error"
_NAMED: Final = 10  # values that are supported, in a message
_SHOWN: Final = 100  # characters of a caller's value in a message


class ErrorObject(msgspec.Struct, frozen=True, kw_only=True):
    """The four fields of an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(msgspec.Struct, frozen=True, kw_only=True):
    """The whole body of an error."""

    error: ErrorObject


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request is refused, and whether the same request may be sent again."""

    status: int  # of HTTP
    message: str
    type: str = INVALID
    param: str | None = None
    code: str | None = None
    retry: bool | None = None  # None: the status says it

    @property
    def body(self) -> bytes:
        """The JSON of OpenAI's error."""
        said = ErrorObject(message=self.message, type=self.type, param=self.param, code=self.code)
        return msgspec.json.encode(ErrorReply(error=said))

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that go with it, besides the content's type."""
        if self.retry is None:
            return ()
        return (("x-should-retry", "true" if self.retry else "false"),)


class Refused(Exception):
    """Carries a refusal from the depth of a check to its top; no caller ever sees it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def refused(message: str, *, param: str | None, code: str | None) -> Refused:
    """A 400 to raise inside a check."""
    return Refused(Refusal(status=400, message=message, param=param, code=code))


def shown(value: str) -> str:
    """A caller's value as it stands in a message: short, on one line."""
    line = "".join(mark if mark.isprintable() else "�" for mark in value[: _SHOWN + 1])
    return f"'{line}'" if len(line) <= _SHOWN else f"'{line[:_SHOWN]}…'"


def no_such_file(file_id: str) -> Refusal:
    """404: there is none, or it is somebody else's; the two must not differ."""
    return Refusal(status=404, message=f"There is no file {shown(file_id)}.", param="id")


def no_such_upload(upload_id: str) -> Refusal:
    """404 for an upload."""
    return Refusal(status=404, message=f"There is no upload {shown(upload_id)}.", param="id")


def no_such_batch(batch_id: str) -> Refusal:
    """404 for a batch."""
    return Refusal(status=404, message=f"No batch found with the id {shown(batch_id)}.", param="id")


def no_such_model(model: str) -> Refusal:
    """404 for a model."""
    message = f"There is no model {shown(model)}, or this key may not use it."
    return Refusal(status=404, message=message, param="model", code="model_not_found")


def no_such_backend(name: str, *, supported: Sequence[str]) -> Refusal:
    """400: a route names a backend that is not configured."""
    known = ", ".join(f"'{one}'" for one in supported[:_NAMED]) or "none"
    more = ", …" if len(supported) > _NAMED else ""
    return Refusal(
        status=400,
        message=f"There is no backend {shown(name)} here. Supported are {known}{more}.",
        param="route",
        code="invalid_value",
    )


def not_cancellable(status: BatchStatus) -> Refusal:
    """409: the batch is over.

    Programs recognise this sentence, so it reads as OpenAI's does. One that is
    cancelled already is no error there, and needs none here.
    """
    message = f"Cannot cancel a batch with status '{status}'."
    return Refusal(status=409, message=message, retry=False)


def wrong_purpose(file_id: str, purpose: str) -> Refusal:
    """400: the input of a batch has to be a file for batches."""
    message = (
        f"The file {shown(file_id)} was uploaded with the purpose {shown(purpose)};"
        " the input of a batch has to have the purpose 'batch'."
    )
    return Refusal(status=400, message=message, param="input_file_id", code="invalid_value")


def upload_closed(upload_id: str, status: str) -> Refusal:
    """400: the upload takes nothing any more."""
    message = f"The upload {shown(upload_id)} is {status}; only a pending one can be changed."
    return Refusal(status=400, message=message, param="upload_id")


def too_large(what: str, limit: int) -> Refusal:
    """413: `what` has more bytes than are taken."""
    return Refusal(status=413, message=f"{what} is larger than {limit:,} bytes.", retry=False)


def unauthorised() -> Refusal:
    """401: there is no key, or it is none of ours. It never repeats what was sent."""
    return Refusal(
        status=401,
        message="The API key is missing or not known here. Send it as 'Authorization: Bearer KEY'.",
        code="invalid_api_key",
    )


def forbidden(scope: str) -> Refusal:
    """403: the key is good, but not for this."""
    return Refusal(
        status=403,
        message=f"This API key lacks the scope {scope}.",
        type="permission_error",
        code="insufficient_permissions",
    )


def trouble(message: str, *, status: int = 500) -> Refusal:
    """5xx: it is ours to mend, and the request may come again."""
    return Refusal(status=status, message=message, type="server_error")
