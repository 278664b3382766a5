"""Answers as responses: structs of ours as JSON, without a detour through dictionaries."""

import msgspec
from starlette.responses import Response


def json_answer(value: msgspec.Struct, *, status: int = 200) -> Response:
    """A struct as JSON."""
    return json_bytes(msgspec.json.encode(value), status=status)


def json_bytes(body: bytes, *, status: int = 200) -> Response:
    """JSON that `wire` has written already."""
    return Response(body, status, media_type="application/json")
