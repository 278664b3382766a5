"""What there is to read of a job: pages of rows, files of results, events, and who spent what."""

import hashlib
import json
import time
import urllib.request
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.scenario.place import Provider
from tests.unit.http.native.asking import DEADLINE_S, STEP_S, Asking

from nightkiln.core.ids import ProjectId

ROWS = 40


@pytest.fixture
def job(api: Asking) -> str:
    body = api.new([{"text": f"row {n}", "n": n} for n in range(ROWS)])
    said = api.ask("POST", "/jobs", {**body, "prompt": {"columns": ["text"]}})
    name: str = said.json["job"]["id"]
    api.until(name)
    return name


def test_rows_come_in_pages_in_order(api: Asking, job: str) -> None:
    rows: list[dict[str, Any]] = []
    start: int | None = 0
    while start is not None:
        page = api.get(f"/jobs/{job}/rows?limit=7&start={start}")
        rows += page["data"]
        start = page["next"]
    assert [row["row"] for row in rows] == list(range(ROWS))
    assert rows[3]["input"] == {"text": "row 3", "n": 3}
    assert rows[3]["answer"]["status"] == "ok"
    assert rows[3]["answer"]["answer"]


def test_a_page_of_rows_is_bounded_in_bytes_too(api: Asking) -> None:
    job = api.submitted(api.new([f"{n} {'long ' * 40_000}" for n in range(12)]))
    api.until(job)
    seen: list[int] = []
    start: int | None = 0
    while start is not None:
        said = api.ask("GET", f"/jobs/{job}/rows?limit=1000&start={start}")
        assert len(said.body) < (1 << 20) + 1000
        seen += [row["row"] for row in said.json["data"]]
        assert said.json["has_more"] is (said.json["next"] is not None)
        start = said.json["next"]
    assert seen == list(range(12))


def test_rows_are_found_by_how_they_ended(api: Asking, job: str) -> None:
    assert api.get(f"/jobs/{job}/rows?status=error")["data"] == []
    assert len(api.get(f"/jobs/{job}/rows?status=ok&status=error&limit=100")["data"]) == ROWS
    assert len(api.get(f"/jobs/{job}/rows?finish_reason=stop")["data"]) == ROWS
    assert api.get(f"/jobs/{job}/rows?finish_reason=length")["data"] == []
    for query in ("status=nonsense", "fault=nonsense", "limit=0", "limit=1001", "start=-1"):
        assert api.ask("GET", f"/jobs/{job}/rows?{query}").status == 400


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv", "parquet", "xlsx"])
def test_results_come_in_every_format(api: Asking, job: str, form: str) -> None:
    said = api.ask("GET", f"/jobs/{job}/results?format={form}")
    assert said.status == 200, said.body
    assert f'filename="{job}.{form}"' in said.headers["content-disposition"]
    if form == "parquet":
        assert pq.read_table(pa.BufferReader(said.body)).num_rows == ROWS
    elif form != "xlsx":
        assert len(said.body.splitlines()) == ROWS + (form != "jsonl")
    limited = api.ask("GET", f"/jobs/{job}/results?limit=3&where=status%3Dok")
    assert len(limited.body.splitlines()) == 3


def test_rows_and_answers_come_apart_for_those_who_make_frames(api: Asking, job: str) -> None:
    inputs = _table(api.ask("GET", f"/jobs/{job}/inputs").body)
    answers = _table(api.ask("GET", f"/jobs/{job}/answers").body)
    assert inputs.num_rows == answers.num_rows == ROWS
    assert inputs.column_names == ["text", "n"]
    assert set(answers.column("status").to_pylist()) == {"ok"}


def test_results_come_as_the_files_that_they_lie_in(api: Asking, job: str) -> None:
    manifest = api.get(f"/jobs/{job}/dataset")
    rows = 0
    for file in manifest["files"]:
        said = api.ask("GET", f"/jobs/{job}/dataset/{file['name']}")
        assert hashlib.sha256(said.body).hexdigest() == file["sha256"]
        rows += pq.read_table(pa.BufferReader(said.body)).num_rows
    assert rows == manifest["rows"] == ROWS
    for name in ("_manifest.json", "part-99999.parquet", "..%2Frun.lock"):
        assert api.ask("GET", f"/jobs/{job}/dataset/{name}").status == 404


def test_faults_with_their_inputs_are_listed_so_many_at_once(api: Asking, job: str) -> None:
    for query in ("rows=100000", "rows=1000&show_input=true", "show_input=true"):
        assert api.get(f"/jobs/{job}/faults?{query}")["listed"] == []
    said = api.ask("GET", f"/jobs/{job}/faults?rows=1001&show_input=true")
    assert said.status == 400
    assert "no more than 1000 rows" in said.json["detail"]


def test_bad_rows_are_counted_and_downloaded(api: Asking) -> None:
    file = api.ask("PUT", "/files?name=in.csv", b"text\ngood\nbad,one,two\n")
    body = {**api.new(), "input": {"from": "file", "id": file.json["id"]}}
    job = api.submitted(body)
    api.until(job)
    assert api.get(f"/jobs/{job}/bad-rows") == {"count": 1}
    (line,) = api.ask("GET", f"/jobs/{job}/bad-rows/lines").body.splitlines()
    assert json.loads(line)["text"] == "bad,one,two"


