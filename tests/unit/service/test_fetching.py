"""URLs: fetched whole from public addresses, or refused with the reason."""

import contextlib
import hashlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightkiln.core.errors import InputError, NightkilnError, UnreachableError, UsageError
from nightkiln.service.fetching import Fetching, fetch
from nightkiln.service.reaching import is_public, shown_url

BODY = b"text\n" + b"hello\n" * 1000


class Server:
    """Answers every connection with the same bytes, on this machine, and keeps what was asked."""

    def __init__(self, answer: bytes, *, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[bytes] = []
        self._answer = answer
        self._tls = tls
        self._closing = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _serve(self) -> None:
        while not self._closing.is_set():
            connection, _ = self._socket.accept()
            with connection, contextlib.suppress(OSError):  # who refuses us hangs up
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        with connection:
            if asked := connection.recv(65536):
                self.asked.append(asked)
                connection.sendall(self._answer)

    def close(self) -> None:
        self._closing.set()
        socket.create_connection(self._socket.getsockname()).close()
        self._thread.join(10)
        self._socket.close()


@pytest.fixture
def serving() -> Iterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in started:
        server.close()


def served(started: list[Server], answer: bytes) -> Server:
    started.append(Server(answer))
    return started[-1]


def here(**more: object) -> Fetching:
    return Fetching(allowed=lambda address: address.is_loopback, **more)  # type: ignore[arg-type]


def ok(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_a_table_is_saved_whole_and_hashed(serving: list[Server], tmp_path: Path) -> None:
    server = served(serving, ok(BODY, f"Content-Length: {len(BODY)}"))
    found = fetch(f"{server.url}/a%20b.csv?x=1", tmp_path / "spooled", here())
    assert found == (hashlib.sha256(BODY).hexdigest(), len(BODY))
    assert (tmp_path / "spooled").read_bytes() == BODY
    (asked,) = server.asked
    assert asked.startswith(b"GET /a%20b.csv?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Accept-Encoding: identity\r\n" in asked


@pytest.mark.parametrize(
    "answer",
    [
        ok(BODY),
        ok(b"5\r\ntext\n\r\n1770\r\n" + BODY[5:] + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    ],
    ids=["until the end", "in chunks"],
)
def test_a_body_without_a_length_is_taken(
    serving: list[Server], tmp_path: Path, answer: bytes
) -> None:
    server = served(serving, answer)
    assert fetch(f"{server.url}/a.csv", tmp_path / "spooled", here())[1] == len(BODY)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ok(b"x" * 5000, "Content-Length: 5000"), "is larger than 0 MB"),
        (ok(b"x" * 5000), "is larger than 0 MB"),
        (ok(b"x" * 10, "Content-Length: 20"), "broke off after 10 of 20 bytes"),
        (ok(b"x", "Content-Encoding: gzip"), "comes encoded as gzip"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answers 404 Not Found"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answers 204"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest?t=secret\r\n\r\n",
            "redirects to 'http://169.254.169.254/latest?...', and redirects are not followed",
        ),
        (b"HTTP/1.1 307 X\r\nLocation: /b.csv\r\n\r\n", "redirects are not followed"),
    ],
)
def test_an_answer_that_is_no_table_leaves_nothing_behind(
    serving: list[Server], tmp_path: Path, answer: bytes, message: str
) -> None:
    server = served(serving, answer)
    with pytest.raises(InputError) as caught:
        fetch(f"{server.url}/a.csv", tmp_path / "spooled", here(max_bytes=1000))
    assert message in caught.value.message
    assert not (tmp_path / "spooled").exists()
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n", b"", ok(b"zz\r\n", "Transfer-Encoding: chunked")]
)
def test_a_server_that_talks_nonsense_is_unreachable(
    serving: list[Server], tmp_path: Path, answer: bytes
) -> None:
    server = served(serving, answer)
    with pytest.raises(UnreachableError, match="could not be fetched"):
        fetch(f"{server.url}/a.csv", tmp_path / "spooled", here())
    assert not (tmp_path / "spooled").exists()


