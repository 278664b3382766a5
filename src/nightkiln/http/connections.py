"""Connections on a clock: uvicorn's protocol, and what it leaves open for ever.

uvicorn times only the pause after an answer. Whoever opens a connection and says
nothing, or drips a request's head a byte at a time, would hold it without a key for
as long as he likes. So whenever nothing is being answered, a whole head has to come
within a deadline, counted from the first byte (or from the connection's beginning).
Strangers, who have shown no good key yet, wait a shorter time between requests too,
and only so many of them are let in: the one who has been idle longest makes room.
How fast a body has to come is `limits.BoundedBody`'s business.
"""

import asyncio
from collections import OrderedDict
from functools import partial
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nightkiln.http.settings import ServerSettings

KNOWN: Final = "nightkiln.known"  # in the scope: call it when the request has shown a good key


class Strangers:
    """The connections of one server that have shown no good key, the oldest first."""

    def __init__(self, settings: ServerSettings) -> None:
        self.head_s = settings.head_s
        self._most = settings.strangers
        self._found: OrderedDict[TimedProtocol, None] = OrderedDict()

    def protocol(self) -> Any:
        """What uvicorn makes a protocol of each connection with."""
        return partial(TimedProtocol, strangers=self)

    def enter(self, one: "TimedProtocol") -> None:
        """Let a stranger in. Where there are too many, one that is idle leaves, or the new one."""
        if len(self._found) >= self._most:
            leaving = next((other for other in self._found if other.is_idle), one)
            leaving.cut()
            self.leave(leaving)
            if leaving is one:
                return
        self._found[one] = None

    def leave(self, one: "TimedProtocol") -> None:
        """A connection is known now, or gone."""
        self._found.pop(one, None)

    def __contains__(self, one: object) -> bool:
        return one in self._found


class TimedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, strangers: Strangers, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._strangers = strangers
        self._usual_s = float(self.timeout_keep_alive)
        self._due: asyncio.TimerHandle | None = None  # by then a head has to be here

    @property
    def is_idle(self) -> bool:
        """True while no request is being answered here."""
        return self.cycle is None or self.cycle.response_complete

    def cut(self) -> None:
        """End the connection without a word."""
        if self.transport is not None:
            self.transport.abort()

    # -- what asyncio tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody is there."""
        super().connection_made(transport)
        self._await_head()
        self._strangers.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._strangers.leave(self)
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes have come: of a head, of a body, or of nothing at all."""
        if self.is_idle:
            self._await_head()
        super().data_received(data)

    # -- what the parser tells

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self.scope[KNOWN] = self._known  # type: ignore[typeddict-unknown-key]

    def on_headers_complete(self) -> None:
        """The head is here: from now on the application has its own deadlines."""
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The whole request is here; one that was answered before that leaves the line idle."""
        super().on_message_complete()
        if self.is_idle and self._due is not None:
            self._stop_waiting()
            self._await_next()

    def on_response_complete(self) -> None:
        """An answer is out."""
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            self._await_next()

    # -- the clock

    @property
    def _patience_s(self) -> float:
        """How long the next request may take to begin."""
        if self in self._strangers:
            return min(self._usual_s, self._strangers.head_s)
        return self._usual_s

    def _known(self) -> None:
        self._strangers.leave(self)

    def _await_head(self) -> None:
        if self._due is None:
            self._due = self.loop.call_later(self._strangers.head_s, self._too_slow)

    def _await_next(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self._patience_s, self.timeout_keep_alive_handler
        )

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _too_slow(self) -> None:
        self._due = None
        if self.is_idle:
            self.cut()
