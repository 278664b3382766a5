"""Routes that do what tests need: say who asks, take bodies, break, and wait."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Body, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from nightkiln.core.errors import DiskError, IllegalMove, NotFound
from nightkiln.http.access import Admin, Reader, Writer

CANARY: Final = "canary-prompt-and-secret"
router: Final = APIRouter(default_response_class=JSONResponse)
PREFIXES: Final = ("/v1", "/v1/messages", "/anthropic/v1", "/api/v1")  # of every dialect


@router.get("/api/v1/probe/read")
async def read(caller: Reader) -> dict[str, str]:
    return {"project": caller.project, "context": caller.context.project, "name": caller.name}


@router.post("/api/v1/probe/write")
async def write(caller: Writer) -> dict[str, str]:
    return {"project": caller.project}


@router.delete("/api/v1/probe/admin")
async def administer(caller: Admin) -> dict[str, str]:
    return {"project": caller.project}


async def take_all(request: Request, caller: Writer) -> dict[str, int]:
    return {"bytes": len(await request.body())}


async def take_pieces(request: Request, caller: Writer) -> dict[str, int]:
    return {"bytes": sum([len(piece) async for piece in request.stream()])}


async def take_json(caller: Writer, body: Annotated[dict[str, int], Body()]) -> dict[str, int]:
    return body


async def break_down(caller: Reader) -> None:
    raise RuntimeError(CANARY)


async def break_off(caller: Reader) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.sleep(0)
        raise RuntimeError(CANARY)

    return StreamingResponse(pieces())


async def miss(caller: Reader) -> None:
    raise NotFound("no job job_1", hint="look elsewhere")


async def refuse_move(caller: Reader) -> None:
    raise IllegalMove("job_1", "failed", "running")


async def fill_disk(caller: Reader) -> None:
    raise DiskError(f"the disk is full: {CANARY}", full=True)


@router.get("/api/v1/probe/things/{thing_id}/parts/{part}")
async def thing(thing_id: str, part: int, caller: Reader) -> dict[str, int]:
    return {thing_id: part}


for _prefix in PREFIXES:
    for _name, _route in (
        ("all", take_all),
        ("pieces", take_pieces),
        ("json", take_json),
    ):
        router.post(f"{_prefix}/probe/{_name}")(_route)
    for _name, _seen in (
        ("bug", break_down),
        ("cut", break_off),
        ("missing", miss),
        ("conflict", refuse_move),
        ("full", fill_disk),
    ):
        router.get(f"{_prefix}/probe/{_name}", response_model=None)(_seen)
