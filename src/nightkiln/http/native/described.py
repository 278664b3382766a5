"""What the OpenAPI says of our own API: made from the structs that are really sent."""

from typing import Final

from nightkiln.http.described import (
    ANY,
    Answers,
    Description,
    answers,
    answers_bytes,
    download_answers,
    refusals,
    schema_of,
)
from nightkiln.http.shapes import Shape

_JSON: Final = "application/json"


def gives(
    kind: object, *, status: int = 200, or_status: int | None = None, text: str = "As asked."
) -> Description:
    """The answers of a route: what it gives, maybe with either status, or a problem."""
    content = {_JSON: {"schema": schema_of(kind)}}
    good = answers(content, status=status, text=text)
    if or_status is not None:
        good |= answers(content, status=or_status, text=text)
    return _said(good)


def gives_bytes(*media_types: str, text: str = "The bytes.") -> Description:
    """The answers of a route that gives bytes of one of these types."""
    return _said(answers_bytes(*media_types, text=text))


def gives_events() -> Description:
    """The answers of a route that gives a stream of events, which no schema of JSON describes."""
    return _said(answers({"text/event-stream": {}}, text="Events, as they come."))


def gives_file() -> Description:
    """The answers of a route that gives a file, whole or in part."""
    return _said(download_answers())


def _said(good: Answers) -> Description:
    return {"responses": {**good, **refusals(Shape.NATIVE)}}


def takes(kind: object, *, required: bool = True) -> Description:
    """The body of a route, as `openapi_extra`."""
    content = {_JSON: {"schema": schema_of(kind)}}
    return {"requestBody": {"required": required, "content": content}}


# Not required: no bytes are a file too.
TAKES_BYTES: Final[Description] = {
    "requestBody": {"required": False, "content": {"application/octet-stream": {"schema": ANY}}}
}
