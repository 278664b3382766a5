"""Scans over HTTP: a stream of hits that ends by itself, or when its client leaves."""

import json
import time
import urllib.request
from typing import Any

import pytest
from tests.unit.http.native.asking import DEADLINE_S, Asking

from nightkiln.service.rowscan import EACH

ROWS = 60


@pytest.fixture
def job(api: Asking) -> str:
    body = api.new([{"text": f"row {n}", "n": (n * 7) % ROWS} for n in range(ROWS)])
    said = api.ask("POST", "/jobs", {**body, "prompt": {"columns": ["text"]}})
    name: str = said.json["job"]["id"]
    api.until(name)
    return name


def opened(api: Asking, job: str, query: str, *, key: str | None = None) -> Any:
    """A scan under way."""
    headers = {"authorization": f"Bearer {key or api.server.key}"}
    url = f"{api.server.url}/api/v1/jobs/{job}/rows/scan?{query}"
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=DEADLINE_S)


def events(api: Asking, job: str, query: str) -> list[tuple[str, Any]]:
    """All that a scan tells."""
    with opened(api, job, query) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        blocks = [one for one in reply.read().decode().split("\n\n") if one.strip()]
    found = []
    for block in blocks:
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_a_text_is_looked_for_with_progress_and_an_end(api: Asking, job: str) -> None:
    (first, progress), *hits, (last, end) = events(api, job, "text=ROW%205&column=text")
    assert (first, last) == ("progress", "end")
    assert progress == {"scanned": 0, "rows": ROWS, "found": 0}
    assert [hit["row"] for name, hit in hits if name == "hit"] == [5, *range(50, 60)]
    assert end == {"reason": "complete", "scanned": ROWS, "found": 11, "next": None}


def test_rows_are_sorted_by_a_number(api: Asking, job: str) -> None:
    told = events(api, job, "sort=n&order=desc&limit=5&status=ok")
    numbers = [hit["input"]["n"] for name, hit in told if name == "hit"]
    assert numbers == [59, 58, 57, 56, 55]


@pytest.mark.parametrize(
    "query",
    [
        "column=nothing",
        "sort=nothing",
        "order=up",
        "limit=201",
        "limit=0",
        "start=-1",
        "status=fine",
        "fault=nonsense",
        "finish_reason=%20",
        "text=" + "x" * 1001,
    ],
)
def test_what_cannot_be_scanned_is_refused_before_the_stream(
    api: Asking, job: str, query: str
) -> None:
    said = api.ask("GET", f"/jobs/{job}/rows/scan?{query}")
    assert said.status == 400, said.body
    assert said.headers["content-type"] == "application/problem+json"


def test_a_job_of_another_project_is_not_there(api: Asking, job: str) -> None:
    key = api.server.new_key(project="scans-elsewhere")
    assert (
        Asking(api.server, api.endpoint, key=key).ask("GET", f"/jobs/{job}/rows/scan").status == 404
    )


def test_a_project_has_so_many_scans_and_ended_ones_make_room(api: Asking, job: str) -> None:
    scans = api.server.app.state.parts.scans
    taken = [scans.begin("default") for _ in range(EACH)]
    try:
        assert all(taken)
        said = api.ask("GET", f"/jobs/{job}/rows/scan?text=row")
        assert said.status == 429
        assert said.json["code"] == "too_many_scans"
        assert int(said.headers["retry-after"]) >= 1
    finally:
        for _ in taken:
            scans.end("default")
    for _ in range(2 * EACH):
        assert events(api, job, "text=row&limit=1")[-1][0] == "end"


def test_a_client_that_leaves_gives_its_place_back(api: Asking, job: str) -> None:
    for _ in range(EACH):
        with opened(api, job, "text=row") as reply:
            assert reply.read(5) == b"event"
    scans, deadline = api.server.app.state.parts.scans, time.monotonic() + DEADLINE_S
    for _ in range(EACH):
        while not scans.begin("default"):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_the_openapi_says_what_events_there_are(api: Asking) -> None:
    paths = api.server.get("/api/openapi.json").json["paths"]
    said = paths["/api/v1/jobs/{job_id}/rows/scan"]["get"]
    assert set(said["x-nightkiln-events"]) == {"progress", "hit", "end"}
    assert "text/event-stream" in said["responses"]["200"]["content"]
    assert {one["name"] for one in said["parameters"]} >= {"text", "column", "sort", "order"}
