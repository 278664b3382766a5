"""One try to post an event: to a checked address, never redirected, over in ten seconds.

Of an answer only its status is read. What a receiver says beside it is nobody's business.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Final, cast
from urllib.parse import SplitResult

from nightkiln.core.errors import UnreachableError
from nightkiln.service.reaching import (
    Reaching,
    Reading,
    connected,
    host_of,
    left_s,
    parsed,
    target_of,
)

_AGENT: Final = "nightkiln"


def post(url: str, headers: Sequence[tuple[str, str]], body: bytes, rules: Reaching) -> int:
    """Post a body; the status of the answer, whatever it is. Blocking.

    Raises UsageError for an address that is not allowed, UnreachableError for a
    receiver that does not answer in time.
    """
    parts = parsed(url, rules)
    until = time.monotonic() + rules.deadline_s
    try:
        with closing(connected(parts, rules, until)) as sock:
            sock.settimeout(left_s(rules, until))
            sock.sendall(_question(parts, headers, body))
            reading = cast("socket.socket", Reading(sock, rules, until))
            with closing(http.client.HTTPResponse(reading, method="POST")) as answer:
                answer.begin()
                return answer.status
    except (TimeoutError, ssl.SSLError, http.client.HTTPException, OSError) as error:
        said = str(error) or type(error).__name__
        raise UnreachableError(f"{parts.hostname} did not answer: {said}") from error


def _question(parts: SplitResult, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    lines = [
        f"POST {target_of(parts)} HTTP/1.1",
        f"Host: {host_of(parts)}",
        f"User-Agent: {_AGENT}",
        "Accept-Encoding: identity",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
