"""Who may do what: every path asks for a key but a few that say nothing.

`admitted` runs before any route is looked for, so a route that forgets to ask is
closed and not open. Pages for people, and the stream of events that they read, take
the cookie of a session in the place of a key. Routes then say which scope they need:

    @router.get("/batches")
    async def list_batches(caller: Reader) -> Response: ...
"""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Final
from urllib.parse import quote

import msgspec
from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers

from nightkiln.core.access import ApiKey, Scope
from nightkiln.core.ids import ProjectId
from nightkiln.http.errors import Refuse
from nightkiln.http.keyring import Keyring
from nightkiln.http.parts import Parts
from nightkiln.http.sessions import cookie_in, cookie_name
from nightkiln.http.shapes import Problem
from nightkiln.http.visit import Caller, visit_of
from nightkiln.service.api import PROJECT_HEADER
from nightkiln.store import keys

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/api/docs", "/api/openapi.json"})
SIGN_IN: Final = "/sign-in"
# What a browser gets before anybody is signed in: the way in, and how pages look.
_ENTRANCE: Final = re.compile(r"/sign-in(/[\w-]+)?|/static/[\w.-]+")
_PAGES: Final = re.compile(r"/|/jobs/[^/]+(/live)?|/sign-out")
_STREAMS: Final = re.compile(r"/api/v1/jobs/[^/]+/events/stream")
_PREFIX: Final = "nk_"
_LONGEST: Final = 200  # characters of a key; ours have 46
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
PROBES: Final = frozenset({"/healthz", "/readyz"})  # asked by address, whatever it is

UNAUTHORISED: Final = Problem(
    status=401,
    code="invalid_api_key",
    message="The API key is missing or not good here. Send it as 'Authorization: Bearer KEY'"
    " or 'x-api-key: KEY'.",
)


class SignIn(msgspec.Struct, frozen=True):
    """Sends a browser to the page where one signs in, and back from there."""

    back: str
    status: int = 303
    body: bytes = b""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Where to go."""
        return (("location", f"{SIGN_IN}?next={quote(self.back, safe='')}"),)


class Access:
    """Decides who comes in. One for each server."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._keyring = Keyring(parts.store)

    async def admitted(self, path: str, headers: Headers, *, method: str) -> Caller | None:
        """Who asks, or None where nobody has to be known. Raises Refuse."""
        if path not in PROBES:
            self._check_host(headers.get("host", ""))
        if path in OPEN_PATHS or _ENTRANCE.fullmatch(path):
            return None
        now = self._parts.clock()
        key = await self._key(path, headers, method, now=now)
        if key is None:
            if method == "GET" and _PAGES.fullmatch(path) and _is_browser(headers):
                raise Refuse(SignIn(path))
            raise Refuse(UNAUTHORISED)
        if wait_s := self._keyring.wait_s(key):
            raise Refuse(_too_many(key, wait_s))
        project = await self._project(key, headers.get(PROJECT_HEADER))
        await self._keyring.note_use(key, now=now)
        return Caller(key=key, project=project, context=self._parts.context(project))

    async def _key(self, path: str, headers: Headers, method: str, *, now: float) -> ApiKey | None:
        """The key that is sent, or the one that a session stands for where that is enough.

        Everywhere else a cookie counts for nothing, so no other site can have a browser
        do anything here.
        """
        text = key_text(headers)
        if text is not None:
            return await self._keyring.find(text, now=now)
        if not (_PAGES.fullmatch(path) or (method == "GET" and _STREAMS.fullmatch(path))):
            return None
        name = cookie_name(secure=self._parts.settings.secure)
        token = cookie_in(headers.get("cookie", ""), name)
        sha256 = self._parts.sessions.find(token, now=now) if token else None
        return None if sha256 is None else await self._keyring.find_sha256(sha256, now=now)

    def _check_host(self, host: str) -> None:
        """Refuse names that are not ours: a page elsewhere may give its own name our address."""
        allowed = self._parts.settings.allowed_hosts
        if "*" in allowed or _name_of(host) in _LOCAL_HOSTS | allowed:
            return
        raise Refuse(
            Problem(
                status=421,
                code="unknown_host",
                message="This server does not answer to that host name.",
                hint="start it with --allow-host NAME",
                retry=False,
            )
        )

    async def _project(self, key: ApiKey, named: str | None) -> ProjectId:
        """The project that a request is about. Raises Refuse: 404 for one that is not theirs."""
        if named is None or named == key.project:
            return key.project
        if key.may(Scope.ADMIN) and named in await self._parts.store.read(keys.list_projects):
            return ProjectId(named)
        raise Refuse(Problem(status=404, code="E_NOT_FOUND", message="There is no such project."))


def key_text(headers: Headers) -> str | None:
    """The text of the key that a request brings, from either header."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    sent = [headers.get("x-api-key", "")]
    if scheme.lower() == "bearer":
        sent.insert(0, bearer)
    found = (text.strip() for text in sent)
    return next((one for one in found if one.startswith(_PREFIX) and len(one) <= _LONGEST), None)


def needs(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """A dependency that yields the caller, or refuses one whose key lacks the scope."""

    async def caller(
        request: Request,
        _bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
        _key: Annotated[str | None, Depends(_API_KEY)],
    ) -> Caller:
        found = visit_of(request).caller
        if found is None:
            raise Refuse(UNAUTHORISED)
        if not found.key.may(scope):
            raise Refuse(_lacks(scope))
        return found

    return caller


# What the OpenAPI says of keys; the doorway reads the headers itself.
_BEARER: Final = HTTPBearer(auto_error=False)
_API_KEY: Final = APIKeyHeader(name="x-api-key", auto_error=False)

Reader = Annotated[Caller, Depends(needs(Scope.READ))]
Writer = Annotated[Caller, Depends(needs(Scope.WRITE))]
Admin = Annotated[Caller, Depends(needs(Scope.ADMIN))]


def parts_of(request: Request) -> Parts:
    """The parts of the server that a request came to."""
    parts: Parts = request.app.state.parts
    return parts


Serving = Annotated[Parts, Depends(parts_of)]


def _lacks(scope: Scope) -> Problem:
    return Problem(
        status=403,
        code="insufficient_permissions",
        message=f"This API key lacks the scope {scope}.",
        retry=False,
    )


def _too_many(key: ApiKey, wait_s: float) -> Problem:
    most = key.caps.requests_per_minute
    return Problem(
        status=429,
        code="rate_limit_exceeded",
        message=f"This API key may send {most} requests a minute.",
        retry_after_s=wait_s,
    )


def _is_browser(headers: Headers) -> bool:
    return "text/html" in headers.get("accept", "")


def _name_of(host: str) -> str:
    """A Host header without its port, in lower case."""
    name = host.strip().lower()
    head, colon, port = name.rpartition(":")
    return head if colon and port.isdigit() and (name.startswith("[") or ":" not in head) else name
