"""Bodies of our own API, read into structs; and files that are made for one answer."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import msgspec
from fastapi import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from nightkiln.core.errors import UsageError
from nightkiln.service.api import ROWS_HEADER
from nightkiln.service.context import Context

T = TypeVar("T")
_PIECE_BYTES: Final = 1 << 18


async def body_of(request: Request, kind: type[T], *, empty: T | None = None) -> T:
    """The request's body. Without one `empty`, if there may be none. Raises UsageError."""
    body = await request.body()
    if not body and empty is not None:
        return empty
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the body cannot be taken: {error}") from error


async def made(
    context: Context,
    make: Callable[[Path], Awaitable[int | None]],
    *,
    media_type: str,
    name: str,
    suffix: str = "",
) -> Response:
    """An answer that is first written to a file in the home, which nobody else sees.

    `make` gives the number of rows it wrote, where those are counted.
    """
    stem = context.new_run_id()
    path = context.home.spool / f"{stem}{suffix}"
    try:
        rows = await make(path)
        opened = await asyncio.to_thread(_opened, path)
    finally:
        await asyncio.to_thread(_remove, path)
    answer = _MadeAnswer(opened, media_type=media_type, name=name)
    if rows is not None:
        answer.headers[ROWS_HEADER] = str(rows)
    return answer


def _opened(path: Path) -> BinaryIO:
    return path.open("rb") if path.exists() else Path(os.devnull).open("rb")


def beside(path: Path) -> list[Path]:
    """What was written next to a file that is made for an answer."""
    return [one for one in path.parent.glob(f"{path.stem}*") if one != path]


def _remove(path: Path) -> None:
    for one in (path, *beside(path)):
        one.unlink(missing_ok=True)


class _MadeAnswer(StreamingResponse):
    """Sends a file that has no name any more, and closes it."""

    def __init__(self, opened: BinaryIO, *, media_type: str, name: str) -> None:
        size = os.fstat(opened.fileno()).st_size
        said = {"content-length": str(size)} if size else {}
        said["content-disposition"] = f'attachment; filename="{name}"'
        super().__init__(_pieces(opened), headers=said, media_type=media_type)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await asyncio.to_thread(self._opened.close)


async def _pieces(opened: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(opened.read, _PIECE_BYTES):
        yield piece
