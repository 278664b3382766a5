"""A table at a URL, fetched once: only from the public internet, never redirected, never endless.

Whoever names a URL could name one that only this machine can reach: a cloud's
metadata service, a router, a database. So a name is resolved once, every address
it has must be a public one, and the connection goes to exactly the address that
was checked; asking again would be a chance to answer differently. Certificates
are checked against the name in the URL. No proxy is used and no credential sent.
A redirect is refused with the address it names, so that a person decides.
"""

import hashlib
import http.client
import io
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final, TypeAlias, cast
from urllib.parse import SplitResult, urlsplit

import msgspec

from nightkiln.core.errors import InputError, UnreachableError, UsageError
from nightkiln.vault.durable import disk_errors

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS: Final = {"http": 80, "https": 443}
_PIECE_BYTES: Final = 1 << 18
_AGENT: Final = "nightkiln"
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Older Pythons call much of IPv6 global that is none: only this part was ever given out,
# and a piece of it is for documents.
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_EXAMPLES: Final = ipaddress.IPv6Network("3fff::/20")


def is_public(address: Address) -> bool:
    """True for an address of the public internet, also when IPv6 only wraps an IPv4 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _translated(address)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address not in _UNICAST or address in _EXAMPLES:
            return False
    return address.is_global and not address.is_multicast


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else None


class Fetching(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of a fetch. Tests that serve from this machine bring their own `allowed`."""

    allowed: Callable[[Address], bool] = is_public
    max_bytes: int = 2 << 30
    deadline_s: float = 3600.0  # for everything
    silence_s: float = 30.0  # for the next bytes
    tls: ssl.SSLContext | None = None  # None: the system's certificates


def is_url(name: str) -> bool:
    """True for what is fetched rather than opened."""
    return name.lower().startswith(("http://", "https://"))


def path_of(url: str) -> str:
    """The path of a URL, whose ending tells the format."""
    return urlsplit(url).path


def fetch(url: str, path: Path, rules: Fetching) -> tuple[str, int]:
    """Fetch a URL into a new file, durably; its sha256 and size. Blocking.

    Raises UsageError for a URL that is not allowed, UnreachableError for a server
    that does not answer, InputError for an answer that is no table.
    """
    parts = _parsed(url)
    until = time.monotonic() + rules.deadline_s
    shown = shown_url(url)
    try:
        sock = _connected(parts, rules, until)
        with closing(sock):
            sock.sendall(_question(parts))
            reading = cast("socket.socket", _Reading(sock, rules, until))
            with closing(http.client.HTTPResponse(reading, method="GET")) as answer:
                answer.begin()
                _check_answer(answer, shown, rules)
                return _saved(answer, path, shown, rules)
    except (TimeoutError, ssl.SSLError, http.client.HTTPException, ConnectionError) as error:
        said = str(error) or type(error).__name__
        raise UnreachableError(f"{shown} could not be fetched: {said}") from error


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: its query."""
    head, mark, _ = url.partition("?")
    return head + ("?..." if mark else "")


def _parsed(url: str) -> SplitResult:
    shown = shown_url(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{shown} is no URL: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise UsageError(f"{shown} is no URL of a table", hint="it begins with https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "a URL of a table has no user or password in it", hint="download it yourself first"
        )
    if any(ord(character) <= 32 or ord(character) >= 127 for character in url):
        raise UsageError(f"{shown!a} has characters that no URL has", hint="write them as %20")
    return parts


def _connected(parts: SplitResult, rules: Fetching, until: float) -> socket.socket:
    """A connection to an address that was checked, TLS on top where it is asked for."""
    host = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme]
    failure: OSError | None = None
    for family, address in _checked_addresses(host, port, rules):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(_left(rules, until))
            sock.connect((str(address), port))
            if parts.scheme == "http":
                return sock
            context = rules.tls or ssl.create_default_context()
            return context.wrap_socket(sock, server_hostname=host)
        except ssl.SSLError:
            sock.close()
            raise
        except OSError as error:
            sock.close()
            failure = error
    said = getattr(failure, "strerror", None) or failure
    raise UnreachableError(f"{host} cannot be reached: {said}", hint="check the URL")


def _checked_addresses(
    host: str, port: int, rules: Fetching
) -> list[tuple[socket.AddressFamily, Address]]:
    """Every address of a host. Raises UsageError if one of them is not allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnreachableError(f"there is no host {host}", hint="check the URL") from error
    addresses: list[tuple[socket.AddressFamily, Address]] = []
    for family, _, _, _, place in found:
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        if not rules.allowed(address):
            raise UsageError(
                f"{host} is at {address}, which is no public address; tables are fetched only"
                " from public ones",
                hint="download the file yourself and name it",
            )
        addresses.append((family, address))
    return addresses


def _question(parts: SplitResult) -> bytes:
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        name += f":{parts.port}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = (
        f"GET {target} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: {_AGENT}\r\n"
        "Accept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii")


class _Reading(io.RawIOBase):
    """What is read from a connection, every read under the deadline of the whole."""

    def __init__(self, sock: socket.socket, rules: Fetching, until: float) -> None:
        self._sock = sock
        self._rules = rules
        self._until = until

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The one thing that the parser of answers asks of a socket."""
        return io.BufferedReader(self, _PIECE_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self._rules, self._until))
        return self._sock.recv_into(buffer)


def _check_answer(answer: http.client.HTTPResponse, shown: str, rules: Fetching) -> None:
    if 300 <= answer.status < 400:
        place = shown_url(answer.headers.get("Location", "nowhere"))
        raise InputError(
            f"{shown} redirects to {place!r}, and redirects are not followed",
            hint="name that URL yourself if you trust it",
        )
    if answer.status != 200:
        raise InputError(f"{shown} answers {answer.status} {answer.reason}", hint="check the URL")
    coding = answer.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity":
        raise InputError(f"{shown} comes encoded as {coding}, which was not asked for")
    if answer.length is not None and answer.length > rules.max_bytes:
        raise _too_large(shown, rules)


def _left(rules: Fetching, until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"it took longer than {rules.deadline_s:.0f} s")
    return min(left, rules.silence_s)


def _saved(
    answer: http.client.HTTPResponse, path: Path, shown: str, rules: Fetching
) -> tuple[str, int]:
    digest, size, expected = hashlib.sha256(), 0, answer.length
    is_whole = False
    try:
        with disk_errors(f"fetching {shown}"), path.open("xb") as out:
            while piece := answer.read1(_PIECE_BYTES):
                size += len(piece)
                if size > rules.max_bytes:
                    raise _too_large(shown, rules)
                digest.update(piece)
                out.write(piece)
            if expected is not None and size != expected:
                raise InputError(
                    f"{shown} broke off after {size} of {expected} bytes", hint="run again"
                )
            out.flush()
            os.fsync(out.fileno())
        is_whole = True
    finally:
        if not is_whole:
            path.unlink(missing_ok=True)
    return digest.hexdigest(), size


def _too_large(shown: str, rules: Fetching) -> InputError:
    return InputError(
        f"{shown} is larger than {rules.max_bytes >> 20} MB", hint="download it yourself first"
    )
