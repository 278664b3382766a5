"""Who may do what, asked of every route that the server has: two projects, all keys, all verbs.

The routes come from the application, and a route without a rule fails. What is foreign
has to be like what is not there: the same status, the same words, the same headers.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.scenario.place import simulated
from tests.scenario.tenants.rules import BATCH, JOB, NOBODYS, RULES, VERBS, Door
from tests.scenario.tenants.town import SECRET, A, B, Town, town
from tests.serving import Said

from nightkiln.core.access import Scope
from nightkiln.service.keys import hash_of

_CHANGING = {"date", "request-id", "x-request-id", "content-length"}
_LESSER = {
    Scope.READ: (),
    Scope.WRITE: (Scope.READ,),
    Scope.ADMIN: (Scope.READ, Scope.WRITE),
}
_IDS = re.compile(r"(?:file-|upload_|batch_|msgbatch_|job_|key_|wh_)[0-9a-z]{22}")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with simulated() as provider, town(tmp_path_factory.mktemp("tenants"), provider) as here:
        yield here


def unlike(name: str) -> str:
    """An id of the same form that nothing has."""
    last = "0" if name[-1] != "0" else "1"
    return name[:-1] + last


def plain(said: Said, *names: str) -> tuple[int, bytes, dict[str, str]]:
    """An answer without what differs between any two requests, and without these names."""
    body = said.body
    for name in (*names, said.headers.get("request-id", "")):
        body = body.replace(name.encode(), b"NAME") if name else body
    headers = {name: value for name, value in said.headers.items() if name not in _CHANGING}
    return said.status, body, headers


def is_refusal(door: Door, said: Said, *, status: int, verb: str) -> bool:
    """True for a refusal with this status in the shape of the path's API."""
    if said.status != status:
        return False
    if verb == "HEAD":
        return True
    found = said.json
    if door.path.startswith(("/v1/messages", "/anthropic")):
        kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
        return bool(found["type"] == "error" and found["error"]["type"] == kinds[status])
    if door.path.startswith("/v1/"):
        return bool(found["error"]["message"]) and "code" in found["error"]
    return found["status"] == status and bool(found["code"])


def test_every_route_has_a_rule_and_every_rule_a_route(there: Town) -> None:
    asked = {
        f"{verb} {door.path.removeprefix('/anthropic')}"
        for door in there.doors
        for verb in door.verbs - {"HEAD"}
    }
    assert asked == set(RULES)
    assert any(door.path.startswith("/anthropic/") for door in there.doors)
    for door in there.doors:
        assert all(kind or step in NOBODYS for step, kind in door.kinds)


def test_a_route_without_a_rule_is_found() -> None:
    with pytest.raises(KeyError):
        Door(path="/api/v1/new", verbs=frozenset({"GET"})).rule("GET")


def test_nobody_comes_in_without_a_good_key(there: Town) -> None:
    wrong = []
    for door in there.doors:
        name = there.owned.get(door.kind, "m")
        if all(door.rule(verb).scope is None for verb in door.verbs - {"HEAD"}):
            continue
        for verb in VERBS:
            for what, key in there.bad.items():
                said = there.knock(door, verb, name, key=key)
                if not is_refusal(door, said, status=401, verb=verb):
                    wrong.append((verb, door.path, what, said.status, said.body[:100]))
    assert not wrong


def test_open_routes_say_nothing_of_anybody(there: Town) -> None:
    wrong = []
    for door in there.doors:
        for verb in door.verbs - {"HEAD"}:
            if (rule := door.rule(verb)).scope is not None:
                continue
            said = there.knock(door, verb, "live.js", key="")
            if said.status not in (200, *rule.also) or _spills(there, said):
                wrong.append((verb, door.path, said.status))
    assert not wrong


def test_a_key_without_the_scope_is_refused_whatever_it_names(there: Town) -> None:
    wrong = []
    for door in there.doors:
        for verb in door.verbs - {"HEAD"}:
            for scope in _LESSER.get(door.rule(verb).scope or Scope.READ, ()):
                mine = there.owned.get(door.kind, "m")
                said = there.knock(door, verb, mine, key=there.a[scope])
                other = there.knock(door, verb, unlike(mine), key=there.a[scope])
                if not is_refusal(door, said, status=403, verb=verb) or plain(said) != plain(other):
                    wrong.append((verb, door.path, scope, said.status, said.body[:100]))
    assert not wrong


