"""Reaching a URL that somebody named: only at addresses that were checked, under one deadline.

Whoever names a URL could name one that only this machine can reach: a cloud's
metadata service, a router, a database. So a name is resolved once, every address
it has must be a public one, and the connection goes to exactly the address that
was checked; asking again would be a chance to answer differently. Certificates
are checked against the name in the URL. No proxy is used. Blocking.
"""

import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

import msgspec

from nightkiln.core.errors import UnreachableError, UsageError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS: Final = {"http": 80, "https": 443}
PIECE_BYTES: Final = 1 << 18
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Older Pythons call much of IPv6 global that is none: only this part was ever given out,
# and a piece of it is for documents.
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_EXAMPLES: Final = ipaddress.IPv6Network("3fff::/20")
# Where clouds answer for metadata and credentials without being link-local.
_METADATA: Final = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))


def is_public(address: Address) -> bool:
    """True for an address of the public internet, also when IPv6 only wraps an IPv4 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _translated(address)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address not in _UNICAST or address in _EXAMPLES:
            return False
    return address.is_global and not address.is_multicast


def is_inside(address: Address) -> bool:
    """True for public addresses and those of a company's own network, this machine included.

    Never for link-local ones, where clouds keep credentials.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _translated(address)
        if inner is not None:
            return is_inside(inner)
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    return address not in _METADATA and (is_public(address) or address.is_private)


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else None


class Reaching(msgspec.Struct, frozen=True, kw_only=True):
    """The rules by which a URL is reached. Tests on this machine bring their own `allowed`."""

    allowed: Callable[[Address], bool] = is_public
    deadline_s: float = 10.0  # for everything
    silence_s: float = 30.0  # for the next bytes
    tls: ssl.SSLContext | None = None  # None: the system's certificates
    what: str = "a webhook"  # that the URL is of, and what else its owner reads when refused
    only: str = "webhooks are posted only to public ones"
    instead: str = ""


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: its query."""
    head, mark, _ = url.partition("?")
    return head + ("?..." if mark else "")


def parsed(url: str, rules: Reaching) -> SplitResult:
    """The parts of a URL that may be reached, as far as its text says. Raises UsageError."""
    shown = shown_url(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{shown} is no URL: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise UsageError(
            f"{shown} is no URL of {rules.what}", hint="it begins with https:// and a host"
        )
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"a URL of {rules.what} has no user or password in it", hint=rules.instead)
    if any(ord(character) <= 32 or ord(character) >= 127 for character in url):
        raise UsageError(f"{shown!a} has characters that no URL has", hint="write them as %20")
    return parts


def host_of(parts: SplitResult) -> str:
    """The host and the port, as a request names them."""
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    return name if parts.port is None else f"{name}:{parts.port}"


def port_of(parts: SplitResult) -> int:
    """The port, the usual one where none is named."""
    return parts.port or _PORTS[parts.scheme]


def target_of(parts: SplitResult) -> str:
    """What is asked for at the host: path and query."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def connected(parts: SplitResult, rules: Reaching, until: float) -> socket.socket:
    """A connection to an address that was checked, TLS on top where it is asked for."""
    host = parts.hostname or ""
    port = port_of(parts)
    failure: OSError | None = None
    for family, address in checked_addresses(host, port, rules):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(left_s(rules, until))
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


def checked_addresses(
    host: str, port: int, rules: Reaching
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
                f"{host} is at no public address; {rules.only}",
                hint=rules.instead,
            )
        addresses.append((family, address))
    return addresses


class Reading(io.RawIOBase):
    """What is read from a connection, every read under the deadline of the whole."""

    def __init__(self, sock: socket.socket, rules: Reaching, until: float) -> None:
        self._sock = sock
        self._rules = rules
        self._until = until

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The one thing that the parser of answers asks of a socket."""
        return io.BufferedReader(self, PIECE_BYTES)

    def readable(self) -> bool:
        """True, always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes. Raises TimeoutError."""
        self._sock.settimeout(left_s(self._rules, self._until))
        return self._sock.recv_into(buffer)


def left_s(rules: Reaching, until: float) -> float:
    """How long a step may take, in seconds. Raises TimeoutError when the whole has had its time."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"it took longer than {rules.deadline_s:.0f} s")
    return min(left, rules.silence_s)
