"""Any server that speaks as OpenAI does, as a prompt backend: chats, and what else it is asked.

It sends each request once: whether and when to ask again is the plan's affair.
"""

import ssl
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from nightkiln.backends.base import Encoder
from nightkiln.backends.endpoints.enginepage import EnginePage, page_of
from nightkiln.backends.transport import Pool, Target
from nightkiln.backends.transport.target import parsed_url
from nightkiln.backends.transport.tls import shared_context
from nightkiln.core.answer import Reply
from nightkiln.core.engineload import EngineLoad
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import JobSpec, Task
from nightkiln.core.request import Request
from nightkiln.wire.classify import classify
from nightkiln.wire.headers import limits_of
from nightkiln.wire.tasks import DIALECTS

FAULT_BODY_BYTES: Final = 4 * 1024  # of an error that is kept; thousands of rows may wait with one
LAST_BODY_BYTES: Final = 64 * 1024  # of a fault that mostly ends its row, so that few are held
_GONE: Final = "…".encode()
_SECRET_BYTES: Final = 8  # shorter ones (EMPTY, none) are common words to servers without keys
_LAST: Final = frozenset({FaultClass.PERMANENT, FaultClass.CONTENT, FaultClass.INCOMPLETE})
_LIMITS_S: Final = 0.1  # how often the limits in the headers are read ...
_NO_LIMITS_S: Final = 5.0  # ... or looked for, where there were none


class EndpointSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where an endpoint is and what goes with every request. Never shown: it may hold a secret."""

    url: str  # up to and including /v1
    credential: str | None = None  # the secret itself, already resolved
    headers: dict[str, str] = {}
    secrets: tuple[str, ...] = ()  # what headers hold besides, and no server may repeat to us
    name: str = ""  # for screens; the URL's host and port when empty
    keep_bodies: bool = False  # replies keep their raw body
    metrics: bool | None = None  # its engine is asked how busy it is; None: where it is ours

    def __repr__(self) -> str:
        return f"EndpointSettings(url={self.url!r})"


class OpenAIEndpoint:
    """Asks an OpenAI-compatible server. Its repr and name hold no secret."""

    tasks = frozenset(DIALECTS)

    def __init__(self, settings: EndpointSettings, *, tls: ssl.SSLContext | None = None) -> None:
        """Opens nothing yet. Raises UsageError for a URL or header that cannot be used."""
        urls = {task: url_of(settings.url, dialect.path) for task, dialect in DIALECTS.items()}
        target = Target(urls[Task.CHAT], _headers(settings))
        if target.tls and tls is None:
            tls = shared_context()
        self._pool = Pool(target, tls=tls)
        page = page_of(settings.url, _headers(settings), wanted=settings.metrics)
        self._engine = None if page is None else EnginePage(page, tls=tls)
        self._ways = {
            task: (target.head_to(urls[task]), dialect.parse) for task, dialect in DIALECTS.items()
        }
        self._chats = self._ways[Task.CHAT]
        self._name = settings.name or f"{target.host}:{target.port}"
        self._keep_bodies = settings.keep_bodies
        self._limits_at = 0.0  # by the monotonic clock; reading headers costs more than a reply
        secrets = filter(None, (settings.credential, *settings.secrets))
        forms = [form for secret in secrets for form in _forms_of(secret)]
        self._secrets = tuple(form for form in forms if len(form) >= _SECRET_BYTES)
        self._words = tuple(form for form in forms if len(form) < _SECRET_BYTES)

    def __repr__(self) -> str:
        return f"OpenAIEndpoint({self._name!r})"

    @property
    def name(self) -> str:
        """What screens and parts call this endpoint."""
        return self._name

    def encoder(self, spec: JobSpec) -> Encoder:
        """What makes the job's request bodies. Raises UsageError for what cannot be said."""
        return DIALECTS[spec.task].encoder(spec)

    async def answer(self, request: Request, *, deadline: float) -> Reply | Fault:
        """The model's reply, or why there is none, by `deadline` (event loop time)."""
        # Most requests are chats, and an enum is slow to hash.
        head, parse = self._chats if request.task is Task.CHAT else self._ways[request.task]
        reply = await self._pool.post(request.body, deadline, head)
        if isinstance(reply, Fault):
            return reply
        if reply.status != 200:
            body = self._clean(reply.body)
            fault = classify(reply.status, reply.headers(), body, now=time.time())
            return self._kept(fault, body)
        answer = parse(reply.body, keep_body=self._keep_bodies)
        if isinstance(answer, Fault):
            body = self._clean(reply.body)
            again = parse(body, keep_body=self._keep_bodies)
            return self._kept(again if isinstance(again, Fault) else answer, body)
        request_id, limits = reply.header(b"x-request-id"), None
        if request_id:
            request_id = self._clean(request_id.encode()).decode()
        if (now := time.monotonic()) >= self._limits_at:
            limits = limits_of(reply.headers())
            self._limits_at = now + (_LIMITS_S if limits else _NO_LIMITS_S)
        if request_id or limits:
            return msgspec.structs.replace(answer, request_id=request_id, limits=limits)
        return answer

    @property
    def tells_load(self) -> bool:
        """True while the engine behind it is asked how busy it is."""
        return self._engine is not None and self._engine.tells

    async def load(self, *, deadline: float) -> EngineLoad | None:
        """How busy the engine is, or None, by `deadline` (event loop time)."""
        return None if self._engine is None else await self._engine.load(deadline=deadline)

    def _clean(self, said: bytes) -> bytes:
        """Somebody's words without our credential, which some servers repeat.

        Before anything is read of them: what is cut to a length or written otherwise
        could not be recognised any more.
        """
        for secret in self._secrets:
            if secret in said:
                said = said.replace(secret, _GONE)
        return said

    def _kept(self, fault: Fault, body: bytes) -> Fault:
        """The fault with its body where that is wanted. Credentials of few letters go as well.

        They may be part of any word, so they go only from what is shown.
        """
        message = fault.message
        for word in self._words:
            message = message.replace(word.decode(), "…")
        if message != fault.message:
            fault = msgspec.structs.replace(fault, message=message)
        room = LAST_BODY_BYTES if fault.kind in _LAST else FAULT_BODY_BYTES
        unreadable = fault.kind is FaultClass.PROTOCOL
        if not self._keep_bodies or unreadable or len(body) > room:
            return fault
        for word in self._words:
            body = body.replace(word, _GONE)
        return msgspec.structs.replace(fault, body=body)

    async def aclose(self) -> None:
        """Close all connections. Safe to call twice."""
        await self._pool.aclose()
        if self._engine is not None:
            await self._engine.aclose()


def _forms_of(secret: str) -> tuple[bytes, ...]:
    """A secret as it may stand in a text, in JSON and in a URL."""
    in_json = msgspec.json.encode(secret)[1:-1]
    forms = (secret.encode(), in_json, in_json.replace(b"/", rb"\/"), quote(secret).encode())
    return tuple(dict.fromkeys((*forms, quote(secret, safe="").encode())))


def url_of(url: str, path: str) -> str:
    """The URL that requests go to. A query, as Azure needs it, stays. Raises UsageError."""
    parts = parsed_url(url)
    base = parts.path.rstrip("/")
    for dialect in DIALECTS.values():
        if base.endswith(dialect.path):
            shorter = url.partition(dialect.path)[0]
            raise UsageError(f"--endpoint: leave out {dialect.path}", hint=f"write {shorter}")
    return parts._replace(path=base + path, fragment="").geturl()


def _headers(settings: EndpointSettings) -> Mapping[str, str]:
    if settings.credential is None:
        return settings.headers
    if any(name.lower() == "authorization" for name in settings.headers):
        raise UsageError("--header authorization is set by --key as well", hint="keep one of them")
    return {"authorization": f"Bearer {settings.credential}", **settings.headers}