def test_what_is_foreign_is_as_what_is_not_there(there: Town) -> None:
    wrong = []
    for door in (one for one in there.doors if one.kind):
        theirs = there.owned[door.kind]
        nothing = unlike(theirs)
        for verb in VERBS:
            for key in there.b.values():
                said = there.knock(door, verb, theirs, key=key)
                other = there.knock(door, verb, nothing, key=key)
                same = plain(said, theirs) == plain(other, nothing)
                if not same or said.status not in (403, 404, 405) or _spills(there, said, theirs):
                    wrong.append((verb, door.path, said.status, said.body, other.body))
            strongest = there.knock(door, verb, theirs, key=there.b[Scope.ADMIN])
            expected = 404 if verb in door.verbs - {"HEAD"} else 405
            if strongest.status != expected:
                wrong.append((verb, door.path, strongest.status, strongest.body, b""))
    assert not wrong


def test_lists_show_only_ones_own(there: Town) -> None:
    """What A's lists show has A's ids in it, so an empty list of B's is no accident."""
    empty = []
    for door in (one for one in there.doors if not one.kind and "GET" in one.verbs):
        rule = door.rule("GET")
        if rule.scope is None or "/models" in door.path:
            continue
        mine = there.knock(door, "GET", "m", key=there.a[Scope.ADMIN])
        theirs = there.knock(door, "GET", "m", key=there.b[Scope.ADMIN])
        assert mine.status == theirs.status == 200, door
        assert not _spills(there, theirs), (door.path, theirs.body)
        if not _IDS.search(mine.body.decode()):
            empty.append(door.path)
    assert sorted(empty) == ["/api/v1/fleet", "/api/v1/usage", "/metrics"]


def test_sums_count_only_ones_own(there: Town) -> None:
    def said(path: str, key: str) -> Any:
        return there.ask("GET", path, key=key).body.decode()

    a, b = there.a[Scope.READ], there.b[Scope.READ]
    assert re.search(r"nightkiln:prompt_tokens_total [1-9]", said("/metrics", a))
    assert re.search(r"nightkiln:prompt_tokens_total 0", said("/metrics", b))
    assert json.loads(said("/api/v1/usage", a))["data"]
    assert json.loads(said("/api/v1/usage", b))["data"] == []
    assert json.loads(said("/api/v1/fleet", b))["jobs"] == {}


@pytest.mark.parametrize(
    ("path", "mark", "kind"),
    [
        ("/v1/files", "after", "file"),
        ("/v1/batches", "after", "batch"),
        ("/v1/messages/batches", "after_id", "messages"),
        ("/v1/messages/batches", "before_id", "messages"),
        ("/anthropic/v1/messages/batches", "after_id", "messages"),
        ("/api/v1/jobs", "after", "job"),
        ("/api/v1/files", "after", "file"),
        ("/", "after", "job"),
    ],
)
def test_a_foreign_mark_in_a_list_is_as_none(there: Town, path: str, mark: str, kind: str) -> None:
    theirs = there.owned[kind]
    nothing = unlike(theirs)
    key = there.b[Scope.READ]
    said = there.ask("GET", f"{path}?{mark}={theirs}", key=key)
    other = there.ask("GET", f"{path}?{mark}={nothing}", key=key)
    assert plain(said, theirs) == plain(other, nothing)
    assert said.status == 404


def _of_file(name: str) -> Any:
    return {**JOB, "input": {"from": "file", "id": name}}


def _of_job(name: str) -> Any:
    return {**JOB, "input": {"from": "job", "id": name}}


@pytest.mark.parametrize("route", ["/api/v1/jobs", "/api/v1/jobs/plan", "/api/v1/jobs/estimate"])
@pytest.mark.parametrize(("kind", "body"), [("file", _of_file), ("job", _of_job)])
def test_a_job_over_what_is_foreign_is_as_over_nothing(
    there: Town, route: str, kind: str, body: Any
) -> None:
    answers = []
    for name in (there.owned[kind], unlike(there.owned[kind])):
        sent = json.dumps(body(name)).encode()
        answers.append(plain(there.ask("POST", route, sent, key=there.b[Scope.ADMIN]), name))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