def test_a_server_that_goes_silent_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.csv"
        with pytest.raises(UnreachableError, match="timed out"):
            fetch(url, tmp_path / "spooled", here(silence_s=0.05))
        with pytest.raises(UnreachableError, match="longer than 0 s"):
            fetch(url, tmp_path / "spooled", here(deadline_s=0.0))


def test_a_server_that_drips_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    done = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            while not done.wait(0.02):
                connection.sendall(b"H")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        dripping = threading.Thread(target=drip, args=(listening,))
        dripping.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a.csv"
        try:
            with pytest.raises(UnreachableError, match=r"took longer than|timed out"):
                fetch(url, tmp_path / "spooled", here(deadline_s=0.3))
        finally:
            done.set()
            dripping.join(10)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_is_checked_against_the_name_in_the_url(
    certificate: Path, tmp_path: Path, trusted: bool, host: str
) -> None:
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    trust = ssl.create_default_context(cafile=certificate / "cert.pem" if trusted else None)
    server = Server(ok(BODY), tls=own)
    try:
        url = f"https://{host}:{server.port}/a.csv"
        if trusted and host == "localhost":
            assert fetch(url, tmp_path / "spooled", here(tls=trust))[1] == len(BODY)
            return
        with pytest.raises(UnreachableError, match="certificate verify failed"):
            fetch(url, tmp_path / "spooled", here(tls=trust))
        assert server.asked == []
    finally:
        server.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "0x7f000001",
        "2130706433",
        "0",
        "0177.0.0.1",
        "127.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00::1]",
        "169.254.169.254",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "255.255.255.255",
        "localhost",
        "LOCALHOST",
        "localhost.",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_addresses_that_are_not_public_are_refused(scheme: str, host: str, tmp_path: Path) -> None:
    with pytest.raises(NightkilnError) as caught:
        fetch(f"{scheme}://{host}:1/a.csv", tmp_path / "spooled", Fetching())
    # A form that this system does not know as an address is no host, which is as good.
    assert "is at no public address" in caught.value.message or "no host" in caught.value.message
    assert not (tmp_path / "spooled").exists()


def test_a_name_is_refused_if_any_of_its_addresses_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolved(*_: object, **__: object) -> list[object]:
        stream = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*stream, ("93.184.216.34", 80)), (*stream, ("10.0.0.7", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    with pytest.raises(UsageError, match=r"innocent\.example is at no public") as caught:
        fetch("http://innocent.example/a.csv", tmp_path / "spooled", Fetching())
    assert "10.0.0.7" not in caught.value.message  # where a name leads inside is nobody's business


def test_a_name_is_resolved_once_and_the_checked_address_is_used(
    serving: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = served(serving, ok(BODY))
    asked: list[object] = []

    def resolved(host: object, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    url = server.url.replace("127.0.0.1", "tables.example")
    assert fetch(f"{url}/a.csv", tmp_path / "spooled", here())[1] == len(BODY)
    assert asked == ["tables.example"]
    assert b"Host: tables.example:" in server.asked[0]


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "fec0::1",
        "64:ff9b:1::1",
        "5f00::1",
        "3fff::1",
        "2001::1",
    ],
)
def test_ipv6_that_nobody_was_given_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http:///a.csv", "is no URL of a table"),
        ("http://u:p@example.org/a.csv", "no user or password"),
        ("http://example.org:99999/a.csv", "is no URL"),
        ("http://example.org/a b.csv", "characters that no URL has"),
        ("http://example.org/a\r\nX: y", "characters that no URL has"),
        ("http://ex\u00e4mple.org/a.csv", "characters that no URL has"),
    ],
)
def test_urls_that_are_none_are_refused(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        fetch(url, tmp_path / "spooled", Fetching())


def test_a_query_is_never_shown() -> None:
    assert shown_url("https://x.org/a.csv?token=secret") == "https://x.org/a.csv?..."
    assert shown_url("https://x.org/a.csv") == "https://x.org/a.csv"
