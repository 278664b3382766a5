"""What webhooks were told of a batch, among the events of its job."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.receiver import Receiver, receiving
from tests.scenario.place import Provider
from tests.serving import DEADLINE_S, Served, served
from tests.unit.http.forms import FILE, PURPOSE, TYPE, form
from tests.unit.http.native.asking import STEP_S, Asking

from nightkiln.core.ids import ProjectId

CHAT = "/v1/chat/completions"
_SETTINGS = '[endpoints.sim]\nurl = "{url}"\nmodels = ["m"]\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("told")
    (folder / "nightkiln.toml").write_text(_SETTINGS.format(url=provider.url))
    environ = {"NIGHTKILN_PRIVATE_WEBHOOKS": "true"}
    with served(folder / "home", work=True, environ=environ) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def job_of_a_batch(api: Asking, receiver: Receiver) -> tuple[str, str]:
    """A batch that is told of to a webhook: the ids of the webhook and of the batch's job."""
    hook = api.ask("POST", "/webhooks", {"url": receiver.url})
    assert hook.status == 201, hook.body
    question = {"model": "m", "messages": [{"role": "user", "content": "say it"}]}
    line = {"custom_id": "a", "method": "POST", "url": CHAT, "body": question}
    body = form(PURPOSE, (FILE, json.dumps(line).encode()))
    file = api.server.ask("POST", "/v1/files", body, content_type=TYPE).json["id"]
    asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    said = api.server.ask("POST", "/v1/batches", json.dumps(asked).encode())
    assert said.status == 200, said.body
    return hook.json["id"], api.get("/jobs")["data"][0]["id"]


def told(api: Asking, job: str, state: str) -> list[dict[str, Any]]:
    """The webhooks of a job's events once the only one is in a state."""
    until = time.monotonic() + DEADLINE_S
    while True:
        found: list[dict[str, Any]] = api.get(f"/jobs/{job}/events")["webhooks"]
        if [one["state"] for one in found] == [state]:
            return found
        assert time.monotonic() < until, found
        time.sleep(STEP_S)


def test_the_events_of_a_job_show_what_its_webhooks_were_told(
    api: Asking, receiver: Receiver
) -> None:
    receiver.hold.clear()
    hook, job = job_of_a_batch(api, receiver)
    (waiting,) = told(api, job, "pending")
    assert (waiting["tries"], waiting["status"]) == (0, None)
    receiver.hold.set()
    (done,) = told(api, job, "delivered")
    assert done == {
        "id": receiver.heard[0].headers["webhook-id"],
        "webhook": hook,
        "event": "batch.completed",
        "state": "delivered",
        "tries": 1,
        "status": 200,
    }
    stream = api.server.get(f"/api/v1/jobs/{job}/events/stream").body.decode()
    (block,) = [one for one in stream.split("\n\n") if one.startswith("event: webhook")]
    assert "\nid:" not in block  # or whoever goes on would lose its place among the commits
    assert json.loads(block.split("data: ", 1)[1]) == done
    api.ask("DELETE", f"/webhooks/{hook}")
    assert api.get(f"/jobs/{job}/events")["webhooks"] == []


def test_a_job_without_a_batch_tells_no_webhook(api: Asking, receiver: Receiver) -> None:
    hook = api.ask("POST", "/webhooks", {"url": receiver.url}).json["id"]
    job = api.submitted(api.new(["alone"]))
    api.until(job)
    assert api.get(f"/jobs/{job}/events")["webhooks"] == []
    assert b"event: webhook" not in api.server.get(f"/api/v1/jobs/{job}/events/stream").body
    api.ask("DELETE", f"/webhooks/{hook}")


def test_another_project_sees_nothing_of_it(api: Asking, receiver: Receiver) -> None:
    _, job = job_of_a_batch(api, receiver)
    told(api, job, "delivered")
    key = api.server.new_key(project=ProjectId("other"))
    assert api.server.get(f"/api/v1/jobs/{job}/events", key=key).status == 404
