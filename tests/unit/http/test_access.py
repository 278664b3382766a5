"""Who comes in, as whom, to what; and who does not."""

import time

import pytest
from tests.serving import Served

from nightkiln.core.access import KeyCaps, Scope
from nightkiln.core.ids import ProjectId
from nightkiln.http.access import OPEN_PATHS
from nightkiln.service import keys

READ = "/api/v1/probe/read"
BY_SCOPE = {
    Scope.READ: ("GET", "read"),
    Scope.WRITE: ("POST", "write"),
    Scope.ADMIN: ("DELETE", "admin"),
}
ELSEWHERE_PATHS = ("/v1/nothing", "/v1/messages/nothing", "/api/v1/nothing", READ, "/metrics", "/")


@pytest.mark.parametrize("path", ELSEWHERE_PATHS)
@pytest.mark.parametrize(
    "key", ["", "nk_" + "a" * 43, "sk-none-of-ours", "nk_" + "a" * 5000, "nk_é"]
)
def test_nobody_comes_in_without_a_good_key(server: Served, path: str, key: str) -> None:
    said = server.get(path, key="", **({"x_api_key": key} if key else {}))
    assert said.status == 401
    assert key[:20] not in said.body.decode() or not key


def test_probes_are_open_to_all(server: Served) -> None:
    assert {path: server.get(path, key="").status for path in OPEN_PATHS} == dict.fromkeys(
        OPEN_PATHS, 200
    )


def test_both_headers_carry_a_key(server: Served) -> None:
    assert server.get(READ).status == 200
    assert server.get(READ, key="", x_api_key=server.key).status == 200
    assert server.get(READ, key="", authorization=f"bearer {server.key}").status == 200
    both = server.get(READ, key="", authorization="Bearer sk-other", x_api_key=server.key)
    assert both.status == 200
    assert server.get(READ, key="", authorization=server.key).status == 401


def test_an_expired_key_is_refused(server: Served) -> None:
    assert server.get(READ, key=server.new_key(lives_s=0.001)).status == 401


def test_a_revoked_key_is_refused_within_a_second(server: Served) -> None:
    made = server.make_key()
    assert server.get(READ, key=made.text).status == 200
    server.do(lambda context: keys.revoke(context, made.key.id))
    revoked = time.monotonic()
    while server.get(READ, key=made.text).status == 200:
        assert time.monotonic() - revoked < 5, "the key is still good"
        tick = 0.02
        time.sleep(tick)


def test_a_rotated_key_is_good_for_the_overlap_only(server: Served) -> None:
    made = server.make_key(name="rotated")
    fresh = server.do(lambda context: keys.rotate(context, made.key.id, overlap_s=3600))
    assert {server.get(READ, key=text).status for text in (made.text, fresh.text)} == {200}
    last = server.do(lambda context: keys.rotate(context, fresh.key.id, overlap_s=0))
    assert server.get(READ, key=last.text).status == 200


@pytest.mark.parametrize("has", Scope)
@pytest.mark.parametrize("needed", Scope)
def test_a_scope_includes_those_before_it(server: Served, has: Scope, needed: Scope) -> None:
    method, name = BY_SCOPE[needed]
    said = server.ask(method, f"/api/v1/probe/{name}", key=server.new_key(scope=has))
    order = list(Scope)
    assert said.status == (200 if order.index(needed) <= order.index(has) else 403)
    if said.status == 403:
        assert needed in said.json["detail"]


def test_a_key_acts_for_its_own_project(server: Served) -> None:
    made = server.make_key(project=ProjectId("night"))
    said = server.get(READ, key=made.text).json
    assert said == {"project": "night", "context": "night", "name": f"night/{made.key.id}"}
    named = server.get(READ, key=made.text, x_nightkiln_project="night")
    assert named.status == 200


def test_only_an_admin_names_another_project(server: Served) -> None:
    theirs = server.new_key(project=ProjectId("theirs"))
    ours = server.new_key(project=ProjectId("ours"))
    assert server.get(READ, x_nightkiln_project="theirs").json["context"] == "theirs"
    assert server.get(READ, key=ours, x_nightkiln_project="theirs").status == 404
    assert server.get(READ, x_nightkiln_project="nobodys").status == 404
    assert server.get(READ, key=theirs).json["project"] == "theirs"


def test_a_foreign_and_a_missing_project_look_alike(server: Served) -> None:
    server.new_key(project=ProjectId("there"))
    key = server.new_key(project=ProjectId("mine"))
    bodies = []
    for project in ("there", "not-there"):
        said = server.get(READ, key=key, x_nightkiln_project=project)
        bodies.append((said.status, {**said.json, "request_id": ""}))
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize(
    ("path", "code"),
    [("/v1/nothing", "rate_limit_exceeded"), ("/v1/messages/x", "rate_limit_error"), (READ, "429")],
)
def test_a_key_has_its_requests_a_minute(server: Served, path: str, code: str) -> None:
    key = server.new_key(caps=KeyCaps(requests_per_minute=2))
    said = [server.get(path, key=key) for _ in range(3)]
    assert said[0].status != 429
    assert said[2].status == 429
    assert 1 <= int(said[2].headers["retry-after"]) <= 31
    assert code in said[2].body.decode()


def test_the_last_use_of_a_key_is_recorded_once_a_minute(server: Served) -> None:
    made = server.make_key()

    def used_at() -> float | None:
        found = server.do(keys.list_keys)
        return next(key.used_at for key in found if key.id == made.key.id)

    assert used_at() is None
    server.get(READ, key=made.text)
    first = used_at()
    assert first is not None
    server.get(READ, key=made.text)
    assert used_at() == first


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "", "[::2]:80"],
)
def test_a_name_that_is_not_ours_is_not_answered(server: Served, host: str) -> None:
    said = server.get(READ, host=host)
    assert said.status == 421
    assert server.get("/healthz", host=host).status == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:99", "127.0.0.1:1", "[::1]:8078", "[::1]"]
)
def test_names_of_this_machine_are_answered(server: Served, host: str) -> None:
    assert server.get(READ, host=host).status == 200
