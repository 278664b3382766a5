"""What the OpenAPI says of bodies and queries that `wire` reads itself. Pure data."""

from typing import Any, Final

from nightkiln.http.described import answers_bytes, answers_json, schema_of
from nightkiln.wire.openai import objects
from nightkiln.wire.openai.creation import ENDPOINTS
from nightkiln.wire.openai.orders import BATCHES, FILES, PURPOSES, ListKind

_Description = dict[str, Any]
_TEXT: Final[_Description] = {"type": "string"}
_WHOLE: Final[_Description] = {"type": "integer"}
_BINARY: Final[_Description] = {"type": "string", "format": "binary"}
_EXPIRY: Final[_Description] = {
    "type": "object",
    "required": ["anchor", "seconds"],
    "properties": {"anchor": {"type": "string", "enum": ["created_at"]}, "seconds": _WHOLE},
}
MOST_ROWS: Final = 1 << 40  # of a batch that anybody may ask for
_PURPOSE: Final[_Description] = {"type": "string", "enum": list(PURPOSES)}


def _body(kind: str, required: list[str], **properties: _Description) -> _Description:
    schema = {"type": "object", "required": required, "properties": properties}
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema}}}}


def _query(**parameters: _Description) -> _Description:
    said = [{"name": name, "in": "query", "schema": one} for name, one in parameters.items()]
    return {"parameters": said}


def _limit(kind: ListKind) -> _Description:
    return {"type": "integer", "minimum": 1, "maximum": kind.most, "default": kind.limit}


_JSON: Final = "application/json"
_FORM: Final = "multipart/form-data"

FILE_FORM: Final = _body(
    _FORM,
    ["file", "purpose"],
    file=_BINARY,
    purpose=_PURPOSE,
    **{"expires_after[anchor]": _TEXT, "expires_after[seconds]": _WHOLE},
)
FILE_LIST: Final = _query(
    after=_TEXT,
    limit=_limit(FILES),
    order={"type": "string", "enum": ["asc", "desc"], "default": "desc"},
    purpose=_TEXT,
)
UPLOAD_BODY: Final = _body(
    _JSON,
    ["bytes", "filename", "mime_type", "purpose"],
    bytes={"type": "integer", "minimum": 1},
    filename=_TEXT,
    mime_type=_TEXT,
    purpose=_PURPOSE,
    expires_after=_EXPIRY,
)
PART_FORM: Final = _body(_FORM, ["data"], data=_BINARY)
UPLOAD_END_BODY: Final = _body(
    _JSON,
    ["part_ids"],
    part_ids={"type": "array", "items": _TEXT, "minItems": 1, "uniqueItems": True},
    md5=_TEXT,
)
BATCH_BODY: Final = _body(
    _JSON,
    ["input_file_id", "endpoint", "completion_window"],
    input_file_id={"type": "string", "minLength": 1},
    endpoint={"type": "string", "enum": list(ENDPOINTS)},
    completion_window=_TEXT,
    metadata={"type": "object", "additionalProperties": _TEXT},
    output_expires_after=_EXPIRY,
    idempotency_key=_TEXT,
    nightkiln={
        "type": "object",
        "properties": {
            "deadline": _TEXT,
            "priority": {"type": "integer", "enum": [0, 1]},
            "budget": {"type": "number"},
            "route": {"type": "array", "items": _TEXT},
        },
    },
)
BATCH_LIST: Final = _query(after=_TEXT, limit=_limit(BATCHES))
BATCH_LINES: Final = _query(
    after={"type": "integer", "minimum": 0, "maximum": MOST_ROWS, "default": 0}
)

FILE: Final = answers_json(schema_of(objects.File))
FILES_PAGE: Final = answers_json(schema_of(objects.Page[objects.File]))
FILE_DELETED: Final = answers_json(schema_of(objects.FileDeleted))
UPLOAD: Final = answers_json(schema_of(objects.Upload))
UPLOAD_PART: Final = answers_json(schema_of(objects.UploadPart))
BATCH: Final = answers_json(schema_of(objects.Batch))
BATCHES_PAGE: Final = answers_json(schema_of(objects.Page[objects.Batch]))
LINES: Final = answers_bytes("application/jsonl")
MODEL: Final = answers_json(schema_of(objects.Model))
MODELS: Final = answers_json(schema_of(objects.ModelList))
