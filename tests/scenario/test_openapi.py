"""The OpenAPI against a real server: it describes every route, and what it says is what comes.

Schemathesis makes requests from the document, good ones and bad ones, and holds every
answer to it: no 5xx, no status, media type or body that is not described. The requests
of a run are the same each time. `OPENAPI_EXAMPLES` is how many are made up for
each operation (5 unless said), beside those that go through its edges one by one; and
`OPENAPI_SEED` makes others up (1 unless said).

    OPENAPI_EXAMPLES=300 pytest tests/scenario/test_openapi.py --timeout 3600
"""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import jsonschema_rs
import pytest
from tests.client.server import Running, running
from tests.receiver import receiving
from tests.scenario.place import DEADLINE_S, Provider, simulated, until
from tests.scenario.tenants.rules import (
    BATCH,
    FORM,
    JOB,
    LINES,
    MESSAGES,
    VERBS,
    doors_of,
    form_of,
)
from tests.serving import served

_EXAMPLES: Final = int(os.environ.get("OPENAPI_EXAMPLES", "5"))
_SEED: Final = os.environ.get("OPENAPI_SEED", "1")
_RUN_S: Final = 3000
# Left out: that whatever fits the schemas is taken. Some of what is refused no schema can
# say (a file that does not exist, a job that is over), and there is a test for each.
_CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
)
_PHASES: Final = ("--phases", "coverage,fuzzing")
_HIDDEN: Final = ("/metrics", "/api/docs", "/api/openapi.json")
_SHOWN: Final = r"\{(job|batch|file|webhook)_id\}"
_NEVER_SHOWN: Final = {("GET", "/api/v1/jobs/{job_id}/trial")}  # nobody asked for one
_VERSION: Final = {"anthropic-version": "2023-06-01"}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with simulated() as one:
        yield one


@pytest.fixture
def server(tmp_path: Path, provider: Provider) -> Iterator[Running]:
    """A server in a process of its own; at its end nothing in its log may say of a bug."""
    with running(tmp_path, provider) as one:
        yield one


class Hearing(NamedTuple):
    """A server that tells somebody of its batches."""

    server: Running
    webhook: dict[str, str]  # its id


@pytest.fixture
def hearing(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hearing]:
    monkeypatch.setenv("NIGHTKILN_PRIVATE_WEBHOOKS", "true")
    with receiving() as receiver, running(tmp_path, provider) as one:
        webhook = made(one, "/api/v1/webhooks", {"url": receiver.url})
        yield Hearing(one, {"webhook": webhook["id"]})


def made(server: Running, path: str, body: object) -> Any:
    kind = {"content-type": "application/json"}
    return ask(server, "POST", path, json.dumps(body).encode(), **kind)


def answered_well(server: Running) -> set[tuple[str, str]]:
    """Verb and template of every route that has said 200 since the server began."""
    name = "http_server_request_duration_seconds_count{"
    lines = [line for line in server.get("/metrics").splitlines() if line.startswith(name)]
    seen = [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in lines]
    return {
        (one["http_request_method"], one["http_route"])
        for one in seen
        if one["http_response_status_code"] == "200"
    }


def ask(server: Running, method: str, path: str, body: bytes | None = None, **more: str) -> Any:
    sent = {"authorization": f"Bearer {server.key}", **_VERSION, **more}
    request = urllib.request.Request(server.url + path, body, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
            return json.loads(reply.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return {"status": "none yet", "processing_status": "none yet", "refused": refused.code}


def status_of(server: Running, path: str) -> int:
    sent = {"authorization": f"Bearer {server.key}"}
    request = urllib.request.Request(server.url + path, headers=sent)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def schemathesis(server: Running, folder: Path, *arguments: str, configured: str = "") -> None:
    """One run, which has to find nothing. It writes nothing but into this folder."""
    (folder / "schemathesis.toml").write_text(
        f'[cache]\nenabled = false\n[headers]\nAuthorization = "Bearer {server.key}"\n{configured}'
    )
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("run", f"{server.url}/api/openapi.json"),
        *("--checks", ",".join(_CHECKS)),
        *("--seed", _SEED, "--max-examples", str(_EXAMPLES)),
        *("--generation-database", "none", "--request-timeout", "60"),
        *("--no-color", "--warnings", "off", "--continue-on-failure"),
        *arguments,
    ]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=_RUN_S
    )
    assert done.returncode == 0, done.stdout + done.stderr


