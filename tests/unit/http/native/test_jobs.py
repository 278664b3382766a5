"""Jobs over our own API: made of all kinds of rows, looked at, told what to do."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.scenario.place import Provider
from tests.unit.http.native.asking import Asking

from nightkiln.core.access import Scope
from nightkiln.service import arriving
from nightkiln.service.fetching import Fetching


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing on standard error."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def web_of(folder: Path) -> Iterator[str]:
    """A folder as a web server on loopback."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_rows_in_the_request_become_a_job_that_is_answered(api: Asking) -> None:
    job = api.submitted(api.new())
    ended = api.until(job)
    assert ended["state"] == "succeeded"
    assert (ended["rows"], ended["totals"]["ok"]) == (3, 3)
    lines = api.ask("GET", f"/jobs/{job}/results").body.splitlines()
    assert len(lines) == 3


def test_an_uploaded_file_becomes_a_job(api: Asking) -> None:
    made = api.ask("PUT", "/files?name=in.csv", b"text\na\nb\n")
    assert made.status == 201, made.body
    job = api.submitted({**api.new(), "input": {"from": "file", "id": made.json["id"]}})
    assert api.until(job)["totals"]["ok"] == 2
    assert api.ask("GET", f"/files/{made.json['id']}/content").body == b"text\na\nb\n"


def test_the_results_of_a_job_become_the_rows_of_the_next(api: Asking) -> None:
    first = api.submitted(api.new(["red", "blue"]))
    api.until(first)
    asked = api.new(prompt={"template": "is {earlier_answer} right?"})
    second = api.submitted({**asked, "input": {"from": "job", "id": first}})
    ended = api.until(second)
    assert ended["totals"]["ok"] == 2
    assert "earlier_answer" in ended["columns"]


