"""One client connection: bytes in, requests out, one exchange at a time.

Requests that a client pipelines wait their turn; while any waits, nothing more is read.
"""

import asyncio
import hmac
import socket
import struct
import time
from collections import deque
from typing import Final, cast

import httptools
import msgspec

from nightkiln.simulate import replies
from nightkiln.simulate.answers import Kind
from nightkiln.simulate.control import KEYED, control_reply
from nightkiln.simulate.exchange import Exchange
from nightkiln.simulate.provider import Provider

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
MAX_URL_BYTES: Final = 8 * 1024
RST_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for zero seconds
POISON: Final = b"__poison__"
ASKS: Final = {
    prefix + path: kind
    for prefix in (b"/v1", b"")
    for path, kind in (
        (b"/chat/completions", Kind.CHAT),
        (b"/completions", Kind.COMPLETION),
        (b"/responses", Kind.RESPONSE),
        (b"/embeddings", Kind.EMBEDDING),
    )
}


class Incoming(msgspec.Struct, gc=False):
    """One request as it came."""

    method: bytes
    path: bytes
    key: bytes
    body: bytes
    keep_alive: bool


class Connection(asyncio.Protocol):
    """The server's end of one connection."""

    # Requests are parsed by httptools, which calls the on_* methods below.

    def __init__(self, provider: Provider, owner: "set[Connection]") -> None:
        self._provider = provider
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpRequestParser | None = None
        self._waiting: deque[Incoming] = deque()
        self._exchange: Exchange | None = None
        self._keep_alive = True
        self.is_congested = False
        self._url = b""
        self._key = b""
        self._expects = False
        self._parts: list[bytes] = []
        self._size = 0

    # The event loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to parse."""
        self._transport = cast("asyncio.Transport", transport)  # it is never a datagram
        self._parser = httptools.HttpRequestParser(self)
        self._owner.add(self)
        self._provider.open_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave nothing behind: no exchange, no slot, no reference cycle."""
        del exc  # a client may leave in any way it likes
        self._transport = self._parser = None
        self._waiting.clear()
        self._owner.discard(self)
        self._provider.open_connections -= 1
        if self._exchange is not None:
            self._exchange.abandon()

    def data_received(self, data: bytes) -> None:
        """Parse, then serve what is complete."""
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise  # a bug of ours, not the client's
        except httptools.HttpParserError as error:
            self._turn_away(400, f"this is not HTTP/1.1: {error}")
            return
        if self._waiting:
            self._advance()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self.is_congested = True

    def resume_writing(self) -> None:
        """The client caught up."""
        self.is_congested = False

    # The parser's side.

    def on_message_begin(self) -> None:
        """A new request."""
        self._url = self._key = b""
        self._expects = False
        self._parts, self._size = [], 0

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url
        if len(self._url) > MAX_URL_BYTES:
            self._turn_away(400, "the URL is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; the few that matter are told apart by their length first."""
        size = len(name)
        if size == 13 and name.lower() == b"authorization":
            self._key = value.removeprefix(b"Bearer ").removeprefix(b"bearer ")
        elif size == 9 and name.lower() == b"x-api-key":
            self._key = value
        elif size == 6 and name.lower() == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Tell a careful client to go on."""
        if self._expects:
            self.write(replies.CONTINUE)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._parts.append(body)
        self._size += len(body)
        if self._size > MAX_BODY_BYTES:
            self._parts.clear()
            self._turn_away(413, f"the body is larger than {MAX_BODY_BYTES} bytes")

    def on_message_complete(self) -> None:
        """Line up the request."""
        if self._parser is None:
            return
        parts = self._parts
        self._waiting.append(
            Incoming(
                method=self._parser.get_method(),
                path=self._url.partition(b"?")[0],
                key=self._key,
                body=parts[0] if len(parts) == 1 else b"".join(parts),
                keep_alive=self._parser.should_keep_alive(),
            )
        )

    # The exchange's side.

    def write(self, data: bytes) -> None:
        """Send bytes, unless the client is gone."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Send what is written, then close; nothing more is read."""
        self._parser = None
        self._waiting.clear()
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Drop the connection with a TCP reset, not a polite end."""
        if self._transport is not None:
            raw = self._transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        self.abort()

    def abort(self) -> None:
        """Drop the connection at once, with whatever is not sent."""
        self._parser = None
        self._waiting.clear()
        if self._transport is not None:
            self._transport.abort()

    def finished(self) -> None:
        """The exchange is over: start the next one in a later turn."""
        self._exchange = None
        if not self._keep_alive:
            self.close()
        elif self._waiting:
            self._provider.loop.call_soon(self._advance)

    # From requests to exchanges.

    def _advance(self) -> None:
        while self._waiting and self._exchange is None:
            self._start(self._waiting.popleft())
        if self._transport is not None and not self._transport.is_closing():
            if self._waiting:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _start(self, incoming: Incoming) -> None:
        self._keep_alive = incoming.keep_alive
        path = incoming.path
        if path in ASKS:
            self._ask(incoming)
            return
        if path in KEYED and self._lacks_key(incoming):
            self._reply(replies.error_reply(401, "the API key is missing or wrong"))
            return
        self._reply(control_reply(self._provider, path, incoming.body))

    def _ask(self, incoming: Incoming) -> None:
        provider, tally = self._provider, self._provider.tally
        if incoming.method != b"POST":
            self._reply(replies.error_reply(405, "use POST"))
            return
        try:
            ask = provider.read(incoming.body, ASKS[incoming.path])
        except (msgspec.MsgspecError, ValueError) as error:
            tally.ended("bad_request", time.monotonic())
            self._reply(replies.error_reply(400, f"the request cannot be read: {error}"))
            return
        refusal: tuple[int, str] | None = None
        if self._lacks_key(incoming):
            refusal = 401, "the API key is missing or wrong"
        elif POISON in incoming.body:
            refusal = 400, "poison prompt"
        if refusal is not None:
            tally.turned_away()
            tally.ended(f"http_{refusal[0]}", time.monotonic())
            self._reply(replies.error_reply(*refusal))
            return
        self._exchange = Exchange(provider, self, ask)
        self._exchange.begin()

    def _lacks_key(self, incoming: Incoming) -> bool:
        wanted = self._provider.settings.api_key
        return bool(wanted) and not hmac.compare_digest(wanted.encode(), incoming.key)

    def _reply(self, data: bytes) -> None:
        self.write(data)
        if not self._keep_alive:
            self.close()

    def _turn_away(self, status: int, why: str) -> None:
        if self._parser is not None:
            self.write(replies.error_reply(status, why))
            self.close()
