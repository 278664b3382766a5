"""/v1/batches as bytes on the wire, on a server that takes jobs in and works on none."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.serving import Said, Served, served
from tests.unit.http.forms import FILE, PURPOSE, TYPE, form

from nightkiln.core.access import KeyCaps, Scope
from nightkiln.core.ids import ProjectId
from nightkiln.http.settings import ServerSettings

CHAT = "/v1/chat/completions"
LINE = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "m", "messages": []}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("batches") / "home"
    with served(home, limits=ServerSettings(completion_windows=("24h", "7d"))) as running:
        yield running


def uploaded(server: Served, lines: int = 3, key: str | None = None) -> str:
    data = "\n".join(json.dumps(LINE | {"custom_id": f"r{row}"}) for row in range(lines))
    body = form(PURPOSE, (FILE, data.encode()))
    said = server.ask("POST", "/v1/files", body, content_type=TYPE, key=key)
    return str(said.json["id"])


def create(
    server: Served, file: str, *, key: str | None = None, sent: Any = None, **more: Any
) -> Said:
    asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **more}
    return server.ask("POST", "/v1/batches", json.dumps(asked).encode(), key=key, **(sent or {}))


def test_a_batch_is_described_with_all_of_its_fields(server: Served) -> None:
    said = create(server, uploaded(server), metadata={"a": "b"})
    assert said.status == 200
    batch = said.json
    assert (batch["status"], batch["metadata"], batch["errors"]) == ("validating", {"a": "b"}, None)
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert batch["expires_at"] == batch["created_at"] + 86400
    assert server.get(f"/v1/batches/{batch['id']}").json == batch
    assert server.get(f"/v1/batches/{batch['id']}/lines").body == b""


def test_windows_are_those_of_the_server(server: Served) -> None:
    batch = create(server, uploaded(server), completion_window="7d").json
    assert batch["expires_at"] == batch["created_at"] + 7 * 86400
    refused = create(server, "f", completion_window="1h")
    assert refused.status == 400
    assert "'24h', '7d'" in refused.json["error"]["message"]


def test_the_same_words_without_a_count_are_one_batch_until_it_is_over(server: Served) -> None:
    file = uploaded(server)
    first = create(server, file).json["id"]
    assert create(server, file).json["id"] == first
    assert create(server, file, sent={"x_stainless_retry_count": "0"}).json["id"] != first
    failed = create(server, "file-unknown").json
    assert failed["status"] == "failed"
    assert create(server, "file-unknown").json["id"] != failed["id"]


def test_a_key_past_its_rows_gets_no_new_batch_and_is_not_asked_to_try_again(
    server: Served,
) -> None:
    key = server.new_key(name="capped", caps=KeyCaps(rows=5))
    assert create(server, uploaded(server, 5, key), key=key).status == 200
    said = create(server, uploaded(server, 6, key), key=key)
    assert (said.status, said.json["error"]["code"]) == (429, "insufficient_quota")
    assert said.headers["x-should-retry"] == "false"
    assert "rows" in said.json["error"]["message"]


def test_a_repeated_create_is_no_new_use_of_a_key(server: Served) -> None:
    key = server.new_key(name="spent", caps=KeyCaps(rows=5))
    file, retried = uploaded(server, 5, key), {"x_stainless_retry_count": "1"}
    first = create(server, file, key=key, sent=retried).json["id"]
    assert create(server, file, key=key, sent=retried).json["id"] == first


def test_a_cancel_shows_at_once(server: Served) -> None:
    batch = create(server, uploaded(server)).json["id"]
    for _ in range(2):
        said = server.ask("POST", f"/v1/batches/{batch}/cancel", b"")
        assert (said.status, said.json["status"]) == (200, "cancelling")
        assert said.json["cancelling_at"]


def test_a_batch_that_is_over_is_not_cancelled(server: Served) -> None:
    failed = create(server, "file-unknown").json["id"]
    said = server.ask("POST", f"/v1/batches/{failed}/cancel", b"")
    assert said.status == 409
    assert said.headers["x-should-retry"] == "false"
    assert said.json["error"]["message"] == "Cannot cancel a batch with status 'failed'."


def test_another_project_sees_no_batch_and_cannot_use_a_file(server: Served) -> None:
    file = uploaded(server)
    batch = create(server, file).json["id"]
    other = server.new_key(name="other", project=ProjectId("other"))
    assert server.get(f"/v1/batches/{batch}", key=other).status == 404
    assert server.get(f"/v1/batches/{batch}/lines", key=other).status == 404
    assert server.ask("POST", f"/v1/batches/{batch}/cancel", b"", key=other).status == 404
    assert server.get("/v1/batches", key=other).json["data"] == []
    assert create(server, file, key=other).json["status"] == "failed"


def test_a_file_that_is_no_input_of_a_batch_is_refused_at_once(server: Served) -> None:
    body = form((b'name="purpose"', b"user_data"), (FILE, json.dumps(LINE).encode()))
    file = server.ask("POST", "/v1/files", body, content_type=TYPE).json["id"]
    said = create(server, file)
    assert said.status == 400
    error = said.json["error"]
    assert (error["param"], error["code"]) == ("input_file_id", "invalid_value")
    assert "'user_data'" in error["message"]


def test_a_key_that_may_only_read_makes_and_cancels_nothing(server: Served) -> None:
    file = uploaded(server)
    batch = create(server, file).json["id"]
    reader = server.new_key(name="reader", scope=Scope.READ)
    assert create(server, file, key=reader).status == 403
    assert server.ask("POST", f"/v1/batches/{batch}/cancel", b"", key=reader).status == 403
    assert server.get(f"/v1/batches/{batch}", key=reader).status == 200


@pytest.mark.parametrize("query", ["after=-1", "after=x"])
def test_a_place_among_the_lines_is_a_number(server: Served, query: str) -> None:
    batch = create(server, uploaded(server)).json["id"]
    said = server.get(f"/v1/batches/{batch}/lines?{query}")
    assert (said.status, said.json["error"]["param"]) == (400, "after")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"input_file_id": 1}'])
def test_a_body_that_is_no_create_is_refused(server: Served, body: bytes) -> None:
    said = server.ask("POST", "/v1/batches", body)
    assert (said.status, said.json["error"]["type"]) == (400, "invalid_request_error")


def test_many_tries_at_once_with_one_key_are_one_batch(server: Served) -> None:
    file = uploaded(server)

    def again(_: int) -> str:
        return str(create(server, file, sent={"idempotency_key": "one"}).json["id"])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(again, range(16)))) == 1
    mine = [one for one in server.get("/v1/batches").json["data"] if one["input_file_id"] == file]
    assert len(mine) == 1
