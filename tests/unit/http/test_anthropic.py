"""Anthropic's routes where no official client goes: bounds, caps, other people's batches."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.scenario.place import until
from tests.serving import DEADLINE_S, Said, Served, served

from nightkiln.core.access import KeyCaps, Scope
from nightkiln.core.ids import ProjectId
from nightkiln.http.settings import ServerSettings
from nightkiln.store.keys import ensure_project

PATH = "/v1/messages/batches"
CONFIGURATION = '[endpoints.away]\nurl = "http://127.0.0.1:9/v1"\nmodels = ["m"]\n'
MOST = 100_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """A server that takes batches and does not work on them."""
    (tmp_path / "nightkiln.toml").write_text(CONFIGURATION)
    limits = ServerSettings(max_batch_body_bytes=MOST, max_body_bytes=MOST)
    with served(tmp_path / "home", limits=limits) as found:
        yield found


def document(*names: str, **params: Any) -> bytes:
    usual = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    requests = [{"custom_id": name, "params": usual | params} for name in names or ("a",)]
    return json.dumps({"requests": requests}).encode()


def ask(server: Served, method: str, path: str, body: bytes | None = None, **more: Any) -> Said:
    more.setdefault("anthropic_version", "2026-10-21")
    return server.ask(method, path, body, **more)


def create(server: Served, body: bytes, **more: Any) -> Said:
    return ask(server, "POST", PATH, body, **more)


def left_in_spool(server: Served) -> int:
    async def count(context: Any) -> int:
        return len(list(context.home.spool.glob("*")))

    return server.do(count)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_document_beyond_the_bound_is_refused_and_leaves_nothing(
    server: Served, chunked: bool
) -> None:
    pieces = [b'{"requests": ["', *[b"x" * 10_000] * 20]
    said = create(server, iter(pieces) if chunked else b"".join(pieces))  # type: ignore[arg-type]
    assert said.status == 413
    assert said.json["error"]["type"] == "request_too_large"
    assert left_in_spool(server) == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "dictionary"),
        (b'{"requests": []}', "requests"),
        (b'{"requests": [{"custom_id": "a"}]}', "requests.0.params"),
        (b'{"requests": [{"custom_id": "a", "params": {}}], "more": 1}', "more"),
    ],
)
def test_what_is_no_batch_is_refused_whole_and_leaves_nothing(
    server: Served, body: bytes, words: str
) -> None:
    said = create(server, body)
    assert (said.status, said.json["error"]["type"]) == (400, "invalid_request_error")
    assert words in said.json["error"]["message"]
    assert left_in_spool(server) == 0


def test_other_projects_see_nothing_of_a_batch(server: Served) -> None:
    async def make(context: Any) -> None:
        name = ProjectId("theirs")
        await context.store.write(lambda tx: ensure_project(tx, name, now=0.0))

    server.do(make)
    key = server.new_key(project="theirs")
    batch = create(server, document()).json["id"]
    for method, path in (
        ("GET", ""),
        ("GET", "/results"),
        ("POST", "/cancel"),
        ("DELETE", ""),
    ):
        for prefix in ("", "/anthropic"):
            said = ask(server, method, f"{prefix}{PATH}/{batch}{path}", key=key)
            assert (said.status, said.json["error"]["type"]) == (404, "not_found_error")
    assert ask(server, "GET", PATH, key=key).json["data"] == []
    assert ask(server, "GET", f"{PATH}?after_id={batch}", key=key).status == 404
    assert ask(server, "GET", f"{PATH}/{batch}").json["processing_status"] == "in_progress"


def test_a_batch_of_openais_is_none_of_anthropics(server: Served) -> None:
    body = {"input_file_id": "f", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = server.ask("POST", "/v1/batches", json.dumps(body).encode())
    assert ask(server, "GET", f"{PATH}/{made.json['id']}").status == 404
    batch = create(server, document()).json["id"]
    assert server.get(f"/v1/batches/{batch}").status == 404


def test_a_key_that_may_only_read_makes_nothing(server: Served) -> None:
    key = server.new_key(scope=Scope.READ)
    batch = create(server, document()).json["id"]
    assert ask(server, "GET", f"{PATH}/{batch}", key=key).status == 200
    for method, path in (("POST", ""), ("POST", f"/{batch}/cancel"), ("DELETE", f"/{batch}")):
        said = ask(server, method, PATH + path, document() if not path else None, key=key)
        assert (said.status, said.json["error"]["type"]) == (403, "permission_error")


def test_a_cap_of_rows_holds_for_the_requests_of_a_batch(server: Served) -> None:
    key = server.new_key(caps=KeyCaps(rows=2))
    said = create(server, document("a", "b", "c"), key=key)
    assert (said.status, said.json["error"]["type"]) == (429, "rate_limit_error")
    assert said.headers["x-should-retry"] == "false"
    assert left_in_spool(server) == 0
    made = create(server, document("a", "b"), key=key, x_stainless_retry_count="0")
    assert made.status == 200
    again = create(server, document("a", "b"), key=key, x_stainless_retry_count="1")
    assert again.json["id"] == made.json["id"]


def test_the_same_words_in_another_version_are_another_batch(server: Served) -> None:
    made = [
        create(server, document(), anthropic_version=version).json["id"]
        for version in ("2023-06-01", "2026-10-21", "2023-06-01")
    ]
    assert made[0] == made[2] != made[1]


def test_nothing_is_read_before_a_batch_has_ended(server: Served) -> None:
    batch = create(server, document()).json["id"]
    said = ask(server, "GET", f"{PATH}/{batch}/results")
    assert said.status == 404
    assert "ended" in said.json["error"]["message"]


def count(server: Served, **params: Any) -> Said:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello there."}], **params}
    return ask(server, "POST", "/v1/messages/count_tokens", json.dumps(body).encode())


def test_counting_refuses_what_a_request_would_be_refused_for(server: Served) -> None:
    assert count(server).json["input_tokens"] > 0
    assert count(server, system="Be brief.").status == 200
    for params, words in (
        ({"max_tokens": 9}, "max_tokens"),
        ({"temperature": 0.5}, "temperature"),
        ({"messages": []}, "messages"),
        ({"model": 7}, "model"),
    ):
        said = count(server, **params)
        assert (said.status, said.json["error"]["type"]) == (400, "invalid_request_error")
        assert said.json["error"]["message"].startswith(words)
    assert count(server, model="unserved").json["error"]["type"] == "not_found_error"


def test_a_setting_takes_sampling_parameters_in_any_version(tmp_path: Path) -> None:
    (tmp_path / "nightkiln.toml").write_text(CONFIGURATION)
    with served(tmp_path / "home", limits=ServerSettings(anthropic_sampling=True)) as server:
        assert count(server, temperature=0.5).status == 200


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "before_id=a&after_id=b", "after_id=" + "x" * 201]
)
def test_a_list_that_cannot_be_is_refused(server: Served, query: str) -> None:
    said = ask(server, "GET", f"{PATH}?{query}")
    assert (said.status, said.json["error"]["type"]) == (400, "invalid_request_error")


def test_a_client_that_leaves_in_the_middle_of_a_document_leaves_nothing(server: Served) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: {host}\r\nx-api-key: {server.key}\r\n"
        "anthropic-version: 2026-10-21\r\ncontent-length: 90000\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), DEADLINE_S) as client:
        client.sendall(head.encode() + b"x" * 50_000)
    until(lambda: left_in_spool(server) == 0)
    assert create(server, document()).status == 200
