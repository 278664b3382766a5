"""How large a body may be, by path, and how long it may pause. Nothing here holds one in memory."""

import asyncio
import re
from contextlib import suppress
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from nightkiln.http.errors import Refuse
from nightkiln.http.settings import ServerSettings
from nightkiln.http.shapes import Problem

_LIGHT_BYTES: Final = 64 << 10  # a body that the kernel's buffers hold anyway
_LINGER_S: Final = 5.0
_UPLOADS: Final = re.compile(r"/v1/files|/v1/uploads/[^/]+/parts|/api/v1/files(/.*)?")
_FORMS: Final = re.compile(r"/sign-(in|out)")  # the first one without a key
_FORM_BYTES: Final = 8 << 10
_BATCHES: Final = re.compile(r"(/anthropic)?/v1/messages/batches")


def most_bytes(path: str, settings: ServerSettings) -> int:
    """The largest body that is taken at a path."""
    if _UPLOADS.fullmatch(path):
        return settings.max_upload_bytes
    if _FORMS.fullmatch(path):
        return _FORM_BYTES
    return settings.max_batch_body_bytes if _BATCHES.fullmatch(path) else settings.max_body_bytes


def too_large(most: int) -> Refuse:
    """413, in words that name the limit."""
    return Refuse(
        Problem(
            status=413,
            code="request_too_large",
            message=f"The request's body is larger than {most:,} bytes.",
            retry=False,
        )
    )


class BoundedBody:
    """A request's body as it comes, counted and timed."""

    def __init__(
        self, receive: Receive, headers: Headers, *, most: int, silence_s: float, least_rate: int
    ) -> None:
        self._receive = receive
        self._most = most
        self._silence_s = silence_s
        self._least_rate = least_rate
        self._waited_s = 0.0  # for pieces; what we take for our own work is not the sender's fault
        self._seen = 0
        self._complete = False
        length = headers.get("content-length", "0")
        self._announced = int(length) if length.isdigit() else 0
        self._light = self._announced <= _LIGHT_BYTES and "transfer-encoding" not in headers

    def check_announced(self) -> None:
        """Refuse a body that says beforehand that it is too large."""
        if self._announced > self._most:
            raise too_large(self._most)

    @property
    def announced(self) -> int:
        """How many bytes its head promises; 0 where it does not say."""
        return self._announced

    @property
    def is_on_its_way(self) -> bool:
        """True when a good deal of it has not been read."""
        return not (self._complete or self._light)

    async def drain(self) -> None:
        """Read on for a moment, and throw it away.

        A client that is still sending when its connection closes never reads the
        answer: it meets a broken pipe, and tries the whole body again.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while not self._complete:
                    message = await self._receive()
                    self._complete = not message.get("more_body", False)

    async def receive(self) -> Message:
        """The next piece. Raises Refuse when there is too much, or nothing for too long."""
        if self._complete:
            return await self._receive()  # waits for the client to leave, as long as that takes
        left_s = self._silence_s + self._seen / self._least_rate - self._waited_s
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(min(self._silence_s, left_s)):
                message = await self._receive()
        except TimeoutError as error:
            raise Refuse(_slow(self._silence_s, self._least_rate)) from error
        finally:
            self._waited_s += clock() - began
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._seen > self._most:
                raise too_large(self._most)
        return message


def _slow(silence_s: float, least_rate: int) -> Problem:
    message = (
        f"The request's body stopped coming for {silence_s:g} s, or came more slowly than"
        f" {least_rate:,} bytes a second."
    )
    return Problem(status=408, code="request_timeout", message=message)
