"""What the OpenAPI says of our own API: made from the structs that are really sent."""

from typing import Any, Final

import msgspec

from nightkiln.http.shapes import NativeProblem

_Description = dict[str, Any]
_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"
_ANY: Final[_Description] = {"type": "string", "format": "binary"}


def schema_of(kind: object) -> _Description:
    """The JSON schema of a type, with everything it refers to in its place."""
    schema = msgspec.json.schema(kind)
    known = schema.pop("$defs", {})
    placed = _placed(schema, known)
    assert isinstance(placed, dict)
    return placed


def _placed(part: object, known: _Description) -> object:
    if isinstance(part, dict):
        if (name := part.get("$ref")) is not None:
            return _placed(known[name.rpartition("/")[2]], known)
        kept = {key: value for key, value in part.items() if key != "discriminator"}
        return {key: _placed(value, known) for key, value in kept.items()}
    return [_placed(one, known) for one in part] if isinstance(part, list) else part


def gives(kind: object, *, status: int = 200, text: str = "As asked.") -> _Description:
    """The answers of a route: what it gives, or a problem."""
    return {"responses": _answers(status, {_JSON: {"schema": schema_of(kind)}}, text)}


def gives_bytes(*media_types: str, text: str = "The bytes.") -> _Description:
    """The answers of a route that gives bytes of one of these types."""
    return {"responses": _answers(200, {one: {"schema": _ANY} for one in media_types}, text)}


def _answers(status: int, content: _Description, text: str) -> dict[int | str, _Description]:
    problem = {_PROBLEM: {"schema": schema_of(NativeProblem)}}
    return {
        status: {"description": text, "content": content},
        "4XX": {"description": "It cannot be done, and why.", "content": problem},
        "5XX": {"description": "It could not be done.", "content": problem},
    }


def takes(kind: object, *, required: bool = True) -> _Description:
    """The body of a route, as `openapi_extra`."""
    content = {_JSON: {"schema": schema_of(kind)}}
    return {"requestBody": {"required": required, "content": content}}


TAKES_BYTES: Final[_Description] = {
    "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": _ANY}}}
}
