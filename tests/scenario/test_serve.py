"""`nightkiln serve` as a user meets it: one line when it is ready, one end, one server a home."""

import re
import signal
import socket
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.scenario.place import DEADLINE_S, Place

READY = re.compile(r"ready: (http://127\.0\.0\.1:\d+) ")
NOBODY = "http://127.0.0.1:1/v1"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Place(tmp_path, NOBODY) as here:
        yield here


@contextmanager
def serving(place: Place, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server that is ready, and its URL."""
    process = place.start("serve", "--port", "0", *more)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = READY.match(line)
    assert found, f"{line!r}, and: {process.communicate(timeout=DEADLINE_S)}"
    yield process, found[1]
    if process.poll() is None:
        process.terminate()
        process.wait(DEADLINE_S)


def status_of(url: str, key: str = "") -> int:
    request = urllib.request.Request(url, headers={"x-api-key": key} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def key_of(place: Place) -> str:
    return (place.home / "admin.key").read_text().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_is_ready_when_it_says_so_and_drains_when_told(
    place: Place, number: signal.Signals
) -> None:
    with serving(place) as (process, url):
        assert status_of(f"{url}/readyz") == 200
        assert status_of(f"{url}/metrics") == 401
        assert status_of(f"{url}/metrics", key_of(place)) == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert out == ""
    assert "stopping" in err
    assert "Traceback" not in err


def test_a_second_signal_ends_a_server_that_still_drains(place: Place) -> None:
    with serving(place) as (process, url):
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as slow:
            slow.sendall(
                b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999999\r\n\r\n"
            )
            assert slow.recv(12) == b"HTTP/1.1 401"  # and the body is still awaited
            process.terminate()
            assert process.stderr is not None
            while "stopping" not in process.stderr.readline():
                assert process.poll() is None
            process.terminate()
            assert process.wait(DEADLINE_S) == 143
    with serving(place) as (_, url):
        assert status_of(f"{url}/readyz") == 200


def test_the_key_of_the_home_outlives_the_server_and_is_never_printed(place: Place) -> None:
    with serving(place) as (process, _):
        key = key_of(place)
        assert stat.S_IMODE((place.home / "admin.key").stat().st_mode) == 0o600
        process.terminate()
        out, err = process.communicate(timeout=DEADLINE_S)
        assert key not in out + err
    with serving(place) as (_, url):
        assert key_of(place) == key
        assert status_of(f"{url}/metrics", key) == 200


def test_a_deleted_key_of_the_home_is_replaced_and_no_longer_good(place: Place) -> None:
    with serving(place):
        old = key_of(place)
    (place.home / "admin.key").unlink()
    with serving(place) as (_, url):
        assert key_of(place) != old
        assert status_of(f"{url}/metrics", old) == 401
        assert status_of(f"{url}/metrics", key_of(place)) == 200


def test_a_home_has_one_server_and_commands_are_told(place: Place) -> None:
    with serving(place):
        second = place.nightkiln("serve", "--port", "0")
        assert second.returncode == 1
        assert second.stdout == ""
        assert "in use by another server" in second.stderr
        assert "--home" in second.stderr
        assert "admin.key" in place.nightkiln("keys", "list").stdout


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::"])
def test_an_open_address_is_refused_with_what_to_do(place: Place, host: str) -> None:
    done = place.nightkiln("serve", "--host", host)
    assert done.returncode == 2
    assert "--tls-cert" in done.stderr
    assert "--behind-proxy" in done.stderr
    assert not place.home.exists()


def test_a_port_that_is_taken_is_said_in_words(place: Place, tmp_path: Path) -> None:
    with serving(place) as (_, url):
        port = url.rpartition(":")[2]
        other = place.nightkiln("serve", "--port", port, "--home", str(tmp_path / "other"))
    assert other.returncode == 2
    assert f"port {port}" in other.stderr


def test_keys_of_a_home_open_its_server(place: Place) -> None:
    made = place.nightkiln("keys", "create", "ci", "--scope", "read", "--project", "night")
    assert made.returncode == 0
    key = made.stdout.strip()
    [number] = re.findall(r"key_[0-9a-z]{22}", made.stderr)
    listed = place.nightkiln("keys", "list").stdout
    assert key not in listed
    assert number in listed
    with serving(place) as (_, url):
        assert status_of(f"{url}/metrics", key) == 200
    rotated = place.nightkiln("keys", "rotate", number, "--overlap", "1s").stdout.strip()
    assert rotated.startswith("nk_")
    assert place.nightkiln("keys", "revoke", number).returncode == 0
    with serving(place) as (_, url):
        assert status_of(f"{url}/metrics", key) == 401
        assert status_of(f"{url}/metrics", rotated) == 200
    assert place.nightkiln("keys", "revoke", "key_none").returncode == 7


def test_the_windows_and_the_largest_file_are_options(place: Place) -> None:
    more = ("--window", "24h", "--window", "7d", "--max-upload-gb", "0.00001", "--no-worker")
    with serving(place, *more) as (_, url):
        key = key_of(place)

        def ask(method: str, path: str, body: bytes) -> tuple[int, str]:
            request = urllib.request.Request(url + path, body, {"x-api-key": key}, method=method)
            try:
                with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as refused:
                with refused:
                    return refused.code, refused.read().decode()

        status, _ = ask("PUT", "/api/v1/files?name=a.csv", b"text\n" + b"x" * 9000)
        assert status == 201
        status, _ = ask("PUT", "/api/v1/files?name=a.csv", b"text\n" + b"x" * 90_000)
        assert status == 413
        batch = (
            b'{"input_file_id": "file-none", "endpoint": "/v1/chat/completions",'
            b' "completion_window": "%s"}'
        )
        assert ask("POST", "/v1/batches", batch % b"7d")[0] == 200
        status, said = ask("POST", "/v1/batches", batch % b"48h")
        assert status == 400
        assert "7d" in said
