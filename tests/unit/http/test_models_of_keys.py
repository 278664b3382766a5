"""A key with a list of models asks those and no others, in every dialect."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.scenario.place import until
from tests.serving import Said, Served, served
from tests.unit.http.forms import FILE, PURPOSE, TYPE, form

from nightkiln.core.access import KeyCaps, Scope
from nightkiln.core.errors import UsageError

CONFIGURATION = """
[endpoints.away]
url = "http://127.0.0.1:9/v1"
models = ["m", "n"]

[models.other]
endpoint = "away"
model = "m"
"""
CHAT = "/v1/chat/completions"
ANTHROPIC = "/v1/messages/batches"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that takes work and cannot reach any model."""
    place = tmp_path_factory.mktemp("models")
    (place / "nightkiln.toml").write_text(CONFIGURATION)
    with served(place / "home", work=True) as running:
        yield running


@pytest.fixture
def key(server: Served) -> str:
    return server.new_key(caps=KeyCaps(models=("m",)))


def batch(server: Served, key: str, *models: str) -> str:
    """The id of an OpenAI batch with a line for each model."""
    lines = [
        {"custom_id": f"r{at}", "method": "POST", "url": CHAT, "body": {"model": m, "messages": []}}
        for at, m in enumerate(models)
    ]
    data = "\n".join(map(json.dumps, lines)).encode()
    body = form(PURPOSE, (FILE, data))
    file = server.ask("POST", "/v1/files", body, content_type=TYPE, key=key).json["id"]
    wanted = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    said = server.ask("POST", "/v1/batches", json.dumps(wanted).encode(), key=key)
    assert said.status == 200
    return str(said.json["id"])


def ask(server: Served, path: str, body: Any, key: str, **more: str) -> Said:
    return server.ask("POST", path, json.dumps(body).encode(), key=key, **more)


def job(model: str | None, **more: Any) -> dict[str, Any]:
    rows = {"from": "rows", "rows": [f"a row for {model}"]}
    return {"input": rows, "endpoint": "away", "model": model, **more}


@pytest.mark.parametrize("model", ["n", "other"])
def test_openai_lines_for_a_model_that_is_not_on_the_list_fail_their_batch(
    server: Served, key: str, model: str
) -> None:
    name = batch(server, key, model, model)
    until(lambda: server.get(f"/v1/batches/{name}").json["status"] == "failed")
    errors = server.get(f"/v1/batches/{name}").json["errors"]["data"]
    assert [(one["code"], one["line"]) for one in errors] == [
        ("model_not_found", 1),
        ("model_not_found", 2),
    ]
    assert "other" not in errors[0]["message"].replace(f"'{model}'", "")


def test_a_model_on_the_list_does_not_let_others_into_its_batch(server: Served, key: str) -> None:
    name = batch(server, key, "m", "n")
    until(lambda: server.get(f"/v1/batches/{name}").json["status"] == "failed")
    (error,) = server.get(f"/v1/batches/{name}").json["errors"]["data"]
    assert (error["code"], error["line"]) == ("mismatched_model", 2)


def test_openai_lines_for_a_model_on_the_list_are_taken(server: Served, key: str) -> None:
    name = batch(server, key, "m")
    until(lambda: server.get(f"/v1/batches/{name}").json["status"] != "validating")
    assert server.get(f"/v1/batches/{name}").json["status"] == "in_progress"


def test_anthropic_requests_for_another_model_are_errored_and_the_rest_goes_on(
    server: Served, key: str
) -> None:
    requests = [
        {
            "custom_id": model,
            "params": {
                "model": model,
                "max_tokens": 9,
                "messages": [{"role": "user", "content": "x"}],
            },
        }
        for model in ("n", "other")
    ]
    version = {"anthropic_version": "2026-10-21"}
    said = ask(server, ANTHROPIC, {"requests": requests}, key, **version)
    assert said.status == 200
    one = f"{ANTHROPIC}/{said.json['id']}"
    until(lambda: server.get(one, key=key, **version).json["processing_status"] == "ended")
    lines = server.get(f"{one}/results", key=key, **version).body.splitlines()
    results = [json.loads(line)["result"] for line in lines]
    assert [one["type"] for one in results] == ["errored", "errored"]
    assert "not served here" in results[0]["error"]["error"]["message"]