def test_nothing_that_was_made_for_an_answer_stays(api: Asking, job: str) -> None:
    api.ask("GET", f"/jobs/{job}/results")
    assert api.spooled() == []


def test_commits_are_listed_in_their_order_from_any_of_them_on(api: Asking, job: str) -> None:
    found = api.get(f"/jobs/{job}/events")
    seqs = [one["seq"] for one in found["data"]]
    assert seqs == list(range(1, len(seqs) + 1))
    assert sum(one["rows"] for one in found["data"]) == ROWS
    assert found["job"]["state"] == "succeeded"
    later = api.get(f"/jobs/{job}/events?after={seqs[0]}&wait_s=0")
    assert [one["seq"] for one in later["data"]] == seqs[1:]


def test_a_stream_of_events_ends_with_the_job_and_goes_on_where_it_was_cut(
    api: Asking, job: str
) -> None:
    whole, rest = _streamed(api, job), _streamed(api, job, last="1")
    commits = [one for one in whole if one["event"] == "commit"]
    assert [one["id"] for one in commits] == [str(n + 1) for n in range(len(commits))]
    assert [one for one in rest if one["event"] == "commit"] == commits[1:]
    (last,) = [one for one in whole if one["event"] == "job"]
    assert json.loads(last["data"])["state"] == "succeeded"


def test_what_was_spent_and_what_is_there_can_be_seen(api: Asking, job: str) -> None:
    assert api.get(f"/jobs/{job}")["totals"]["ok"] == ROWS
    usage = api.get("/usage")
    assert sum(one["totals"].get("attempts", 0) for one in usage["data"]) >= ROWS
    assert sum(one["totals"].get("ok", 0) for one in usage["data"]) >= ROWS
    assert api.ask("GET", "/usage?first=2026-02-01&last=2026-01-01").status == 400
    fleet = api.get("/fleet")
    assert fleet["working"]
    assert fleet["jobs"]["succeeded"] >= 1


def test_the_fleet_shows_how_backends_stand_and_not_whose_they_are(
    api: Asking, provider: Provider
) -> None:
    provider.slow(30_000)
    job = api.submitted(api.new(["slow", "slower"]))
    until = time.monotonic() + DEADLINE_S
    while not (found := [one for one in api.get("/fleet")["backends"] if one["in_flight"]]):
        assert time.monotonic() < until
        time.sleep(STEP_S)
    (here,) = found
    assert here["name"] in api.endpoint
    assert (here["model"], here["breaker"], here["waits_s"]) == ("sim", "closed", 0)
    assert here.keys() == {"name", "model", "slots", "limit", "in_flight", "breaker", "waits_s"}
    assert here["slots"] >= here["limit"] >= 1
    other = api.server.new_key(project=ProjectId("other"))  # it may not name that address
    assert api.server.get("/api/v1/fleet", key=other).json["backends"] == []
    api.ask("POST", f"/jobs/{job}/cancel")
    api.until(job)


def test_keys_are_made_listed_replaced_and_ended(api: Asking) -> None:
    made = api.ask("POST", "/keys", {"name": "mine", "scope": "read"})
    assert made.status == 201, made.body
    reader = Asking(api.server, api.endpoint, key=made.json["text"])
    assert reader.ask("POST", "/jobs", reader.new()).status == 403
    assert reader.ask("GET", "/keys").status == 403
    listed = {one["id"]: one for one in api.get("/keys")["data"]}
    assert listed[made.json["id"]]["text"] is None
    turned = api.ask("POST", f"/keys/{made.json['id']}/rotate")
    assert turned.status == 200, turned.body
    assert {one["id"]: one for one in api.get("/keys")["data"]}[made.json["id"]]["expires_at"]
    ended = api.ask("DELETE", f"/keys/{turned.json['id']}")
    assert ended.json["revoked_at"] is not None


def test_every_route_says_in_the_openapi_what_it_gives(api: Asking) -> None:
    said = api.server.get("/api/openapi.json").json
    routes = [
        (path, verb, one)
        for path, verbs in said["paths"].items()
        if path.startswith("/api/v1/")
        for verb, one in verbs.items()
    ]
    assert len(routes) > 25
    for path, verb, one in routes:
        good = [code for code in one["responses"] if code.startswith("2")]
        assert all(one["responses"][code].get("content") for code in good), (verb, path)
    assert "$ref" not in json.dumps(next(one for path, _, one in routes if path.endswith("/jobs")))


def _table(body: bytes) -> pa.Table:
    with pa.ipc.open_stream(body) as reader:
        return reader.read_all()


def _streamed(api: Asking, job: str, *, last: str | None = None) -> list[dict[str, str]]:
    """The events of a stream, to its end."""
    headers = {"authorization": f"Bearer {api.server.key}"}
    if last is not None:
        headers["last-event-id"] = last
    url = f"{api.server.url}/api/v1/jobs/{job}/events/stream"
    with urllib.request.urlopen(
        urllib.request.Request(url, headers=headers), timeout=DEADLINE_S
    ) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        text = reply.read().decode()
    return [
        dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        for block in text.split("\n\n")
        if block.strip()
    ]
