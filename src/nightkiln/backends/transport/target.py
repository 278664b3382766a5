"""Where requests go: a host, paths on it and headers, prepared once. It opens nothing."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from nightkiln.core.errors import UsageError

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_OURS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "transfer-encoding",
        "upgrade",
    }
)


class Target:
    """A host and the head of every request to it. Its repr shows no header values."""

    __slots__ = ("_rest", "head", "host", "port", "tls", "url")

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        """`url` is complete, with scheme and path. Raises UsageError for what HTTP cannot say."""
        parts = parsed_url(url)
        self.url = url
        self.tls = parts.scheme == "https"
        self.host = _ascii_host(parts)
        self.port = parts.port or (443 if self.tls else 80)
        self._rest = _rest(parts, self.host, headers)
        self.head = _first_line(parts) + self._rest

    def head_to(self, url: str, *, method: str = "POST") -> bytes:
        """The head of a request to another path of the same host. Raises UsageError."""
        return _first_line(parsed_url(url), method) + self._rest

    def __repr__(self) -> str:
        return f"Target({self.url!r})"


def parsed_url(url: str, *, flag: str = "--endpoint") -> SplitResult:
    """The parts of an http or https URL. Raises UsageError naming the flag it came from."""
    if any(mark.isspace() or not mark.isprintable() for mark in url):
        raise UsageError(f"{flag}: a URL holds no spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as problem:
        raise UsageError(f"{flag}: this is no URL: {problem}") from problem
    if parts.username or parts.password:
        raise UsageError(f"{flag}: leave secrets out of the URL", hint="use --key env:NAME")
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise UsageError(
            f"{flag} {url!r} is no http(s) URL", hint="write it as http://127.0.0.1:8000/v1"
        )
    return parts


def checked_header(name: str, value: str, *, flag: str = "--header") -> None:
    """Raise UsageError for a header that cannot be sent or that the transport sets itself."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{flag}: {name!r} is no header name")
    if name.lower() in _OURS:
        raise UsageError(f"{flag}: {name} is set by nightkiln itself")
    if not value.isascii() or any(not mark.isprintable() and mark != "\t" for mark in value):
        raise UsageError(f"{flag}: the value of {name} is not plain ASCII on one line")


def _ascii_host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as problem:
        raise UsageError(f"--endpoint: {host!r} is no host name") from problem


def _first_line(parts: SplitResult, method: str = "POST") -> bytes:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise UsageError("--endpoint: write the URL's path in ASCII, percent-encoded")
    return f"{method} {path} HTTP/1.1\r\n".encode("ascii")


def _rest(parts: SplitResult, host: str, headers: Mapping[str, str]) -> bytes:
    """Everything after the first line, up to the value of content-length, which comes last."""
    shown = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        shown += f":{parts.port}"
    lines = [f"host: {shown}"]
    for name, value in headers.items():
        checked_header(name, value)
        lines.append(f"{name.lower()}: {value}")
    lines += ["content-type: application/json", "accept-encoding: identity", "content-length: "]
    return "\r\n".join(lines).encode("ascii")
