"""Connections end when whoever opened them says nothing, drips, or is one too many."""

import http.client
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.serving import DEADLINE_S, Served, served
from tests.unit.http import probes

from nightkiln.http.settings import ServerSettings

HEAD_S = 0.6
LIMITS = ServerSettings(head_s=HEAD_S, strangers=4, body_silence_s=1.0, body_least_rate=1 << 20)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home: Path = tmp_path_factory.mktemp("hasty") / "home"
    with served(home, limits=LIMITS, routers=(probes.router,)) as running:
        yield running


def connected(server: Served) -> socket.socket:
    place = urlsplit(server.url)
    line = socket.create_connection((place.hostname, place.port), timeout=DEADLINE_S)
    line.settimeout(DEADLINE_S)
    return line


def is_cut(line: socket.socket) -> bool:
    """True when the other side ends the connection; waits for it, or for an answer."""
    try:
        return line.recv(65536) == b""
    except ConnectionError:
        return True


def is_answered(line: socket.socket) -> bool:
    """True for a good answer, which is read to its end."""
    answer = http.client.HTTPResponse(line)
    answer.begin()
    answer.read()
    return answer.status == 200


def head(server: Served, method: str, path: str, *more: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", *more, "", ""]
    return "\r\n".join(lines).encode()


def test_a_connection_that_says_nothing_ends(hasty: Served) -> None:
    with connected(hasty) as line:
        began = time.monotonic()
        assert is_cut(line)
        assert time.monotonic() - began >= HEAD_S / 2


@pytest.mark.parametrize("dripped", [b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: ", b"\r\n"])
def test_a_head_that_drips_ends(hasty: Served, dripped: bytes) -> None:
    with connected(hasty) as line:
        line.sendall(dripped)
        until = time.monotonic() + DEADLINE_S
        line.settimeout(0.05)
        while time.monotonic() < until:
            try:
                line.sendall(b"\r\n" if dripped == b"\r\n" else b"a")
                if line.recv(100) == b"":
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("the connection is still open")


def test_a_stranger_does_not_keep_a_connection_after_an_answer(hasty: Served) -> None:
    with connected(hasty) as line:
        line.sendall(head(hasty, "GET", "/healthz"))
        assert is_answered(line)
        assert is_cut(line)


def test_who_showed_a_key_keeps_the_connection_and_may_not_drip_either(hasty: Served) -> None:
    asking = head(hasty, "GET", "/api/v1/probe/read", f"authorization: Bearer {hasty.key}")
    with connected(hasty) as line:
        for _ in range(2):
            line.sendall(asking)
            assert is_answered(line)
            with connected(hasty) as stranger:
                assert is_cut(stranger)  # by then this one would be, too
        line.sendall(b"GET /")
        assert is_cut(line)


def test_a_body_that_drips_is_refused(hasty: Served) -> None:
    asking = head(
        hasty,
        "POST",
        "/api/v1/probe/all",
        f"authorization: Bearer {hasty.key}",
        "content-length: 100000",
    )
    with connected(hasty) as line:
        line.sendall(asking)
        until, said = time.monotonic() + DEADLINE_S, b""
        line.settimeout(0.05)
        while time.monotonic() < until and not said:
            line.sendall(b"a")  # never silent for long
            try:
                said = line.recv(65536)
            except TimeoutError:
                continue
        assert said.startswith(b"HTTP/1.1 408")


def test_strangers_make_room_for_each_other_and_not_by_pushing_known_ones_out(
    hasty: Served,
) -> None:
    asking = head(hasty, "GET", "/api/v1/probe/read", f"authorization: Bearer {hasty.key}")
    with connected(hasty) as known:
        known.sendall(asking)
        assert is_answered(known)
        lines = [connected(hasty) for _ in range(LIMITS.strangers + 2)]
        try:
            assert is_cut(lines[0])
            lines[-1].sendall(head(hasty, "GET", "/healthz"))
            assert is_answered(lines[-1])
            known.sendall(asking)
            assert is_answered(known)
        finally:
            for line in lines:
                line.close()


def test_a_body_that_nobody_reads_does_not_keep_the_connection(hasty: Served) -> None:
    asking = head(
        hasty,
        "GET",
        "/api/v1/probe/read",
        f"authorization: Bearer {hasty.key}",
        "content-length: 1000",
    )
    with connected(hasty) as line:
        line.sendall(asking)
        assert is_answered(line)
        line.sendall(b"a")
        assert is_cut(line)
