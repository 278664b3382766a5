"""How large a body may be, and how slow."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.serving import DEADLINE_S, Served, served
from tests.unit.http import probes

from nightkiln.http.limits import most_bytes
from nightkiln.http.settings import ServerSettings

MOST = 1000
LIMITS = ServerSettings(max_body_bytes=MOST, body_silence_s=0.3)
TAKERS = ("all", "pieces", "json")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("strict") / "home"
    with served(home, limits=LIMITS, routers=(probes.router,)) as running:
        yield running


@pytest.mark.parametrize("prefix", probes.PREFIXES)
def test_a_body_that_fits_is_taken(strict: Served, prefix: str) -> None:
    said = strict.ask("POST", f"{prefix}/probe/all", b"x" * MOST)
    assert (said.status, said.json) == (200, {"bytes": MOST})


@pytest.mark.parametrize("prefix", probes.PREFIXES)
@pytest.mark.parametrize("taker", TAKERS)
def test_a_body_that_announces_too_much_is_refused(strict: Served, prefix: str, taker: str) -> None:
    said = strict.ask("POST", f"{prefix}/probe/{taker}", b"x" * (MOST + 1))
    assert said.status == 413
    assert "1,000 bytes" in said.body.decode()


@pytest.mark.parametrize("taker", TAKERS)
def test_a_body_that_grows_too_large_is_refused(strict: Served, taker: str) -> None:
    pieces = (b"x" * MOST for _ in range(200))
    said = strict.ask("POST", f"/v1/probe/{taker}", pieces, content_type="application/json")
    assert said.status == 413
    assert said.json["error"]["code"] == "request_too_large"


def test_a_client_that_sends_far_too_much_still_hears_why(strict: Served) -> None:
    for key, status in ((None, 413), ("nk_wrong", 401)):
        said = strict.ask("POST", "/v1/probe/all", b"x" * 20_000_000, key=key)
        assert said.status == status
        assert said.headers["connection"] == "close"


def test_a_body_that_stops_coming_ends_the_request(strict: Served) -> None:
    place = urlsplit(strict.url)
    with socket.create_connection((place.hostname, place.port), timeout=DEADLINE_S) as client:
        head = f"POST /v1/probe/all HTTP/1.1\r\nhost: localhost\r\nx-api-key: {strict.key}\r\n"
        client.sendall(f"{head}content-length: 10\r\n\r\nx".encode())
        said = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    assert said.startswith("HTTP/1.1 408 ")
    assert "stopped coming" in said


def test_only_uploads_and_whole_batches_may_be_large() -> None:
    limits = ServerSettings()
    large = {
        "/v1/files": limits.max_upload_bytes,
        "/v1/uploads/upload_1/parts": limits.max_upload_bytes,
        "/api/v1/files": limits.max_upload_bytes,
        "/v1/messages/batches": limits.max_batch_body_bytes,
        "/anthropic/v1/messages/batches": limits.max_batch_body_bytes,
    }
    assert {path: most_bytes(path, limits) for path in large} == large
    for path in ("/v1/batches", "/v1/uploads", "/v1/files/x/content", "/api/v1/jobs", "/v1/filesx"):
        assert most_bytes(path, limits) == limits.max_body_bytes


def test_a_stranger_is_refused_before_a_body_is_read(tmp_path: Path, strict: Served) -> None:
    said = strict.ask("POST", "/v1/probe/all", b"x" * (MOST + 1), key="nk_wrong")
    assert said.status == 401
