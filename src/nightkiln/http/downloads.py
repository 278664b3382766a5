"""Files as answers: whole or a range, with a name and a tag, never held in memory.

The file is opened before the answer begins, so one that is missing is a 404, and
one that is deleted meanwhile is still sent to its end. However the answer ends,
the file is closed.
"""

from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from nightkiln.service.files import OpenFile
from nightkiln.wire.filecontent import UNSATISFIABLE, Content, content_of, disposition

_TYPE: Final = "application/octet-stream"
_NOT_MODIFIED: Final = 304


async def download(opened: OpenFile, asked: Headers) -> Response:
    """The answer to a GET of a file; it owns the file from here on."""
    file = opened.file
    etag = f'"{file.sha256}"'
    said = {"etag": etag, "content-disposition": disposition(file.name)}
    if etag in _tags(asked.get("if-none-match")):
        await opened.aclose()
        return Response(None, _NOT_MODIFIED, headers=said)
    content = content_of(
        file.size_bytes, asked=asked.get("range"), if_range=asked.get("if-range"), etag=etag
    )
    said.update(content.headers)
    if content.status == UNSATISFIABLE:
        await opened.aclose()
        return Response(None, UNSATISFIABLE, headers=said)
    return _FileAnswer(opened, content, said)


def _tags(said: str | None) -> list[str]:
    """The tags of If-None-Match; there the weak and the strong are the same."""
    return [tag.strip().removeprefix("W/") for tag in (said or "").split(",")]


class _FileAnswer(StreamingResponse):
    """Sends a part of a file and closes it."""

    def __init__(self, opened: OpenFile, content: Content, headers: dict[str, str]) -> None:
        pieces = opened.pieces(content.start, content.start + content.length)
        super().__init__(pieces, content.status, headers, media_type=_TYPE)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with self._opened:
            await super().__call__(scope, receive, send)