def test_a_batch_over_a_foreign_file_fails_as_over_none(there: Town) -> None:
    found = []
    for name in (there.owned["file"], unlike(there.owned["file"])):
        body = json.dumps({**BATCH, "input_file_id": name}).encode()
        made = there.ask("POST", "/v1/batches", body, key=there.b[Scope.WRITE])
        batch = there.ask("GET", f"/v1/batches/{made.json['id']}", key=there.b[Scope.READ]).json
        assert batch["status"] == "failed"
        found.append(json.dumps(batch["errors"]).replace(name, "NAME"))
    assert found[0] == found[1]


def test_a_foreign_part_is_as_none(there: Town) -> None:
    key = there.b[Scope.WRITE]
    wanted = {"bytes": 9, "filename": "f.jsonl", "mime_type": "a/b", "purpose": "batch"}
    mine = there.ask("POST", "/v1/uploads", json.dumps(wanted).encode(), key=key).json["id"]
    answers = []
    for part in (there.part, unlike(there.part)):
        body = json.dumps({"part_ids": [part]}).encode()
        answers.append(
            plain(there.ask("POST", f"/v1/uploads/{mine}/complete", body, key=key), part)
        )
    assert answers[0] == answers[1]
    assert answers[0][0] == 400


def test_only_an_admin_may_name_another_project(there: Town) -> None:
    """An admin's key is one of the whole server; the header says for whom it speaks."""
    for scope in (Scope.READ, Scope.WRITE):
        for path in ("/api/v1/jobs", "/v1/files", "/v1/messages/batches", "/metrics", "/"):
            said = there.ask("GET", path, key=there.b[scope], x_nightkiln_project=A)
            other = there.ask("GET", path, key=there.b[scope], x_nightkiln_project="nobody")
            assert said.status == 404
            assert plain(said) == plain(other)
    own = there.ask("GET", "/api/v1/jobs", key=there.b[Scope.READ], x_nightkiln_project=B)
    assert own.status == 200
    there_too = there.ask("GET", "/api/v1/jobs", key=there.b[Scope.ADMIN], x_nightkiln_project=A)
    assert there.owned["job"] in there_too.body.decode()


def test_the_beginning_of_a_foreign_id_finds_nothing(there: Town) -> None:
    for name in (there.owned["job"][:-1], "job_", "last"):
        said = there.ask("GET", f"/api/v1/jobs/{name}", key=there.b[Scope.READ])
        assert said.status == 404
        assert not _spills(there, said)


def test_a_session_sees_what_its_key_sees(there: Town) -> None:
    parts = there.server.app.state.parts
    token = parts.sessions.begin(hash_of(there.b[Scope.READ]), now=parts.clock())
    sent = {"cookie": f"nightkiln={token}", "accept": "text/html"}
    assert there.ask("GET", "/", None, key="", **sent).status == 200
    mine, nothing = there.owned["job"], unlike(there.owned["job"])
    for path in ("/jobs/{}", "/jobs/{}/live", "/api/v1/jobs/{}/events/stream"):
        said = there.ask("GET", path.format(mine), None, key="", **sent)
        other = there.ask("GET", path.format(nothing), None, key="", **sent)
        assert said.status == 404
        assert plain(said, mine) == plain(other, nothing)
    for door in there.doors:  # and is no key anywhere else
        if door.path.startswith(("/v1", "/anthropic", "/api/v1")) and "stream" not in door.path:
            assert there.ask("GET", door.at("m"), None, key="", **sent).status == 401


def test_owners_are_refused_nothing_so_the_refusals_above_mean_something(there: Town) -> None:
    """Last: each request of the matrix, for a thing of its own, with the weakest key that may."""
    wrong = []
    for door in there.doors:
        for verb in sorted(door.verbs - {"HEAD"}):
            rule = door.rule(verb)
            if rule.scope is None:
                continue
            mine = there.owned.get(door.kind, "m")
            if door.kind and verb != "GET":
                mine = there.new(door.kind)
            said = there.knock(door, verb, mine, key=there.a[rule.scope])
            if said.status not in (200, 201, *rule.also):
                wrong.append((verb, door.path, said.status, said.body[:200]))
    assert not wrong


def _spills(there: Town, said: Said, *asked: str) -> bool:
    """True when an answer holds anything of A's that was not in the question."""
    text = said.body.decode(errors="replace")
    return SECRET in text or any(name in text for name in there.owned.values() if name not in asked)