def only(verb: str, paths: str) -> tuple[str, ...]:
    """Arguments for one verb of some paths. What includes more than once includes either."""
    others = (one for one in VERBS if one != verb)
    return "--include-path-regex", paths, *(f"--exclude-method={one}" for one in others)


def test_every_route_and_what_it_refuses_is_described(tmp_path: Path) -> None:
    with served(tmp_path / "home") as one:
        document = one.get("/api/openapi.json", key="").json
        doors = doors_of(one.app)
    missing: list[tuple[str, ...]] = []
    for door in doors:
        for verb in door.verbs - {"HEAD"}:
            said = document["paths"].get(door.path, {}).get(verb.lower())
            if said is None and door.path not in _HIDDEN:
                missing.append((verb, door.path))
            if said is not None and not {"4XX", "5XX"} <= set(said["responses"]):
                missing.append((verb, door.path, *said["responses"]))
    assert not missing
    vague = [
        (path, status)
        for path, verbs in document["paths"].items()
        for said in verbs.values()
        for status, answer in said["responses"].items()
        if {"schema": {}} in answer.get("content", {}).values()
    ]
    assert not vague, "these say nothing of their answers"


@pytest.mark.slow
@pytest.mark.timeout(_RUN_S)
def test_whatever_is_asked_is_answered_as_described(server: Running, tmp_path: Path) -> None:
    """Routes of one key come last: they may well end the key that asks."""
    keys = r"/keys/\{key_id\}"
    schemathesis(server, tmp_path, *_PHASES, "--exclude-path-regex", keys)
    assert "data" in ask(server, "GET", "/api/v1/jobs"), "the key was not good to the end"
    schemathesis(server, tmp_path, *_PHASES, "--include-path-regex", keys)


@pytest.mark.slow
@pytest.mark.timeout(_RUN_S)
def test_things_that_are_there_are_shown_as_described(hearing: Hearing, tmp_path: Path) -> None:
    """The reading routes again, of a job, batches, a file and a webhook that are there."""
    server = hearing.server
    there = things(server) | hearing.webhook
    (part, *_) = ask(server, "GET", f"/api/v1/jobs/{there['job']}/dataset")["files"]
    there["part"] = part["name"]
    until(lambda: "delivered" in server.get(f"/api/v1/webhooks/{there['webhook']}/deliveries"))
    schemathesis(
        server,
        tmp_path,
        *_PHASES,
        *only("GET", _SHOWN),
        configured=_parameters(there),
    )
    document = json.loads(server.get("/api/openapi.json"))
    shown = {
        ("GET", path)
        for path, verbs in document["paths"].items()
        if "get" in verbs and re.search(_SHOWN, path)
    }
    missing = shown - answered_well(server) - _NEVER_SHOWN
    assert not missing, "no good answer of these was seen"


@pytest.mark.slow
@pytest.mark.timeout(_RUN_S)
@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "/v1/uploads/{upload_id}/parts"),
        ("POST", "/v1/uploads/{upload_id}/cancel"),
        ("POST", "/api/v1/keys/{key_id}/rotate"),
        ("DELETE", "/api/v1/keys/{key_id}"),
        ("DELETE", "/api/v1/webhooks/{webhook_id}"),
    ],
)
def test_what_happens_to_things_that_are_there_is_as_described(
    hearing: Hearing, tmp_path: Path, verb: str, path: str
) -> None:
    server = hearing.server
    wanted = {"bytes": 9, "filename": "a.jsonl", "mime_type": "application/jsonl"}
    there = {
        "upload": made(server, "/v1/uploads", {**wanted, "purpose": "batch"})["id"],
        "key": made(server, "/api/v1/keys", {"name": "n", "scope": "read"})["id"],
        **hearing.webhook,
    }
    route = "^" + re.escape(path) + "$"
    ids = (f'"path.{name}_id" = "{one}"' for name, one in there.items())
    configured = "\n".join(["[parameters]", *ids])
    schemathesis(server, tmp_path, *_PHASES, *only(verb, route), configured=configured)
    assert (verb, path) in answered_well(server)


