"""The connections to one target: taken, given back, swept. Nothing is ever sent twice.

The newest idle connection is taken first, so that few stay warm and the rest
grow old and are closed. Idle connections go after `IDLE_S`: common servers
close theirs after five seconds, and a request written to a connection that
is being closed is AMBIGUOUS, so we leave first.

One timer per pool watches all deadlines; a request costs a future and nothing
else. How many connections there are is decided by whoever asks (its slots).
"""

import asyncio
import ssl
from typing import Final

from nightkiln.backends.transport.connecting import connect
from nightkiln.backends.transport.connection import BODY_LIMIT, Connection
from nightkiln.backends.transport.reply import HttpReply
from nightkiln.backends.transport.target import Target
from nightkiln.core.fault import Fault
from nightkiln.wire.trouble import Trouble, transport_fault

SWEEP_S: Final = 0.1  # how late a deadline may be noticed
IDLE_S: Final = 4.0
CONNECT_S: Final = 5.0


class Pool:
    """Keep-alive connections to one target. Belongs to the event loop it is first used in."""

    __slots__ = (
        "_body_limit",
        "_closed",
        "_connections",
        "_head",
        "_idle",
        "_loop",
        "_ssl",
        "_sweeper",
        "target",
    )

    def __init__(
        self,
        target: Target,
        *,
        tls: ssl.SSLContext | None = None,
        body_limit: int = BODY_LIMIT,  # bytes of one reply
    ) -> None:
        """`tls` is shared by all pools of a process; it is needed only for https targets."""
        if target.tls and tls is None:
            raise ValueError("an https target needs a TLS context")
        self.target = target
        self._ssl = tls if target.tls else None
        self._head = target.head
        self._body_limit = body_limit
        self._idle: list[Connection] = []
        self._connections: set[Connection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(
        self, body: bytes, deadline: float, head: bytes | None = None
    ) -> HttpReply | Fault:
        """Send one request and give its reply, or why there is none, by `deadline` (loop time).

        `head` is one of the target's, for another path than its own.
        A fault with `sent=False` means that no byte left. Cancelling closes the connection.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        connection = self._take()
        if connection is None:
            made = await self._connect(loop, deadline)
            if isinstance(made, Fault):
                return made
            connection = made
        future: asyncio.Future[HttpReply | Fault] = loop.create_future()
        connection.send(b"%b%d\r\n\r\n%b" % (head or self._head, len(body), body), deadline, future)
        try:
            return await future
        except asyncio.CancelledError:
            connection.abort()
            raise

    async def get(self, deadline: float, head: bytes) -> HttpReply | Fault:
        """Ask for a page, as `post` asks for a reply; `head` says that it is a GET."""
        return await self.post(b"", deadline, head)

    async def aclose(self) -> None:
        """Close every connection; exchanges in flight end as ambiguous. Safe to call twice."""
        self._closed = True
        for connection in tuple(self._connections):
            connection.fail(Trouble.SHUT)
        self._idle.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        await asyncio.sleep(0)  # lets the loop run the closings

    @property
    def size(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def idle(self) -> int:
        """How many of them wait for work."""
        return len(self._idle)

    # what connections tell

    def freed(self, connection: Connection) -> None:
        """Take a connection back."""
        assert self._loop is not None
        connection.idle_since = self._loop.time()
        self._idle.append(connection)

    def gone(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _take(self) -> Connection | None:
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(
        self, loop: asyncio.AbstractEventLoop, deadline: float
    ) -> Connection | Fault:
        if self._closed:
            return transport_fault(Trouble.SHUT, "the backend is closed", sent=False)
        connection = Connection(self, body_limit=self._body_limit)
        self._connections.add(connection)
        fault: Fault | None = transport_fault(Trouble.SHUT, "the backend is closed", sent=False)
        try:
            by = min(deadline, loop.time() + CONNECT_S)
            failure = await connect(connection, self.target, self._ssl, by)
            if failure is not None or not self._closed:
                fault = failure
        finally:  # a cancelled caller ends up here as well
            if fault is not None:
                connection.abort()
                self._connections.discard(connection)
        if fault is not None:
            return fault
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_S, self._sweep)
        return connection

    def _sweep(self) -> None:
        """Close what is past its deadline or idle for too long; runs while there is anything."""
        assert self._loop is not None
        now = self._loop.time()
        for connection in [one for one in self._connections if one.deadline <= now]:
            connection.fail(Trouble.TIMEOUT, "no whole reply before the deadline")
        old = now - IDLE_S
        stale = [one for one in self._idle if one.idle_since <= old]
        if stale:
            self._idle = self._idle[len(stale) :]  # the oldest lie at the bottom
            for connection in stale:
                connection.abort()
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep) if self._connections else None
