"""Jobs over our own API: made of all kinds of rows, looked at, told what to do."""

from tests.scenario.place import Provider
from tests.unit.http.native.asking import Asking


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
    assert api.ask("DELETE", f"/jobs/{job}").json == {"id": job, "deleted": True}
    assert api.ask("GET", f"/jobs/{job}").status == 404


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
