"""What the OpenAPI says of answers, in all three dialects: made from what is really sent.

Pure data and nothing of any route: the shape of a refusal belongs to the path, so the
application adds it to all routes of a dialect at once.
"""

from typing import Any, Final

import msgspec

from nightkiln.http.shapes import NativeProblem, Shape
from nightkiln.wire.openai.refusals import ErrorReply

Description = dict[str, Any]
Answers = dict[int | str, Description]
_JSON: Final = "application/json"
ANY: Final[Description] = {"type": "string", "format": "binary"}
_ANTHROPIC: Final[Description] = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"type": "string", "enum": ["error"]},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
        "request_id": {"type": ["string", "null"]},
    },
}


def schema_of(kind: object) -> Description:
    """The JSON schema of a type, with everything it refers to in its place."""
    schema = msgspec.json.schema(kind)
    known = schema.pop("$defs", {})
    placed = _placed(schema, known)
    assert isinstance(placed, dict)
    return placed


def _placed(part: object, known: Description) -> object:
    if isinstance(part, dict):
        if (name := part.get("$ref")) is not None:
            return _placed(known[name.rpartition("/")[2]], known)
        kept = {key: value for key, value in part.items() if key != "discriminator"}
        return {key: _placed(value, known) for key, value in kept.items()}
    return [_placed(one, known) for one in part] if isinstance(part, list) else part


def answers(content: Description, *, status: int = 200, text: str = "As asked.") -> Answers:
    """One good answer: its status and what it may be, by media type."""
    return {status: {"description": text, "content": content}}


def answers_json(schema: Description) -> Answers:
    """A good answer in JSON."""
    return answers({_JSON: {"schema": schema}})


def answers_bytes(*media_types: str, text: str = "The bytes.") -> Answers:
    """A good answer in bytes of one of these types."""
    return answers({one: {"schema": ANY} for one in media_types}, text=text)


def download_answers() -> Answers:
    """A file as it is, or a range of it, or why not; the last two without a body."""
    file = {"application/octet-stream": {"schema": ANY}}
    return {
        200: {"description": "The bytes.", "content": file},
        206: {"description": "The range that was asked for.", "content": file},
        304: {"description": "The caller has this very file."},
        416: {"description": "The file ends before the range begins."},
    }


def refusals(shape: Shape) -> Answers:
    """What every route of a dialect may answer besides."""
    content = {
        Shape.NATIVE: {"application/problem+json": {"schema": schema_of(NativeProblem)}},
        Shape.OPENAI: {_JSON: {"schema": schema_of(ErrorReply)}},
        Shape.ANTHROPIC: {_JSON: {"schema": _ANTHROPIC}},
    }[shape]
    return {
        "4XX": {"description": "It cannot be done, and why.", "content": content},
        "5XX": {"description": "It could not be done.", "content": content},
    }
