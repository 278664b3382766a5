"""Is the server alive, and should it be sent work. Open to all; says nothing of anybody's jobs."""

import asyncio
import os
from typing import Final

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from nightkiln.http.access import Serving
from nightkiln.http.answers import json_answer
from nightkiln.http.described import answers_json, schema_of
from nightkiln.http.parts import Phase
from nightkiln.vault.home import Home

_ROOM_BYTES: Final = 64 << 20  # below this a journal may fail any moment
router: Final = APIRouter(tags=["server"])


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a probe is told."""

    status: str
    reason: str = ""


_ANSWERS: Final = answers_json(schema_of(Health))


@router.get("/healthz", responses=_ANSWERS)
async def alive() -> Response:
    """The process answers."""
    return json_answer(Health(status="ok"))


@router.get(
    "/readyz",
    responses={
        **_ANSWERS,
        503: {"description": "Send it no work.", "content": _ANSWERS[200]["content"]},
    },
)
async def ready(parts: Serving) -> Response:
    """200 when new work may come; 503 while starting, draining or without room on the disk."""
    if parts.standing.phase is not Phase.SERVING:
        return json_answer(Health(status=parts.standing.phase.value), status=503)
    if not await asyncio.to_thread(_has_room, parts.home):
        return json_answer(Health(status="unready", reason="the disk is full"), status=503)
    return json_answer(Health(status="ready"))


def _has_room(home: Home) -> bool:
    disk = os.statvfs(home.root)
    return disk.f_bavail * disk.f_frsize >= _ROOM_BYTES
