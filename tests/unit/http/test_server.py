"""A server's own business: readiness, metrics, draining, TLS; and every route asks who it is."""

import http.client
import os
import ssl
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse
from tests.serving import DEADLINE_S, Said, Served, served

from nightkiln.core.access import Scope
from nightkiln.core.errors import HomeBusy, UsageError
from nightkiln.core.ids import ProjectId
from nightkiln.http.access import OPEN_PATHS, Reader
from nightkiln.http.parts import Phase
from nightkiln.http.running import Listening, check
from nightkiln.http.visit import route_of


def test_a_server_that_runs_is_ready(server: Served) -> None:
    assert server.get("/healthz", key="").json == {"status": "ok"}
    assert server.get("/readyz", key="").json == {"status": "ready"}


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.DRAINING])
def test_a_server_that_starts_or_drains_is_not_ready(server: Served, phase: Phase) -> None:
    standing = server.app.state.parts.standing
    standing.phase = phase
    try:
        said = server.get("/readyz", key="")
        assert (said.status, said.json) == (503, {"status": phase.value})
        assert server.get("/healthz", key="").status == 200
    finally:
        standing.phase = Phase.SERVING


def test_the_key_of_the_home_is_for_its_owner_only(server: Served) -> None:
    path = server.app.state.parts.home.root / "admin.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_uid == os.getuid()
    assert server.get("/metrics").status == 200


def metrics_of(server: Served) -> str:
    return server.get("/metrics").body.decode()


def test_a_route_is_known_by_its_whole_template() -> None:
    class Route:
        path = "/files/{file_id}"
        path_format = "/files/{file_id}"

    scope = {"route": Route(), "path": "/v1/files/file-1", "path_params": {"file_id": "file-1"}}
    assert route_of(scope) == "/v1/files/{file_id}"
    assert route_of({"path": "/v1/files"}) == ""


def test_metrics_count_requests_by_route_and_status(server: Served) -> None:
    server.get("/api/v1/probe/missing")
    server.get("/v1/made/up/by/a/stranger")
    text = metrics_of(server)
    counts = [
        line for line in text.splitlines() if line.startswith("http_server") and "_count" in line
    ]
    missing = [line for line in counts if 'http_route="/api/v1/probe/missing"' in line]
    assert len(missing) == 1
    assert 'http_request_method="GET"' in missing[0]
    assert 'http_response_status_code="404"' in missing[0]
    assert "stranger" not in text
    server.get("/api/v1/probe/things/t1/parts/7")
    assert 'http_route="/api/v1/probe/things/{thing_id}/parts/{part}"' in metrics_of(server)
    assert 'nightkiln:num_jobs{state="queued"} 0.0' in text
    assert "nightkiln:generation_tokens_total 0.0" in text
    assert server.key not in text


def test_a_projects_key_sees_no_requests_of_others_in_the_metrics(server: Served) -> None:
    key = server.new_key(scope=Scope.READ, project=ProjectId("quiet"))
    text = server.get("/metrics", key=key).body.decode()
    assert "nightkiln:num_jobs" in text
    assert "http_server" not in text


def routes_of(routes: Iterable[object], prefix: str = "") -> Iterator[tuple[str, APIRoute]]:
    """Every route of ours and its whole path, through routers that include routers."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield prefix + route.path, route
        elif (inner := getattr(route, "original_router", None)) is not None:
            under = getattr(getattr(route, "include_context", None), "prefix", "")
            yield from routes_of(inner.routes, prefix + under)


def asks_who_it_is(route: APIRoute) -> bool:
    calls = [one.call for one in route.dependant.dependencies]
    return any(getattr(call, "__qualname__", "").startswith("needs.") for call in calls)


def test_every_route_asks_who_it_is(server: Served) -> None:
    found = dict(routes_of(server.app.routes))
    assert {"/metrics", "/healthz", "/v1/probe/json"} <= set(found)
    silent = {path for path, route in found.items() if not asks_who_it_is(route)}
    assert silent <= OPEN_PATHS, "a route needs Reader, Writer or Admin"


def test_a_wrong_method_is_told_every_right_one_of_its_path(server: Served) -> None:
    paths = server.get("/api/openapi.json").json["paths"]
    several = 0
    for path, verbs in paths.items():
        said = server.ask("TRACE", path.replace("{", "a").replace("}", "a"))
        assert said.status == 405, path
        allowed = said.headers["allow"].split(", ")
        assert {verb.upper() for verb in verbs} <= set(allowed), path
        several += len(verbs) > 1
    assert several > 10
    assert server.ask("PATCH", "/api/v1/files").headers["allow"] == "GET, PUT"
    assert server.ask("PATCH", "/api/v1/files/a/content").headers["allow"] == "GET"


def test_requests_under_way_end_when_the_server_stops(tmp_path: Path) -> None:
    router = APIRouter(default_response_class=JSONResponse)
    begun, go_on = threading.Event(), threading.Event()

    @router.get("/v1/slow")
    def slow(caller: Reader) -> dict[str, bool]:
        begun.set()
        return {"done": go_on.wait(DEADLINE_S)}

    said: list[Said] = []
    with served(tmp_path / "home", routers=(router,)) as server:
        asking = threading.Thread(target=lambda: said.append(server.get("/v1/slow")))
        asking.start()
        assert begun.wait(DEADLINE_S)
        server.stop()
        while server.app.state.parts.standing.phase is not Phase.DRAINING:
            threading.Event().wait(0.01)
        ready = server.get("/readyz", key="")
        assert (ready.status, ready.json) == (503, {"status": "draining"})
        late = server.get("/v1/models")
        assert (late.status, late.json["error"]["code"]) == (503, "draining")
        go_on.set()
        asking.join(DEADLINE_S)
    assert said[0].json == {"done": True}


def test_a_home_has_one_server(tmp_path: Path) -> None:
    with (
        served(tmp_path / "home"),
        pytest.raises(HomeBusy, match="another server"),
        served(tmp_path / "home"),
    ):
        pass


def test_tls_is_spoken_with_a_certificate(tmp_path: Path, certificate: Path) -> None:
    listening = Listening(
        port=0, tls_cert=certificate / "cert.pem", tls_key=certificate / "key.pem"
    )
    trusted = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    with served(tmp_path / "home", listening=listening) as server:
        place = urlsplit(server.url)
        assert place.scheme == "https"
        client = http.client.HTTPSConnection(
            "localhost", place.port, context=trusted, timeout=DEADLINE_S
        )
        client.request("GET", "/healthz")
        assert client.getresponse().status == 200
        client.close()


def test_a_certificate_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("none")
    bad = Listening(port=0, tls_cert=tmp_path / "bad.pem", tls_key=tmp_path / "bad.pem")
    with pytest.raises(UsageError, match="cannot be used"), served(tmp_path / "h", listening=bad):
        pass


def test_a_port_that_is_taken_is_a_usage_error(tmp_path: Path, server: Served) -> None:
    taken = Listening(port=urlsplit(server.url).port or 0)
    with (
        pytest.raises(UsageError, match="cannot listen"),
        served(tmp_path / "home", listening=taken),
    ):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_an_open_address_needs_tls_or_a_proxy(host: str) -> None:
    with pytest.raises(UsageError, match="unencrypted") as refused:
        check(Listening(host=host))
    assert "--behind-proxy" in refused.value.hint
    check(Listening(host=host, behind_proxy=True))
    check(Listening(host=host, tls_cert=Path("c"), tls_key=Path("k")))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_an_address_of_this_machine_needs_neither(host: str) -> None:
    check(Listening(host=host))