def test_a_completed_upload_is_as_described(server: Running) -> None:
    """No part that is made up can be completed, so this is asked by hand."""
    data = LINES.encode()
    wanted = {"bytes": len(data), "filename": "a.jsonl", "mime_type": "application/jsonl"}
    upload = made(server, "/v1/uploads", {**wanted, "purpose": "batch"})["id"]
    path = f"/v1/uploads/{upload}"
    part = ask(server, "POST", f"{path}/parts", form_of(data=LINES), **{"content-type": FORM})
    done = made(server, f"{path}/complete", {"part_ids": [part["id"]]})
    document = json.loads(server.get("/api/openapi.json"))
    said = document["paths"]["/v1/uploads/{upload_id}/complete"]["post"]["responses"]["200"]
    schema = said["content"]["application/json"]["schema"]
    described = jsonschema_rs.validator_for({**schema, "components": document["components"]})
    described.validate(done)
    assert done["status"] == "completed"
    assert not described.is_valid({**done, "status": 7}), "the description refuses nothing"


def test_the_job_under_a_batch_is_shown_like_any_other(server: Running) -> None:
    things(server)
    jobs = ask(server, "GET", "/api/v1/jobs")["data"]
    assert sorted(job["spec"]["source"]["kind"] for job in jobs) == ["batch", "batch", "parquet"]
    formats = [f"results?format={one}" for one in ("jsonl", "csv", "tsv", "parquet", "xlsx")]
    for job in jobs:
        for what in ("rows", "faults", "bad-rows", "inputs", "answers", "dataset", *formats):
            assert status_of(server, f"/api/v1/jobs/{job['id']}/{what}") == 200, (job, what)


def things(server: Running) -> dict[str, str]:
    """One of each, over."""
    file = ask(
        server,
        "POST",
        "/v1/files",
        form_of(purpose="batch", file=LINES),
        **{"content-type": FORM},
    )["id"]
    made = {
        "batch": ("/v1/batches", {**BATCH, "input_file_id": file}),
        "messages": ("/v1/messages/batches", MESSAGES),
        "job": ("/api/v1/jobs", JOB),
    }
    kind = {"content-type": "application/json"}
    found = {
        name: ask(server, "POST", path, json.dumps(body).encode(), **kind)
        for name, (path, body) in made.items()
    }
    batch, messages = found["batch"]["id"], found["messages"]["id"]
    job = found["job"]["job"]["id"]
    until(lambda: ask(server, "GET", f"/v1/batches/{batch}").get("status") == "completed")
    until(
        lambda: (
            ask(server, "GET", f"/v1/messages/batches/{messages}").get("processing_status")
            == "ended"
        )
    )
    until(lambda: ask(server, "GET", f"/api/v1/jobs/{job}").get("state") == "succeeded")
    return {"file": file, "batch": batch, "messages": messages, "job": job}


def _parameters(there: dict[str, str]) -> str:
    return f"""
[parameters]
"path.file_id" = "{there["file"]}"
"path.job_id" = "{there["job"]}"
"path.webhook_id" = "{there["webhook"]}"

[[operations]]
include-path-regex = "/dataset/"
[operations.parameters]
"path.name" = "{there["part"]}"

[[operations]]
include-path-regex = "^/v1/batches"
[operations.parameters]
"path.batch_id" = "{there["batch"]}"

[[operations]]
include-path-regex = "/messages/"
[operations.parameters]
"path.batch_id" = "{there["messages"]}"
"""
