"""What the OpenAPI says of bodies that `wire` reads itself. Pure data."""

from typing import Any, Final

from nightkiln.http.anthropic.streaming import LINES_TYPE
from nightkiln.http.described import answers_bytes, answers_json, schema_of
from nightkiln.wire.anthropic.batch import Counts, Status
from nightkiln.wire.anthropic.rules import HEADER, Version

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


VERSIONED: Final[_Description] = {
    "parameters": [
        {
            "name": HEADER,
            "in": "header",
            "required": True,
            "schema": {"type": "string", "enum": list(Version)},
        }
    ]
}


def _body(schema: _Description) -> _Description:
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}, **VERSIONED}


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

_TIME: Final[_Description] = {"type": "string", "format": "date-time"}
_TIME_OR_NOT: Final[_Description] = {"type": ["string", "null"], "format": "date-time"}
_TEXT_OR_NOT: Final[_Description] = {"type": ["string", "null"]}


def _object(**properties: _Description) -> _Description:
    return {"type": "object", "required": list(properties), "properties": properties}


def _word(*words: str) -> _Description:
    return {"type": "string", "enum": list(words)}


_BATCH: Final = _object(
    id=_TEXT,
    type=_word("message_batch"),
    processing_status=_word(*Status),
    request_counts=schema_of(Counts),
    created_at=_TIME,
    expires_at=_TIME,
    ended_at=_TIME_OR_NOT,
    cancel_initiated_at=_TIME_OR_NOT,
    archived_at=_TIME_OR_NOT,
    results_url=_TEXT_OR_NOT,
)
BATCH: Final = answers_json(_BATCH)
BATCHES_PAGE: Final = answers_json(
    _object(
        data={"type": "array", "items": _BATCH},
        has_more={"type": "boolean"},
        first_id=_TEXT_OR_NOT,
        last_id=_TEXT_OR_NOT,
    )
)
BATCH_DELETED: Final = answers_json(_object(id=_TEXT, type=_word("message_batch_deleted")))
RESULTS: Final = answers_bytes(LINES_TYPE)
TOKENS: Final = answers_json(_object(input_tokens={"type": "integer", "minimum": 0}))
