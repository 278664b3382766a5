"""Lines as an answer, as they are made. Whatever ends the answer ends the making of lines."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, Self

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

LINES_TYPE: Final = "application/x-jsonl"


class LinesAnswer(StreamingResponse):
    """Sends lines that somebody makes. Its first piece is there before the answer begins."""

    def __init__(self, first: bytes, lines: AsyncGenerator[bytes, None]) -> None:
        super().__init__(_all(first, lines), media_type=LINES_TYPE)
        self._lines = lines

    @classmethod
    async def of(cls, lines: AsyncGenerator[bytes, None]) -> Self:
        """The answer; what is wrong with the first piece is raised here, not in the middle."""
        return cls(await anext(lines, b""), lines)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._lines.aclose()


async def _all(first: bytes, lines: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    yield first
    async for piece in lines:
        yield piece