def test_tokens_are_counted_for_models_on_the_list_only(server: Served, key: str) -> None:
    version = {"anthropic_version": "2026-10-21"}
    for model, status in (("m", 200), ("n", 404)):
        body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
        said = ask(server, "/v1/messages/count_tokens", body, key, **version)
        assert said.status == status, said.body


def test_a_key_sees_the_models_on_its_list(server: Served, key: str) -> None:
    assert [one["id"] for one in server.get("/v1/models", key=key).json["data"]] == ["m"]
    assert server.get("/v1/models/m", key=key).status == 200
    assert server.get("/v1/models/n", key=key).status == 404
    assert server.get("/api/v1/fleet", key=key).json["models"] == ["m"]
    assert len(server.get("/v1/models").json["data"]) == 3


@pytest.mark.parametrize("path", ["", "/plan", "/estimate"])
@pytest.mark.parametrize("model", ["n", "other"])
def test_a_job_for_another_model_is_refused(
    server: Served, key: str, path: str, model: str
) -> None:
    said = ask(server, f"/api/v1/jobs{path}", job(model), key)
    assert (said.status, said.json["code"]) == (403, "E_MODEL")
    assert model in said.json["detail"]


def test_a_job_for_a_model_on_the_list_is_taken(server: Served, key: str) -> None:
    assert ask(server, "/api/v1/jobs", job("m"), key).status == 201


def test_a_job_that_names_no_model_is_judged_by_the_one_that_would_answer(
    server: Served, key: str
) -> None:
    rows = {"from": "rows", "rows": ["a row for the pilot"]}
    said = ask(server, "/api/v1/jobs", {"input": rows}, key)
    assert (said.status, said.json["code"]) == (403, "E_MODEL")


def test_a_list_holds_for_an_admin_who_names_addresses(server: Served) -> None:
    admin = server.new_key(scope=Scope.ADMIN, caps=KeyCaps(models=("m",)))
    wanted = job("n") | {"endpoint": "http://127.0.0.1:9/v1"}
    assert ask(server, "/api/v1/jobs", wanted, admin).status == 403


def test_an_alias_is_a_name_of_its_own(server: Served) -> None:
    key = server.new_key(caps=KeyCaps(models=("other",)))
    assert ask(server, "/api/v1/jobs/plan", job("m"), key).status == 403
    made = ask(server, "/api/v1/jobs", job("other", new=True), key)
    assert made.status == 201
    going = f"/api/v1/jobs/{made.json['job']['id']}"
    assert ask(server, f"{going}/pause", {}, key).status == 200
    assert ask(server, f"{going}/resume", {}, key).status == 200


@pytest.mark.parametrize("verb", ["resume", "retry"])
@pytest.mark.parametrize("model", ["n", "other"])
def test_somebody_elses_job_for_another_model_does_not_go_on(
    server: Served, key: str, model: str, verb: str
) -> None:
    made = ask(server, "/api/v1/jobs", job(model, new=True), server.key).json["job"]["id"]
    said = ask(server, f"/api/v1/jobs/{made}/{verb}", {}, key)
    assert (said.status, said.json["code"]) == (403, "E_MODEL")


def test_a_key_made_over_http_has_its_list_and_so_has_what_replaces_it(server: Served) -> None:
    made = ask(server, "/api/v1/keys", {"caps": {"models": ["m", "n"]}}, server.key).json
    assert made["caps"] == {"models": ["m", "n"]}
    again = ask(server, f"/api/v1/keys/{made['id']}/rotate", {}, server.key).json
    listed = server.get("/v1/models", key=again["text"]).json["data"]
    assert [one["id"] for one in listed] == ["m", "n"]


@pytest.mark.parametrize("models", [(), ("",), ("x" * 201,), ("m",) * 101])
def test_a_list_that_means_nothing_is_refused(server: Served, models: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="list has 1 to 100 models"):
        server.new_key(caps=KeyCaps(models=models))
