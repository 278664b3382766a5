"""/v1/files as bytes on the wire: ranges, tags, bounds, and uploads that never end."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.scenario.place import until
from tests.serving import DEADLINE_S, Said, Served, served
from tests.unit.http.forms import FILE, PURPOSE, TYPE, form

from nightkiln.core.access import Scope
from nightkiln.core.ids import ProjectId
from nightkiln.http.settings import ServerSettings

DATA = bytes(range(256)) * 40
MOST = 20_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files") / "home"


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Served]:
    with served(home, limits=ServerSettings(max_upload_bytes=MOST)) as running:
        yield running


def upload(server: Served, body: bytes | None = None, **more: Any) -> Said:
    whole = form(PURPOSE, (FILE, DATA)) if body is None else body
    return server.ask("POST", "/v1/files", whole, content_type=TYPE, **more)


@pytest.fixture(scope="module")
def content(server: Served) -> str:
    """The path of an uploaded file's bytes."""
    return f"/v1/files/{upload(server).json['id']}/content"


def refusal(said: Said) -> tuple[int, str | None, str | None]:
    assert set(said.json["error"]) == {"message", "type", "param", "code"}
    return said.status, said.json["error"]["param"], said.json["error"]["code"]


def left_behind(home: Path) -> list[str]:
    """What lies in the spool."""
    return [path.name for path in (home / "spool").glob("*")]


def test_a_file_comes_back_to_the_byte(server: Served, content: str) -> None:
    said = server.get(content)
    assert (said.status, said.body) == (200, DATA)
    assert said.headers["content-disposition"] == 'attachment; filename="in.jsonl"'
    assert said.headers["content-type"] == "application/octet-stream"
    assert said.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-99", 0, 100), ("bytes=10200-", 10200, 10240), ("bytes=-7", 10233, 10240)],
)
def test_a_range_is_sent_alone(
    server: Served, content: str, asked: str, start: int, stop: int
) -> None:
    said = server.get(content, range=asked)
    assert (said.status, said.body) == (206, DATA[start:stop])
    assert said.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"


def test_a_range_behind_the_end_cannot_be_satisfied(server: Served, content: str) -> None:
    said = server.get(content, range="bytes=20000-")
    assert (said.status, said.body) == (416, b"")
    assert said.headers["content-range"] == f"bytes */{len(DATA)}"


def test_a_download_goes_on_only_with_the_same_file(server: Served, content: str) -> None:
    tag = server.get(content).headers["etag"]
    assert server.get(content, range="bytes=5-", if_range=tag).status == 206
    assert server.get(content, range="bytes=5-", if_range='"another"').body == DATA
    assert server.get(content, if_none_match=tag).status == 304


def test_an_upload_that_is_cut_off_leaves_nothing(server: Served, home: Path) -> None:
    files = len(server.get("/v1/files").json["data"])
    place, body = urlsplit(server.url), form(PURPOSE, (FILE, DATA))
    with socket.create_connection((place.hostname, place.port), timeout=DEADLINE_S) as client:
        head = f"POST /v1/files HTTP/1.1\r\nhost: localhost\r\nx-api-key: {server.key}\r\n"
        head += f"content-type: {TYPE}\r\ncontent-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body[:9000])
    until(lambda: not left_behind(home))
    assert len(server.get("/v1/files").json["data"]) == files


def test_a_body_without_its_last_boundary_leaves_nothing(server: Served, home: Path) -> None:
    said = upload(server, form(PURPOSE, (FILE, DATA))[:-10])
    assert (said.status, said.json["error"]["type"]) == (400, "invalid_request_error")
    assert not left_behind(home)


def test_a_file_that_is_too_large_is_refused_as_that(server: Served, home: Path) -> None:
    said = upload(server, form(PURPOSE, (FILE, b"x" * MOST)))
    assert said.status == 413
    assert said.headers["x-should-retry"] == "false"
    assert not left_behind(home)


@pytest.mark.parametrize(
    ("parts", "status", "param", "code"),
    [
        ([(FILE, b"{}")], 400, "purpose", "missing_required_parameter"),
        ([PURPOSE], 400, "file", "missing_required_parameter"),
        ([(FILE, b"{}"), (b'name="purpose"', b"fine-tune")], 400, "purpose", "invalid_value"),
        ([(FILE, b"{}"), PURPOSE, (b'name="x"', b"")], 400, "x", "unknown_parameter"),
        ([(b'name="file"; filename="x.csv"', b""), PURPOSE], 400, "file", "invalid_file_format"),
    ],
)
def test_a_form_that_is_wrong_is_refused_and_leaves_nothing(
    server: Served, home: Path, parts: Any, status: int, param: str, code: str
) -> None:
    assert refusal(upload(server, form(*parts))) == (status, param, code)
    assert not left_behind(home)


def test_the_file_may_come_before_what_is_said_of_it(server: Served) -> None:
    said = upload(server, form((FILE, DATA), PURPOSE))
    assert (said.status, said.json["bytes"], said.json["purpose"]) == (200, len(DATA), "batch")
    assert list(said.json) == [
        "id", "object", "bytes", "created_at", "expires_at", "filename", "purpose", "status",
        "status_details",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ("limit=0", "limit", "integer_below_min_value"),
        ("limit=10001", "limit", "integer_above_max_value"),
        ("limit=many", "limit", "invalid_type"),
        ("order=up", "order", "invalid_value"),
    ],
)
def test_a_list_refuses_what_it_does_not_take(
    server: Served, query: str, param: str, code: str
) -> None:
    assert refusal(server.get(f"/v1/files?{query}")) == (400, param, code)


def test_a_list_that_begins_nowhere_is_not_found(server: Served) -> None:
    assert server.get("/v1/files?after=file-unknown").status == 404
    assert server.get("/v1/batches?after=batch_unknown").status == 404


def test_a_purpose_that_no_file_has_gives_an_empty_list(server: Served) -> None:
    said = server.get("/v1/files?purpose=fine-tune").json
    assert said == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_another_project_sees_nothing(server: Served, content: str) -> None:
    other = server.new_key(name="other", scope=Scope.WRITE, project=ProjectId("other"))
    file = content.removesuffix("/content")
    for method, path in (("GET", content), ("GET", file), ("DELETE", file)):
        assert server.ask(method, path, key=other).status == 404
    assert server.get("/v1/files", key=other).json["data"] == []
    assert server.get(content).status == 200


def test_a_key_that_may_only_read_uploads_nothing(server: Served, content: str) -> None:
    reader = server.new_key(name="reader", scope=Scope.READ)
    assert upload(server, key=reader).status == 403
    assert server.get(content, key=reader).status == 200


def test_what_a_crash_left_of_an_upload_is_gone_with_the_next_start(tmp_path: Path) -> None:
    left = tmp_path / "home" / "spool" / "in_0123456789"
    left.parent.mkdir(parents=True)
    left.write_bytes(DATA)
    with served(tmp_path / "home") as server:
        assert upload(server).status == 200
        assert not left_behind(tmp_path / "home")


def test_a_download_that_nobody_waits_for_is_let_go_of(server: Served, home: Path) -> None:
    most = MOST - 1000
    file = upload(server, form(PURPOSE, (FILE, b"x" * most))).json["id"]

    def is_open() -> bool:
        links = (os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.is_symlink())
        return any(link.endswith(file) for link in links)

    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=DEADLINE_S) as client:
        head = f"GET /v1/files/{file}/content HTTP/1.1\r\nhost: localhost\r\n"
        client.sendall(f"{head}x-api-key: {server.key}\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    until(lambda: not is_open())