def test_a_table_at_a_url_becomes_a_job(
    api: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = Fetching(
        allowed=lambda address: address.is_loopback
    )  # the usual rules want a public one
    monkeypatch.setattr(arriving, "_FETCHING", near)
    (tmp_path / "in.csv").write_text("text\nfar\nwide\n")
    with web_of(tmp_path) as url:
        body = {**api.new(), "input": {"from": "url", "url": f"{url}/in.csv"}}
        job = api.submitted(body)
        done = api.until(job)
        assert (done["state"], done["rows"]) == ("succeeded", 2)
        assert [row["input"] for row in api.get(f"/jobs/{job}/rows")["data"]] == [
            {"text": "far"},
            {"text": "wide"},
        ]
    assert api.spooled() == []


def test_a_url_that_is_not_public_is_refused(api: Asking) -> None:
    body = {**api.new(), "input": {"from": "url", "url": "http://127.0.0.1:1/in.csv"}}
    said = api.ask("POST", "/jobs", body)
    assert said.status == 400, said.body
    assert said.headers["content-type"] == "application/problem+json"
    path = {**api.new(), "input": {"from": "url", "url": "/etc/passwd"}}
    assert api.ask("POST", "/jobs", path).status == 400


def test_the_same_submission_goes_on_and_the_same_key_is_the_same_job(api: Asking) -> None:
    body = api.new(["same"])
    first = api.submitted(body)
    api.until(first)
    again = api.ask("POST", "/jobs", body)
    assert (again.status, again.json["how"]) == (200, "finished")
    assert again.json["job"]["id"] == first
    anew = api.ask("POST", "/jobs", {**body, "again": True}, idempotency_key="k1")
    same = api.ask("POST", "/jobs", {**body, "again": True}, idempotency_key="k1")
    assert anew.json["job"]["id"] == same.json["job"]["id"] != first
    other = api.ask("POST", "/jobs", api.new(["other"]), idempotency_key="k1")
    assert other.status == 409, other.body


def test_a_key_that_came_with_another_submission_is_a_conflict(api: Asking) -> None:
    assert api.ask("POST", "/jobs", api.new(["k1"]), idempotency_key="twice").status == 201
    said = api.ask("POST", "/jobs", api.new(["k2"]), idempotency_key="twice")
    assert said.status == 409, said.body
    assert said.headers["content-type"] == "application/problem+json"
    assert said.json["code"] == "idempotency_key_reused"
    assert "another submission" in said.json["detail"]
    assert {"type", "title", "status", "detail", "request_id"} <= set(said.json)


def test_some_rows_are_tried_first_and_shown(api: Asking) -> None:
    job = api.submitted(api.new([f"tried {n}" for n in range(9)], try_rows=2))
    assert api.until(job, "paused")["reason"] == "2 rows were tried"
    assert api.ask("POST", f"/jobs/{job}/resume").status == 200
    assert api.until(job)["totals"]["ok"] == 9
    trial = api.get(f"/jobs/{job}/trial")
    assert (trial["rows"], len(trial["tried"])) == (9, 2)
    untried = api.submitted(api.new(["never tried"]))
    assert api.ask("GET", f"/jobs/{untried}/trial").status == 404
    for many in (0, 1001, "two"):
        assert api.ask("POST", "/jobs", api.new(try_rows=many)).status == 400


def test_jobs_that_ended_long_ago_are_listed(api: Asking) -> None:
    job = api.submitted(api.new(["old"]))
    api.until(job)
    old = api.get("/old-jobs?older_than_s=0&state=succeeded")["data"]
    assert job in [one["job"] for one in old]
    assert api.get("/old-jobs?older_than_s=86400")["data"] == []
    for query in ("", "?older_than_s=-1", "?older_than_s=0&state=running"):
        assert api.ask("GET", f"/old-jobs{query}").status == 400


def test_a_writer_may_not_name_more_addresses_when_a_job_goes_on(api: Asking) -> None:
    job = api.submitted(api.new(["writer"]))
    api.until(job)
    writer = Asking(api.server, api.endpoint, key=api.server.new_key(scope=Scope.WRITE))
    for said in ({"more_endpoints": [api.endpoint]}, {"more_keys": ["env:X"]}):
        refused = writer.ask("POST", f"/jobs/{job}/resume", said)
        assert refused.status == 400, refused.body
        assert "admin" in refused.json["detail"]


def test_jobs_are_listed_in_pages_by_state_and_by_name(api: Asking) -> None:
    named = api.submitted(api.new(["n"], label={"name": 'my "job"'}))
    api.until(named)
    others = [api.submitted(api.new([f"other {n}"])) for n in range(2)]
    for job in others:
        api.until(job)
    found = api.get("/jobs?name=my%20%22job%22")
    assert [job["id"] for job in found["data"]] == [named]
    first = api.get("/jobs?limit=2&state=succeeded&state=failed")
    assert [job["id"] for job in first["data"]] == others[::-1]
    assert first["has_more"]
    assert api.get(f"/jobs?limit=1&after={first['after']}")["data"][0]["id"] == named
    assert api.get("/jobs?state=queued")["data"] == []


def test_a_job_is_paused_resumed_and_cancelled(api: Asking, provider: Provider) -> None:
    provider.slow(300)
    job = api.submitted(api.new([f"row {n}" for n in range(200)], concurrency=2))
    api.until(job, "running")
    assert api.ask("POST", f"/jobs/{job}/pause").status == 200
    assert api.until(job, "paused")["wanted"] == "pause"
    assert api.ask("POST", f"/jobs/{job}/resume", {"concurrency": 3}).status == 200
    api.until(job, "running")
    assert api.ask("POST", f"/jobs/{job}/cancel").status == 200
    ended = api.until(job)
    assert ended["state"] == "cancelled"
    assert api.ask("POST", f"/jobs/{job}/pause").status == 409
    rows = api.get(f"/jobs/{job}/rows?fault=cancelled&limit=5&start=190")
    assert [row["row"] for row in rows["data"]] == [190, 191, 192, 193, 194]


def test_rows_with_faults_are_asked_again(api: Asking, provider: Provider) -> None:
    job = api.submitted(api.new(["good", "bad __poison__"]))
    assert api.until(job)["state"] == "completed_with_errors"
    report = api.get(f"/jobs/{job}/faults?rows=5")
    assert [row["row"] for row in report["listed"]] == [1]
    assert api.ask("POST", f"/jobs/{job}/retry", {"classes": ["no such"]}).status == 400
    before = provider.requests
    assert api.ask("POST", f"/jobs/{job}/retry").status == 200
    ended = api.until(job, "completed_with_errors")
    assert (ended["generation"], provider.requests - before) == (2, 1)


def test_a_deleted_job_is_gone(api: Asking) -> None:
    job = api.submitted(api.new(["gone"]))
    api.until(job)
    for short in (job[:-2], "last"):
        assert api.ask("GET", f"/jobs/{short}").json["id"] == job
        assert api.ask("DELETE", f"/jobs/{short}").status == 404
    assert api.ask("DELETE", f"/jobs/{job}").json == {"id": job, "deleted": True}
    assert api.ask("GET", f"/jobs/{job}").status == 404


def test_a_credential_of_a_backend_that_is_not_there_is_no_fault_of_the_callers_key(
    api: Asking,
) -> None:
    said = api.ask("POST", "/jobs", {**api.new(), "key": "env:NO_SUCH_KEY_HERE"})
    assert (said.status, said.json["code"]) == (503, "E_AUTH"), said.body
    assert "NO_SUCH_KEY_HERE" not in said.json["detail"]


def test_a_table_at_a_url_that_cannot_be_had_is_refused_with_the_reason(api: Asking) -> None:
    for url, reason in (
        ("http://127.0.0.1:1/a.csv", "127.0.0.1 is at no public address"),
        ("http://nowhere.invalid/a.csv", "there is no host nowhere.invalid"),
    ):
        said = api.ask("POST", "/jobs", {**api.new(), "input": {"from": "url", "url": url}})
        assert said.status == 400, said.body
        assert reason in said.json["detail"]


def test_a_writer_may_not_name_addresses_or_credentials(api: Asking) -> None:
    key = api.server.new_key(project="guests")
    guest = Asking(api.server, api.endpoint, key=key)
    for body in (guest.new(), {**guest.new(), "endpoint": None, "key": "env:HOME"}):
        said = guest.ask("POST", "/jobs", body)
        assert said.status == 400
        assert "scope admin" in said.json["detail"]


def test_another_projects_jobs_are_not_there(api: Asking) -> None:
    job = api.submitted(api.new(["mine"]))
    guest = Asking(api.server, api.endpoint, key=api.server.new_key(project="guests"))
    paths = ("", "/rows", "/events", "/results", "/answers", "/inputs", "/faults", "/events/stream")
    assert {guest.ask("GET", f"/jobs/{job}{path}").status for path in paths} == {404}
    verbs = ("cancel", "pause", "resume", "retry")
    assert {guest.ask("POST", f"/jobs/{job}/{verb}").status for verb in verbs} == {404}
    assert guest.ask("DELETE", f"/jobs/{job}").status == 404
    assert guest.get("/jobs")["data"] == []


def test_what_a_submission_would_do_and_take_is_said_without_doing_it(api: Asking) -> None:
    before = len(api.get("/jobs")["data"])
    planned = api.ask("POST", "/jobs/plan", api.new(["a", "b"]))
    assert (planned.status, planned.json["rows"]) == (200, 2), planned.body
    estimate = api.ask("POST", "/jobs/estimate", api.new(["a", "b"]))
    assert (estimate.status, estimate.json["forecast"]["rows"]) == (200, 2), estimate.body
    assert len(api.get("/jobs")["data"]) == before
    assert api.spooled() == []


def test_a_body_that_cannot_be_taken_is_a_problem_that_names_the_field(api: Asking) -> None:
    said = api.ask("POST", "/jobs", {**api.new(), "temprature": 1})
    assert said.status == 400
    assert "temprature" in said.json["detail"]
    assert api.ask("POST", "/jobs", b"\xff\xfe").status == 400


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"caps": {"cost_usd": 0}}, "max-cost is 0; it has to be more than 0"),
        ({"concurrency": 0}, "concurrency is 0; it goes from 1 to 16384"),
        ({"timeout_s": 0}, "timeout is 0.0; it has to be more than 0 seconds"),
        ({"limit": 0}, "limit is 0; it has to be at least 1"),
    ],
)
def test_what_is_refused_is_not_named_as_a_flag_of_the_command_line(
    api: Asking, more: dict[str, Any], words: str
) -> None:
    said = api.ask("POST", "/jobs", api.new(**more))
    assert (said.status, said.json["detail"]) == (400, words)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("excel_safe=true&format=xlsx", "excel-safe is for CSV and TSV, not for xlsx"),
        ("where=status", "where takes FIELD=VALUE, not 'status'"),
    ],
)
def test_a_download_that_cannot_be_is_not_refused_in_words_of_the_command_line(
    api: Asking, query: str, words: str
) -> None:
    job = api.submitted(api.new([query]))
    api.until(job)
    said = api.ask("GET", f"/jobs/{job}/results?{query}")
    assert (said.status, said.json["detail"]) == (400, words)
    assert "--" not in said.json.get("hint", "")
