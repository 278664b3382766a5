"""What the OpenAPI says of bodies that `wire` reads itself. Pure data."""

from typing import Any, Final

_Description = dict[str, Any]
_TEXT: Final[_Description] = {"type": "string"}
_MESSAGES: Final[_Description] = {"type": "array", "items": {"type": "object"}, "minItems": 1}
_PARAMS: Final[_Description] = {
    "type": "object",
    "required": ["model", "messages", "max_tokens"],
    "properties": {
        "model": _TEXT,
        "messages": _MESSAGES,
        "max_tokens": {"type": "integer", "minimum": 1},
    },
}


def _body(schema: _Description) -> _Description:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


BATCH_BODY: Final = _body(
    {
        "type": "object",
        "required": ["requests"],
        "properties": {
            "requests": {
                "type": "array",
                "minItems": 1,
                "maxItems": 100_000,
                "items": {
                    "type": "object",
                    "required": ["custom_id", "params"],
                    "properties": {
                        "custom_id": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"},
                        "params": _PARAMS,
                    },
                },
            }
        },
    }
)
COUNT_BODY: Final = _body(
    {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {"model": _TEXT, "messages": _MESSAGES},
    }
)
