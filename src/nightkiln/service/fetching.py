"""A table at a URL, fetched once: only from the public internet, never redirected, never endless.

`reaching` decides what may be connected to. No credential is sent. A redirect is
refused with the address it names, so that a person decides.
"""

import hashlib
import http.client
import os
import socket
import ssl
import time
from contextlib import closing
from pathlib import Path
from typing import Final, cast
from urllib.parse import SplitResult, urlsplit

from nightkiln.core.errors import InputError, UnreachableError
from nightkiln.service.diskroom import check_room
from nightkiln.service.reaching import (
    PIECE_BYTES,
    Reaching,
    Reading,
    connected,
    host_of,
    parsed,
    shown_url,
    target_of,
)
from nightkiln.vault.durable import disk_errors

_AGENT: Final = "nightkiln"


class Fetching(Reaching, frozen=True, kw_only=True):
    """The rules of a fetch. Tests that serve from this machine bring their own `allowed`."""

    max_bytes: int = 2 << 30
    reserve_bytes: int = 0  # of the disk, that are left alone
    deadline_s: float = 3600.0  # for everything
    what: str = "a table"
    only: str = "tables are fetched only from public ones"
    instead: str = "download the file yourself and name it"


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
    parts = parsed(url, rules)
    until = time.monotonic() + rules.deadline_s
    shown = shown_url(url)
    try:
        sock = connected(parts, rules, until)
        with closing(sock):
            sock.sendall(_question(parts))
            reading = cast("socket.socket", Reading(sock, rules, until))
            with closing(http.client.HTTPResponse(reading, method="GET")) as answer:
                answer.begin()
                _check_answer(answer, shown, rules)
                return _saved(answer, path, shown, rules)
    except (TimeoutError, ssl.SSLError, http.client.HTTPException, ConnectionError) as error:
        said = str(error) or type(error).__name__
        raise UnreachableError(f"{shown} could not be fetched: {said}") from error


def _question(parts: SplitResult) -> bytes:
    head = (
        f"GET {target_of(parts)} HTTP/1.1\r\nHost: {host_of(parts)}\r\nUser-Agent: {_AGENT}\r\n"
        "Accept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii")


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


def _saved(
    answer: http.client.HTTPResponse, path: Path, shown: str, rules: Fetching
) -> tuple[str, int]:
    digest, size, expected = hashlib.sha256(), 0, answer.length
    is_whole = False
    try:
        with disk_errors(f"fetching {shown}"), path.open("xb") as out:
            while piece := answer.read1(PIECE_BYTES):
                size += len(piece)
                if size > rules.max_bytes:
                    raise _too_large(shown, rules)
                check_room(path.parent, reserve=rules.reserve_bytes, coming=len(piece))
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
