"""What keeps browsers from mischief: headers on every answer, and the names that are answered.

The headers are written out here word for word, so that none is dropped or softened unseen.
"""

from collections.abc import Iterator

import pytest
from tests.serving import Served, served
from tests.unit.http import probes

from nightkiln.http.settings import ServerSettings
from nightkiln.web.routes import ROUTERS

API = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
PAGE = {
    **API,
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self';"
    " connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
}
DOCS = {
    **API,
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline';"
    " frame-ancestors 'none'",
}
TLS_ONLY = "strict-transport-security"
READ = "/api/v1/probe/read"
ELSEWHERE = "k.example"
# A path, the headers that are sent besides, whether with a key, the status, what comes with it.
ANSWERS: tuple[tuple[str, dict[str, str], bool, int, dict[str, str]], ...] = (
    (READ, {}, True, 200, API),
    ("/v1/models", {}, True, 200, API),
    ("/healthz", {}, False, 200, API),
    ("/static/nightkiln.css", {}, False, 200, API),
    ("/", {}, True, 200, PAGE),
    ("/sign-in", {}, False, 200, PAGE),
    ("/sign-in/none", {}, False, 403, PAGE),
    ("/api/docs", {}, False, 200, DOCS),
    (READ, {}, False, 401, API),
    ("/v1/nothing", {}, True, 404, API),
    ("/api/v1/probe/bug", {}, True, 500, API),
    (READ, {"host": "evil.example"}, True, 421, API),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """As it stands without any option."""
    home = tmp_path_factory.mktemp("plain") / "home"
    with served(home, routers=(probes.router, *ROUTERS)) as running:
        yield running


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """As it stands behind a proxy that speaks TLS and passes a name of its own on."""
    home = tmp_path_factory.mktemp("fronted") / "home"
    limits = ServerSettings(allowed_hosts=frozenset({ELSEWHERE}), secure=True)
    with served(home, routers=(probes.router, *ROUTERS), limits=limits) as running:
        yield running


@pytest.mark.parametrize(("path", "more", "known", "status", "wanted"), ANSWERS)
def test_every_answer_carries_all_headers_of_its_kind(
    server: Served,
    path: str,
    more: dict[str, str],
    known: bool,
    status: int,
    wanted: dict[str, str],
) -> None:
    said = server.get(path, key=None if known else "", **more)
    assert said.status == status, said.body
    assert {name: said.headers.get(name) for name in wanted} == wanted
    assert TLS_ONLY not in said.headers  # over plain HTTP it would say what is not so


@pytest.mark.parametrize(("path", "more", "known", "status", "wanted"), ANSWERS)
def test_behind_tls_every_answer_says_that_there_is_nothing_else(
    fronted: Served,
    path: str,
    more: dict[str, str],
    known: bool,
    status: int,
    wanted: dict[str, str],
) -> None:
    said = fronted.get(path, key=None if known else "", **more)
    assert said.status == status, said.body
    wanted = {**wanted, TLS_ONLY: "max-age=31536000"}
    assert {name: said.headers.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(
    "host", [ELSEWHERE, "K.EXAMPLE", f"{ELSEWHERE}:8443", "localhost", "[::1]"]
)
def test_a_name_that_is_allowed_is_answered_beside_those_of_this_machine(
    fronted: Served, host: str
) -> None:
    assert fronted.get(READ, host=host).status == 200
    assert fronted.get("/sign-in", key="", host=host).status == 200


@pytest.mark.parametrize(
    "host", [f"a.{ELSEWHERE}", f"{ELSEWHERE}.evil.example", "example", f"{ELSEWHERE}:x", "*", ""]
)
def test_a_name_that_is_allowed_lets_no_other_in(fronted: Served, host: str) -> None:
    for path in (READ, "/sign-in", "/api/docs"):
        said = fronted.get(path, host=host)
        assert said.status == 421, (path, said.body)
    assert fronted.get("/healthz", key="", host=host).status == 200


def test_a_star_among_the_names_allows_every_name(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    limits = ServerSettings(allowed_hosts=frozenset({"*"}))
    with served(
        tmp_path_factory.mktemp("any") / "home", routers=(probes.router,), limits=limits
    ) as one:
        for host in ("k.example", "evil.example:80", "127.0.0.1", "[::2]:80", ""):
            assert one.get(READ, host=host).status == 200, host
        assert one.get(READ, key="", host="k.example").status == 401
