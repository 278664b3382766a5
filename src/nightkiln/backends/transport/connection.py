"""One keep-alive connection: writes a request, gathers its reply, sets one future.

Shape of the work. A connection is idle or has exactly one exchange; a reply is
complete when the parser says so, or, for bodies without a length, when the
server closes. Bytes that arrive when nothing was asked, or after a complete
reply, would be taken for the answer to the next request, so such a connection
is closed and never used again.

Bounds. The decoded body is capped. All other bytes of a reply (head, interim
replies, chunk framing, trailers) are capped together as `overhead`, which is
looked at only when a read did not complete the reply: the usual reply arrives
whole and pays nothing for it.

Failures are values: the future's result is a reply or a fault, never an
exception. Deadlines are not watched here; the pool's sweep does that.
"""

import asyncio
import math
from typing import Final, Protocol, cast

import httptools

from nightkiln.backends.transport.reply import HttpReply
from nightkiln.core.fault import Fault
from nightkiln.wire.trouble import Trouble, transport_fault

HEAD_LIMIT: Final = 64 * 1024  # bytes of one reply's head
HEADER_COUNT_LIMIT: Final = 200
BODY_LIMIT: Final = 64 * 1024 * 1024  # bytes of one reply's decoded body
OVERHEAD_LIMIT: Final = 8 * 1024 * 1024  # bytes of chunk framing at the most


class Owner(Protocol):
    """Whoever keeps connections: told when one is free again and when one is gone."""

    def freed(self, connection: "Connection") -> None:
        """The exchange is over and the connection can take another."""
        ...

    def gone(self, connection: "Connection") -> None:
        """The connection is lost."""
        ...


class Connection(asyncio.Protocol):
    """An HTTP/1.1 client connection for one exchange at a time."""

    __slots__ = (
        "_body",
        "_body_limit",
        "_body_size",
        "_chunks",
        "_complete",
        "_dirty",
        "_future",
        "_head_done",
        "_headers",
        "_keep",
        "_owner",
        "_parser",
        "_received",
        "_status",
        "_transport",
        "_trouble",
        "deadline",
        "idle_since",
    )

    def __init__(self, owner: Owner, *, body_limit: int = BODY_LIMIT) -> None:
        self._owner = owner
        self._body_limit = body_limit
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._future: asyncio.Future[HttpReply | Fault] | None = None
        self._dirty = False  # never use again
        self.deadline = math.inf  # of the exchange, in event loop time
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = b""
        self._chunks: list[bytes] | None = None  # only for bodies in several pieces
        self._body_size = 0
        self._received = 0
        self._status = 0
        self._head_done = False
        self._complete = False
        self._keep = False
        self._trouble: Trouble | None = None

    # what the pool asks

    @property
    def usable(self) -> bool:
        """True while a request may be written."""
        transport = self._transport
        return transport is not None and not self._dirty and not transport.is_closing()

    def send(
        self, data: bytes, deadline: float, future: "asyncio.Future[HttpReply | Fault]"
    ) -> None:
        """Write one request; `future` gets the reply or the fault."""
        assert self._future is None, "one exchange at a time"
        assert self._transport is not None
        self._future = future
        self.deadline = deadline
        self._transport.write(data)

    def fail(self, trouble: Trouble, detail: str = "") -> None:
        """End the exchange, if there is one, with a fault, and close."""
        self.abort()
        self._end(transport_fault(trouble, detail, sent=True))

    def abort(self) -> None:
        """Close at once; an exchange in flight is simply forgotten by whoever cancelled it."""
        self._dirty = True
        if self._transport is not None:
            self._transport.abort()

    # what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one only in shape

    def data_received(self, data: bytes) -> None:
        """Feed the parser and end the exchange if that completed it."""
        if self._dirty or self._future is None:
            self.abort()  # bytes that nobody asked for
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as problem:
            self._dirty = True
            if not self._complete:
                self.fail(self._trouble or Trouble.BAD_HTTP, str(problem))
                return
        if self._complete:
            self._finish()
        else:
            self._check_bounds()

    def eof_received(self) -> None:
        """The server closes: that completes a body without a length; the rest is in `gone`."""
        if self._future is not None and self._head_done and not self._is_framed():
            self._keep = False
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, and whoever waits, what was lost."""
        self._dirty = True
        self._owner.gone(self)
        if self._future is not None:
            self._end(self._loss(exc))
        self._transport = None
        del self._parser  # it refers back to us: break the circle

    # what the parser tells

    def on_message_begin(self) -> None:
        """A second reply to one request is never the answer to the next one."""
        if self._complete:
            self._dirty = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header of the head; trailers are dropped."""
        if not self._head_done:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole; interim replies (1xx) are forgotten."""
        status = self._parser.get_status_code()
        if self._complete:
            return
        if len(self._headers) > HEADER_COUNT_LIMIT or (
            self._received > HEAD_LIMIT and self._head_size() > HEAD_LIMIT
        ):
            self._trouble = Trouble.HEADERS_TOO_LARGE
        if status >= 200:
            self._status = status
            self._head_done = True

    def on_body(self, body: bytes) -> None:
        """Gather the body under its cap."""
        if self._complete:
            return
        self._body_size += len(body)
        if self._body_size > self._body_limit:
            self._trouble = Trouble.BODY_TOO_LARGE
            self._chunks = None
        elif self._chunks is not None:
            self._chunks.append(body)
        elif self._body:
            self._chunks = [self._body, body]
        else:
            self._body = body

    def on_message_complete(self) -> None:
        """The reply is whole, unless it was an interim one."""
        if self._complete:
            return
        if self._head_done:
            self._keep = self._parser.should_keep_alive()
            self._complete = True
        else:
            self._headers = []

    # ends of an exchange

    def _finish(self) -> None:
        if self._trouble is not None:
            self.fail(self._trouble)
            return
        body = self._body if self._chunks is None else b"".join(self._chunks)
        reply = HttpReply(self._status, self._headers, body)
        if self._dirty or not self._keep or self._has_leftovers():
            self.abort()
        self._end(reply)

    def _end(self, outcome: HttpReply | Fault) -> None:
        future, self._future = self._future, None
        self.deadline = math.inf
        self._reset()
        if not self._dirty:
            self._owner.freed(self)
        if future is not None and not future.done():
            future.set_result(outcome)

    def _has_leftovers(self) -> bool:
        """True when a server answered, always with an error, before it had all we wrote."""
        if self._status == 200 or self._transport is None:
            return False
        return self._transport.get_write_buffer_size() > 0

    def _check_bounds(self) -> None:
        overhead = self._received - self._body_size
        allowed = HEAD_LIMIT + min(8 * self._body_size, OVERHEAD_LIMIT)
        if self._trouble is not None:
            self.fail(self._trouble)
        elif overhead > allowed:
            self.fail(Trouble.BAD_HTTP if self._head_done else Trouble.HEADERS_TOO_LARGE)

    def _head_size(self) -> int:
        return sum(len(name) + len(value) + 4 for name, value in self._headers)

    def _is_framed(self) -> bool:
        return any(
            name.lower() == b"content-length"
            or (name.lower() == b"transfer-encoding" and value.lower().endswith(b"chunked"))
            for name, value in self._headers
        )

    def _loss(self, exc: Exception | None) -> Fault:
        detail = "" if exc is None else str(exc)
        if self._received:
            return transport_fault(Trouble.TRUNCATED, detail, sent=True)
        trouble = Trouble.CLOSED if exc is None else Trouble.RESET
        return transport_fault(trouble, detail, sent=True)
