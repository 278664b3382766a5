"""Asking an OpenAI-compatible server for answers that fit a JSON schema. Pure.

`strict` makes a provider enforce the schema while it writes; it refuses schemas
that leave anything open, so it is asked only where every object says all of
its properties. Whatever the server does, the answer is checked on our side.
"""

from typing import Final

import msgspec

NAME: Final = "answer"
_MAX_DEPTH: Final = 64


def response_format(schema: bytes) -> bytes:
    """The value of `response_format` for a schema, its own bytes passed through."""
    return msgspec.json.encode({"type": "json_schema", "json_schema": _named(schema)})


def text_format(schema: bytes) -> bytes:
    """The value of `text` of a response for a schema, its own bytes passed through."""
    return msgspec.json.encode({"format": {"type": "json_schema", **_named(schema)}})


def _named(schema: bytes) -> dict[str, object]:
    strict = is_closed(msgspec.json.decode(schema))
    return {"name": NAME, "strict": strict, "schema": msgspec.Raw(schema)}


def is_closed(schema: object, depth: int = 0) -> bool:
    """True when every object in the schema requires all its properties and allows no others."""
    if depth > _MAX_DEPTH:
        return False
    if isinstance(schema, list):
        return all(is_closed(item, depth + 1) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False:
            return False
        if set(schema.get("required", ())) != set(properties):
            return False
    return all(is_closed(value, depth + 1) for value in schema.values())
