"""Requests to a nightkiln server: blocking, one connection each, errors as our own.

Bodies and answers that may be large go from and to files. Nothing is tried twice
here: whoever asks knows whether that is safe. Redirects are not followed, for the
key goes with every request.
"""

import http.client
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from nightkiln.core.errors import (
    AuthError,
    InputError,
    NightkilnError,
    NotFound,
    QuotaError,
    UnreachableError,
    UsageError,
    catalogue,
)
from nightkiln.service.api import PROJECT_HEADER, ROWS_HEADER, Refusal
from nightkiln.vault.durable import disk_errors

T = TypeVar("T")
Query = Mapping[str, str | float | bool | Sequence[str] | None]

_TIMEOUT_S: Final = 120.0  # of silence
_MOST_PROBLEM: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 18
_GOOD: Final = range(200, 300)
_BY_STATUS: Final[dict[int, type[NightkilnError]]] = {
    400: UsageError,
    401: AuthError,
    403: AuthError,
    404: NotFound,
    413: InputError,
    429: QuotaError,
}


class Server:
    """A server and the key that is used there. Holds no connection."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url} is no address of a server", hint="it begins with http://")
        self.url = url.rstrip("/")
        self._parts = parts
        self._key = key

    def __repr__(self) -> str:
        return f"<server at {self.url}>"

    def ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: Query | None = None,
        body: object = None,
        project: str | None = None,
    ) -> T:
        """Send JSON, get JSON; for a key of scope admin about any project.

        Raises what the server said, UnreachableError.
        """
        data = None if body is None else msgspec.json.encode(body)
        about = None if project is None else {PROJECT_HEADER: project}
        with self._reply(method, path, query or {}, data, "application/json", more=about) as reply:
            return msgspec.json.decode(reply.read(), type=kind)

    def send(self, path: str, kind: type[T], file: BinaryIO, size: int, *, query: Query) -> T:
        """Send a file as it is, get JSON."""
        with self._reply("PUT", path, query, file, "application/octet-stream", size) as reply:
            return msgspec.json.decode(reply.read(), type=kind)

    def fetch(self, path: str, *, query: Query) -> bytes:
        """Get bytes, all in memory."""
        with self._reply("GET", path, query, None, "") as reply:
            return reply.read()

    def save(self, path: str, out: BinaryIO, *, query: Query) -> int:
        """Get a table into a file; how many rows it has, as the server says."""
        with self._reply("GET", path, query, None, "") as reply:
            while piece := reply.read(_PIECE_BYTES):
                with disk_errors("writing what the server sent"):
                    out.write(piece)
            return int(reply.headers.get(ROWS_HEADER, "0"))

    @contextmanager
    def _reply(  # noqa: PLR0913 - what a request is
        self,
        method: str,
        path: str,
        query: Query,
        body: bytes | BinaryIO | None,
        kind: str,
        size: int | None = None,
        more: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        headers = {"authorization": f"Bearer {self._key}", **(more or {})}
        if body is not None:
            headers["content-type"] = kind
        if size is not None:
            headers["content-length"] = str(size)
        said = {name: _text(value) for name, value in query.items() if value is not None}
        target = f"{self._parts.path.rstrip('/')}/api/v1{quote(path)}"
        if said:
            target += "?" + urlencode(said, doseq=True)
        connection = self._connection()
        reply = None
        try:
            connection.request(method, target, body, headers)
            reply = connection.getresponse()
            if reply.status not in _GOOD:
                raise _error(reply.status, reply.read(_MOST_PROBLEM))
            yield reply
        except (OSError, http.client.HTTPException, ssl.SSLError) as error:
            if reply is not None and isinstance(error, BrokenPipeError):
                raise  # whoever reads what we write has left; nothing is sent any more
            raise UnreachableError(
                f"the server at {self.url} does not answer: {type(error).__name__}",
                hint="check that it runs, or unset NIGHTKILN_URL to work in the home itself",
            ) from error
        except msgspec.DecodeError as error:
            raise UnreachableError(
                f"what answers at {self.url} does not speak as this version of nightkiln does",
                hint="check the address, and that both have the same version",
            ) from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
        return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)


def open_sized(path: Path) -> tuple[BinaryIO, int]:
    """A file to send, and how long it is. Raises InputError."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return file, path.stat().st_size


def _text(value: str | float | bool | Sequence[str]) -> str | Sequence[str]:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _error(status: int, body: bytes) -> NightkilnError:
    """What the server said, as the error that it would have been here."""
    try:
        said = msgspec.json.decode(body, type=Refusal)
    except msgspec.DecodeError:
        said = Refusal(code="", detail=f"the server answered {status}")
    kind = catalogue().get(said.code) or _BY_STATUS.get(status, NightkilnError)
    if kind is NightkilnError and status in _BY_STATUS:
        kind = _BY_STATUS[status]
    error = kind.__new__(kind)
    NightkilnError.__init__(error, said.detail, hint=said.hint)
    if isinstance(error, InputError):
        error.line, error.reason = None, ""
    return error
