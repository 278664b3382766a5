"""Any server that speaks OpenAI chat completions, as a prompt backend.

It sends each request once: whether and when to ask again is the plan's affair.
"""

import ssl
import time
from collections.abc import Mapping

import msgspec

from nightkiln.backends.base import Encoder
from nightkiln.backends.transport import Pool, Target
from nightkiln.backends.transport.target import parsed_url
from nightkiln.backends.transport.tls import shared_context
from nightkiln.core.answer import Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault
from nightkiln.core.job import JobSpec
from nightkiln.core.request import Request
from nightkiln.wire.chat import PATH, ChatEncoder
from nightkiln.wire.chatreply import parse_reply
from nightkiln.wire.classify import classify


class EndpointSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where an endpoint is and what goes with every request. Never shown: it may hold a secret."""

    url: str  # up to and including /v1
    credential: str | None = None  # the secret itself, already resolved
    headers: dict[str, str] = {}
    name: str = ""  # for screens; the URL's host and port when empty
    keep_bodies: bool = False  # replies keep their raw body

    def __repr__(self) -> str:
        return f"EndpointSettings(url={self.url!r})"


class OpenAIEndpoint:
    """Asks an OpenAI-compatible server. Its repr and name hold no secret."""

    def __init__(self, settings: EndpointSettings, *, tls: ssl.SSLContext | None = None) -> None:
        """Opens nothing yet. Raises UsageError for a URL or header that cannot be used."""
        target = Target(completions_url(settings.url), _headers(settings))
        if target.tls and tls is None:
            tls = shared_context()
        self._pool = Pool(target, tls=tls)
        self._name = settings.name or f"{target.host}:{target.port}"
        self._keep_bodies = settings.keep_bodies
        self._credential = settings.credential

    def __repr__(self) -> str:
        return f"OpenAIEndpoint({self._name!r})"

    @property
    def name(self) -> str:
        """What screens and parts call this endpoint."""
        return self._name

    def encoder(self, spec: JobSpec) -> Encoder:
        """What makes the job's request bodies. Raises UsageError for what cannot be said."""
        schema = None if spec.output_schema is None else spec.output_schema.encode()
        return ChatEncoder(spec.model, spec.prompt.system, spec.sampling, schema).encode

    async def answer(self, request: Request, *, deadline: float) -> Reply | Fault:
        """The model's reply, or why there is none, by `deadline` (event loop time)."""
        reply = await self._pool.post(request.body, deadline)
        if isinstance(reply, Fault):
            return reply
        if reply.status != 200:
            fault = classify(reply.status, reply.headers(), reply.body, now=time.time())
            return self._without_credential(fault)
        answer = parse_reply(reply.body, keep_body=self._keep_bodies)
        if isinstance(answer, Fault):
            return self._without_credential(answer)
        request_id = reply.header(b"x-request-id")
        return msgspec.structs.replace(answer, request_id=request_id) if request_id else answer

    def _without_credential(self, fault: Fault) -> Fault:
        """Some servers repeat the credential in their error messages."""
        if self._credential and self._credential in fault.message:
            said = fault.message.replace(self._credential, "…")
            return msgspec.structs.replace(fault, message=said)
        return fault

    async def aclose(self) -> None:
        """Close all connections. Safe to call twice."""
        await self._pool.aclose()


def completions_url(url: str) -> str:
    """The URL that requests go to. A query, as Azure needs it, stays. Raises UsageError."""
    parts = parsed_url(url)
    path = parts.path.rstrip("/")
    if path.endswith(PATH):
        raise UsageError(f"--endpoint: leave out {PATH}", hint=f"write {url.partition(PATH)[0]}")
    return parts._replace(path=path + PATH, fragment="").geturl()


def _headers(settings: EndpointSettings) -> Mapping[str, str]:
    if settings.credential is None:
        return settings.headers
    if any(name.lower() == "authorization" for name in settings.headers):
        raise UsageError("--header authorization is set by --key as well", hint="keep one of them")
    return {"authorization": f"Bearer {settings.credential}", **settings.headers}
