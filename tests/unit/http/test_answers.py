"""What answers look like: errors by dialect, ids, headers; and that bugs say nothing."""

import http.client
import logging
import re
from typing import Any

import pytest
from tests.serving import Said, Served
from tests.unit.http.probes import CANARY

OPENAI, ANTHROPIC, NATIVE = "/v1", "/v1/messages", "/api/v1"
BOTH_ANTHROPICS = (ANTHROPIC, "/anthropic/v1")
ID = re.compile(r"req_[0-9a-z]{22}")


def openai(said: Said) -> tuple[int, str, Any]:
    assert said.headers["content-type"] == "application/json"
    assert set(said.json) == {"error"}
    assert set(said.json["error"]) == {"message", "type", "param", "code"}
    return said.status, said.json["error"]["type"], said.json["error"]["code"]


def anthropic(said: Said) -> tuple[int, str]:
    assert set(said.json) == {"type", "error", "request_id"}
    assert said.json["type"] == "error"
    assert said.json["request_id"] == said.headers["request-id"]
    return said.status, said.json["error"]["type"]


def native(said: Said) -> tuple[int, str]:
    assert said.headers["content-type"] == "application/problem+json"
    assert said.json["status"] == said.status
    assert said.json["request_id"] == said.headers["request-id"]
    assert said.json["title"]
    return said.status, said.json["code"]


@pytest.mark.parametrize("path", ["missing", "conflict", "bug", "full", "nothing"])
@pytest.mark.parametrize("key", ["", None])
def test_every_answer_has_an_id_and_guarded_headers(
    server: Served, path: str, key: str | None
) -> None:
    for prefix in (OPENAI, ANTHROPIC, NATIVE):
        said = server.get(f"{prefix}/probe/{path}", key=key)
        assert ID.fullmatch(said.headers["x-request-id"])
        assert said.headers["request-id"] == said.headers["x-request-id"]
        assert said.headers["x-content-type-options"] == "nosniff"
        assert said.headers["x-frame-options"] == "DENY"
        assert not [name for name in said.headers if name.startswith("access-control-")]
        assert "server" not in said.headers


def test_ids_never_repeat(server: Served) -> None:
    ids = {server.get("/healthz").headers["request-id"] for _ in range(20)}
    assert len(ids) == 20


def test_openai_reads_its_own_errors(server: Served) -> None:
    def at(path: str, **more: Any) -> tuple[int, str, Any]:
        return openai(server.get(f"{OPENAI}/{path}", **more))

    assert at("probe/missing") == (404, "invalid_request_error", None)
    assert at("probe/conflict") == (409, "invalid_request_error", None)
    assert at("probe/bug") == (500, "server_error", None)
    assert at("probe/full") == (507, "server_error", None)
    assert at("nothing") == (404, "invalid_request_error", "not_found")
    assert at("nothing", key="") == (401, "invalid_request_error", "invalid_api_key")
    wrong = server.ask("PUT", f"{OPENAI}/probe/missing")
    assert openai(wrong) == (405, "invalid_request_error", "method_not_allowed")
    assert wrong.headers["allow"] == "GET"


@pytest.mark.parametrize("prefix", BOTH_ANTHROPICS)
def test_anthropic_reads_its_own_errors(server: Served, prefix: str) -> None:
    def at(path: str, **more: Any) -> tuple[int, str]:
        return anthropic(server.get(f"{prefix}/{path}", **more))

    assert at("probe/missing") == (404, "not_found_error")
    assert at("probe/bug") == (500, "api_error")
    assert at("nothing") == (404, "not_found_error")
    assert at("nothing", key="") == (401, "authentication_error")
    assert anthropic(server.ask("PUT", f"{prefix}/probe/missing")) == (405, "invalid_request_error")
    assert anthropic(server.ask("POST", f"{prefix}/probe/json", b"{")) == (
        400,
        "invalid_request_error",
    )


def test_our_own_errors_are_problems(server: Served) -> None:
    missing = server.get(f"{NATIVE}/probe/missing")
    assert native(missing) == (404, "E_NOT_FOUND")
    assert missing.json["detail"] == "no job job_1"
    assert missing.json["hint"] == "look elsewhere"
    assert native(server.get(f"{NATIVE}/probe/conflict")) == (409, "E_STATE")
    assert native(server.get(f"{NATIVE}/probe/full")) == (507, "E_DISK")
    assert native(server.get(f"{NATIVE}/probe/bug")) == (500, "E_INTERNAL")
    assert native(server.get("/favicon.ico")) == (404, "not_found")


def test_clients_are_told_not_to_repeat_what_will_fail_again(server: Served) -> None:
    for prefix in (OPENAI, ANTHROPIC, NATIVE):
        assert server.get(f"{prefix}/probe/conflict").headers["x-should-retry"] == "false"
        assert "x-should-retry" not in server.get(f"{prefix}/probe/bug").headers


def test_a_wrong_argument_is_named_and_not_repeated(server: Served) -> None:
    body = b'{"a": "canary-prompt-and-secret"}'
    said = server.ask("POST", f"{OPENAI}/probe/json", body, content_type="application/json")
    assert openai(said) == (400, "invalid_request_error", None)
    assert said.json["error"]["param"] == "a"
    assert CANARY not in said.body.decode()


@pytest.mark.parametrize("prefix", [OPENAI, *BOTH_ANTHROPICS, NATIVE])
def test_a_bug_says_nothing_to_anybody(
    server: Served, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        said = server.get(f"{prefix}/probe/bug")
    assert said.status == 500
    assert CANARY not in said.body.decode() + str(said.headers)
    logged = [vars(record) for record in caplog.records if record.name.startswith("nightkiln")]
    assert [one["kind"] for one in logged] == ["RuntimeError"]
    assert logged[0]["request_id"] == said.headers["request-id"]
    assert "break_down" in logged[0]["place"]
    assert CANARY not in str([vars(record) for record in caplog.records])


def test_a_full_disk_is_told_without_names_of_folders(server: Served) -> None:
    for prefix in (OPENAI, ANTHROPIC, NATIVE):
        said = server.get(f"{prefix}/probe/full")
        assert said.status == 507
        assert CANARY not in said.body.decode()


def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(
    server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(http.client.IncompleteRead):
        server.get(f"{OPENAI}/probe/cut")
    assert CANARY not in str([vars(record) for record in caplog.records])
