"""What every request passes on its way in, and every answer on its way out.

In: a request id, a known host, a good key, a bound on the body. Out: the request
id, headers that keep browsers from mischief, a count. Between them stands the one
place where a bug ends as an answer: 500 without a word of the error, and a log
line that names its kind and place and nothing that anybody sent.
"""

import asyncio
import logging
import time
import traceback
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nightkiln.core.errors import NightkilnError
from nightkiln.core.ids import new_id
from nightkiln.http import docspage
from nightkiln.http.access import PROBES, Access
from nightkiln.http.connections import KNOWN
from nightkiln.http.errors import BUG, Refuse, reply_to, response_of
from nightkiln.http.limits import BoundedBody, most_bytes
from nightkiln.http.metrics import HttpMetrics
from nightkiln.http.parts import Parts, Phase
from nightkiln.http.shapes import Problem, shape_of, write
from nightkiln.http.visit import Visit, route_of
from nightkiln.service.context import Context
from nightkiln.service.diskroom import check_room

log = logging.getLogger(__name__)

_ENTROPY_BYTES: Final = 8
_REFUSED: Final = 400  # and above
_TOO_SLOW: Final = 408
_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
_DRAINING: Final = Problem(
    status=503,
    code="draining",
    message="This server is stopping and takes nothing new; send the request again.",
    retry_after_s=1.0,
)
_ONLY_TLS: Final = "max-age=31536000"


class Doorway:
    """The outermost part of the application."""

    def __init__(self, app: ASGIApp, *, parts: Parts, metrics: HttpMetrics) -> None:
        self._app = app
        self._parts = parts
        self._metrics = metrics
        self._access = Access(parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the application's own start and end."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit(request_id=self._request_id(), shape=shape_of(scope["path"]))
        scope["nightkiln.visit"] = visit
        settings, path = self._parts.settings, scope["path"]
        body = BoundedBody(
            receive,
            Headers(scope=scope),
            most=most_bytes(path, settings),
            silence_s=settings.body_silence_s,
            least_rate=settings.body_least_rate,
        )
        out = _Outgoing(send, visit, body, secure=settings.secure, path=path)
        began = time.monotonic()
        with self._metrics.active():
            try:
                await self._served(visit, scope, body, out)
            finally:
                seconds = time.monotonic() - began
                self._metrics.answered(scope, status=out.status, seconds=seconds)

    async def _served(
        self, visit: Visit, scope: Scope, body: BoundedBody, out: "_Outgoing"
    ) -> None:
        try:
            self._check_phase(scope["path"])
            visit.caller = await self._access.admitted(
                scope["path"], Headers(scope=scope), method=scope["method"]
            )
            if visit.caller is not None and (known := scope.get(KNOWN)) is not None:
                known()
            body.check_announced()
            if visit.caller is not None and body.is_on_its_way:
                await _check_room(visit.caller.context, body.announced)
            await self._app(scope, body.receive, out.send)
        except ClientDisconnect:
            return  # nobody is there to hear of it
        except (Refuse, NightkilnError) as error:
            await out.answer(reply_to(error, visit.shape, request_id=visit.request_id), scope)
        except Exception as error:
            log.error("a request ended in a bug", extra=_where(error, visit, scope))
            written = write(BUG, visit.shape, request_id=visit.request_id)
            await out.answer(response_of(written), scope)

    def _check_phase(self, path: str) -> None:
        """Refuse what comes while the server drains, but for the question whether it does."""
        if self._parts.standing.phase is Phase.DRAINING and path not in PROBES:
            raise Refuse(_DRAINING)

    def _request_id(self) -> str:
        entropy = self._parts.entropy(_ENTROPY_BYTES)
        return new_id("req_", now=self._parts.clock(), entropy=entropy)


class _Outgoing:
    """An answer on its way out: stamped, and its status known."""

    def __init__(
        self, send: Send, visit: Visit, body: BoundedBody, *, secure: bool, path: str
    ) -> None:
        self._send = send
        self._visit = visit
        self._body = body
        self._secure = secure
        self._path = path
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        """Pass a piece on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._stamp(MutableHeaders(scope=message))
        elif self._refuses_a_sender and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._body.drain()
            message = {"type": "http.response.body"}
        await self._send(message)

    async def answer(self, response: Response, scope: Scope) -> None:
        """Send a response, unless another has begun: then the connection is cut instead."""
        if self.status is None:
            await response(scope, self._body.receive, self.send)

    @property
    def _refuses_a_sender(self) -> bool:
        """True when the request is refused while its body is still coming."""
        return self.status is not None and self.status >= _REFUSED and self._body.is_on_its_way

    def _stamp(self, headers: MutableHeaders) -> None:
        if self._refuses_a_sender or self.status == _TOO_SLOW:
            headers["connection"] = "close"
        headers["request-id"] = headers["x-request-id"] = self._visit.request_id
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        if self._path == docspage.PATH:
            headers["content-security-policy"] = docspage.POLICY
        if self._visit.caller is not None:
            headers.setdefault("cache-control", "no-store")
        if self._secure:
            headers["strict-transport-security"] = _ONLY_TLS


async def _check_room(context: Context, coming: int) -> None:
    """Refuse a large body beforehand where the disk has no room for it. Raises DiskError."""
    await asyncio.to_thread(
        check_room, context.home.root, reserve=context.reserve_bytes, coming=coming
    )


def _where(error: Exception, visit: Visit, scope: Scope) -> dict[str, object]:
    """A bug's kind and place. Its text may hold a prompt or a secret, so it is not there."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return {
        "request_id": visit.request_id,
        "route": route_of(scope),
        "kind": type(error).__name__,
        "place": " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames)),
    }
