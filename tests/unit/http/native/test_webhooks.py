"""/api/v1/webhooks as bytes on the wire: made, shown, refused, deleted, and nobody else's."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.serving import Said, Served, served

from nightkiln.core.access import Scope
from nightkiln.core.ids import ProjectId
from nightkiln.service.webhooks import MOST

INSIDE = "http://10.1.2.3:9/hook"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("webhooks") / "home"
    with served(home, environ={"NIGHTKILN_PRIVATE_WEBHOOKS": "true"}) as running:
        yield running


def create(server: Served, body: Any, key: str | None = None) -> Said:
    return server.ask("POST", "/api/v1/webhooks", json.dumps(body).encode(), key=key)


def test_a_secret_is_shown_once(server: Served) -> None:
    said = create(server, {"url": INSIDE, "events": ["batch.completed", "batch.completed"]})
    assert said.status == 201
    made = said.json
    assert made["secret"].startswith("whsec_")
    assert made["events"] == ["batch.completed"]
    shown = server.get(f"/api/v1/webhooks/{made['id']}")
    listed = server.get("/api/v1/webhooks")
    assert shown.json == {**made, "secret": None}
    assert made["secret"] not in (shown.body + listed.body).decode()
    assert made["id"] in [one["id"] for one in listed.json["data"]]
    sent = server.get(f"/api/v1/webhooks/{made['id']}/deliveries").json
    assert sent == {"data": [], "has_more": False, "after": None}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "ftp://a.example/"},
        {"url": "http://user:pass@10.0.0.1/"},
        {"url": "http://10.0.0.1:0/"},
        {"url": "http://10.0.0.1/\r\nx: y"},
        {"url": "http://169.254.169.254/latest"},
        {"url": "http://no-such-host.invalid/"},
        {"url": INSIDE, "events": []},
        {"url": INSIDE, "events": ["batch.nothing"]},
        {"url": INSIDE, "secret": "whsec_mine"},
        {"url": "http://10.0.0.1/" + "a" * 2000},
    ],
)
def test_what_cannot_be_a_webhook_is_refused(server: Served, body: Any) -> None:
    said = create(server, body)
    assert said.status == 400
    assert "pass" not in said.json["detail"].split("password")[0]


def test_a_reader_may_look_and_no_more(server: Served) -> None:
    key = server.new_key(scope=Scope.READ)
    made = create(server, {"url": INSIDE}).json
    assert server.get("/api/v1/webhooks", key=key).status == 200
    assert create(server, {"url": INSIDE}, key=key).status == 403
    assert server.ask("DELETE", f"/api/v1/webhooks/{made['id']}", key=key).status == 403


def test_another_project_has_no_such_webhook(server: Served) -> None:
    key, made = server.new_key(project=ProjectId("other")), create(server, {"url": INSIDE}).json
    path = f"/api/v1/webhooks/{made['id']}"
    asked = [("GET", path), ("GET", f"{path}/deliveries"), ("DELETE", path)]
    assert [server.ask(*one, key=key).status for one in asked] == [404, 404, 404]
    assert server.get("/api/v1/webhooks", key=key).json["data"] == []
    assert server.ask("DELETE", path).json == {"id": made["id"], "deleted": True}
    assert server.get(path).status == 404


def test_a_project_has_only_so_many(server: Served) -> None:
    key = server.new_key(project=ProjectId("many"))
    statuses = [create(server, {"url": INSIDE}, key=key).status for _ in range(MOST + 1)]
    assert statuses == [201] * MOST + [400]


def test_the_usual_server_refuses_addresses_of_its_own_network(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with served(tmp_path_factory.mktemp("usual") / "home") as running:
        said = create(running, {"url": INSIDE})
    assert said.status == 400
    assert "no public address" in said.json["detail"]
