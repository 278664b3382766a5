"""The pages as a browser meets them: who may look, what they say, and what stays inert."""

import http.client
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urlencode, urlsplit

import msgspec
import pytest
from tests.serving import DEADLINE_S, Served, served

from nightkiln.core.access import Scope
from nightkiln.core.ids import ProjectId
from nightkiln.http.sessions import LINK_S, SESSION_S, Sessions, cookie_in
from nightkiln.http.settings import ServerSettings
from nightkiln.service import keys
from nightkiln.service.keys import hash_of
from nightkiln.web.drawing import FOLDER
from nightkiln.web.routes import ROUTERS
from nightkiln.web.showing import clean

HTML = {"accept": "text/html"}
PROOF = re.compile(r'name="proof" value="(\w+)"')
ROW = "a secret row"
XSS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "</title><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "<!--<script>",
    "\u202egnp.exe\x00\x1b[31m",
    "&lt;b&gt;&#x3c;",
)


OURS = {
    *("html", "head", "meta", "title", "link", "script", "body", "a", "header", "span", "form"),
    *("input", "button", "main", "h1", "p", "code", "bdi", "br", "progress", "article", "div"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "time", "nav", "noscript"),
}


class Read(HTMLParser):
    """A page as a browser reads it: its elements, and its texts apart from them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes = set[str](), set[str]()
        self.texts, self.targets = set[str](), list[str]()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.targets += [text or "" for name, text in attrs if name in ("href", "src", "action")]

    def handle_data(self, data: str) -> None:
        self.texts.add(data)


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    cookies: tuple[str, ...]
    text: str


class Browser:
    """Follows nothing by itself, and keeps its cookies."""

    def __init__(self, server: Served) -> None:
        self._place = urlsplit(server.url)
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        host, port = self._place.hostname, self._place.port
        assert host is not None
        connection = http.client.HTTPConnection(host, port, timeout=DEADLINE_S)
        sent = {**HTML, **headers}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={text}" for name, text in self.cookies.items())
        try:
            connection.request(method, path, body, sent)
            reply = connection.getresponse()
            text, found = reply.read().decode(), reply.getheaders()
        finally:
            connection.close()
        new = tuple(value for name, value in found if name.lower() == "set-cookie")
        for one in new:
            name, _, value = one.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        named = {name.lower(): value for name, value in found}
        return Answer(reply.status, named, new, text)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, **fields: str) -> Answer:
        form = {"content-type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, urlencode(fields), **form)

    def sign_in(self, key: str, back: str = "/") -> Answer:
        page = self.get(f"/sign-in?{urlencode({'next': back})}")
        return self.post("/sign-in", key=key, proof=proof_in(page), next=back)


def proof_in(page: Answer) -> str:
    found = PROOF.search(page.text)
    assert found, page.text
    return found[1]


def submitted(server: Served, name: str, *, key: str | None = None) -> str:
    new = {
        "input": {"from": "rows", "rows": [ROW, "two"]},
        "prompt": {"columns": []},
        "model": "sim",
        "endpoint": "http://127.0.0.1:9/v1",
        "label": {"name": name},
        "new": True,
    }
    said = server.ask("POST", "/api/v1/jobs", json.dumps(new).encode(), key=key)
    assert said.status == 201, said.body
    return str(said.json["job"]["id"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("pages") / "home", routers=ROUTERS) as running:
        yield running


@pytest.fixture
def browser(server: Served) -> Browser:
    found = Browser(server)
    assert found.sign_in(server.key).status == 303
    return found


def sessions_of(server: Served) -> Sessions:
    found: Sessions = server.app.state.parts.sessions
    return found


def link(server: Served) -> str:
    parts = server.app.state.parts
    return sessions_of(server).new_link(hash_of(server.key), now=parts.clock())


@pytest.mark.parametrize("path", ["/", "/jobs/job_1", "/jobs/job_1/live"])
def test_who_is_not_signed_in_is_sent_to_the_sign_in_page(server: Served, path: str) -> None:
    nobody = Browser(server)
    said = nobody.get(path)
    assert (said.status, said.headers["location"].partition("?")[0]) == (303, "/sign-in")
    assert nobody.get(said.headers["location"]).status == 200
    assert server.get(path, key="").status == 401  # of who is no browser


def test_a_key_signs_in_and_leads_back_to_the_page_that_was_wanted(server: Served) -> None:
    job, one = submitted(server, "back"), Browser(server)
    said = one.sign_in(server.key, f"/jobs/{job}")
    assert (said.status, said.headers["location"]) == (303, f"/jobs/{job}")
    assert one.get(f"/jobs/{job}").status == 200


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil", "/jobs/a/b"])
def test_signing_in_leads_nowhere_else(server: Served, back: str) -> None:
    assert Browser(server).sign_in(server.key, back).headers["location"] == "/"


@pytest.mark.parametrize("key", ["", "nk_" + "a" * 43, "sk-1", "nk_é", "<script>"])
def test_a_wrong_key_gets_the_form_again_and_nothing_of_it_is_shown(
    server: Served, key: str
) -> None:
    one = Browser(server)
    said = one.sign_in(key)
    assert said.status == 401
    assert not key or key not in said.text
    assert one.get("/").status == 303


def test_a_form_of_another_page_is_refused(server: Served) -> None:
    one, other = Browser(server), Browser(server)
    theirs = proof_in(other.get("/sign-in"))
    assert one.post("/sign-in", key=server.key, proof=theirs).status == 403
    one.get("/sign-in")
    for proof in (theirs, "", "x"):
        assert one.post("/sign-in", key=server.key, proof=proof).status == 403
    assert one.get("/").status == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(server: Served) -> None:
    (cookie,) = Browser(server).sign_in(server.key).cookies
    said = cookie.lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert f"max-age={int(SESSION_S)}" in said
    assert server.key not in cookie


def test_over_tls_the_cookie_is_secure_and_tied_to_the_host(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("secure") / "home"
    with served(home, routers=ROUTERS, limits=ServerSettings(secure=True)) as running:
        (cookie,) = Browser(running).sign_in(running.key).cookies
    assert cookie.startswith("__Host-nightkiln=")
    assert "secure" in cookie.lower()
    assert "path=/" in cookie.lower()


def test_a_link_works_once(server: Served) -> None:
    token = link(server)
    first, second = Browser(server), Browser(server)
    assert first.ask("HEAD", f"/sign-in/{token}").status == 405  # a preview uses nothing up
    said = first.get(f"/sign-in/{token}")
    assert (said.status, said.headers["location"]) == (303, "/")
    assert first.get("/").status == 200
    assert second.get(f"/sign-in/{token}").status == 403
    assert second.get("/").status == 303


def test_links_and_sessions_end_by_themselves() -> None:
    found = Sessions()
    token, cookie = found.new_link("k", now=0.0), found.begin("k", now=0.0)
    assert found.find(cookie, now=SESSION_S - 1) == "k"
    assert found.find(cookie, now=SESSION_S) is None
    assert found.find(token, now=0.0) is None
    assert found.take_link(token, now=LINK_S) is None
    first = found.begin("k", now=0.0)
    for _ in range(1000):
        found.begin("k", now=0.0)
    assert found.find(first, now=0.0) is None


def test_signing_out_takes_a_proof_and_ends_the_session(browser: Browser, server: Served) -> None:
    kept = dict(browser.cookies)
    assert browser.post("/sign-out", proof="x").status == 403
    assert browser.get("/").status == 200
    assert browser.post("/sign-out", proof=proof_in(browser.get("/"))).status == 303
    browser.cookies = kept
    assert browser.get("/").status == 303


def test_a_session_ends_with_its_key(server: Served) -> None:
    made, one = server.make_key(scope=Scope.READ), Browser(server)
    assert one.sign_in(made.text).status == 303
    server.do(lambda context: keys.revoke(context, made.key.id))
    for _ in range(int(DEADLINE_S * 100)):
        if one.get("/").status == 303:
            return
    pytest.fail("the session is still good")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/jobs"),
        ("POST", "/api/v1/jobs"),
        ("GET", "/v1/files"),
        ("GET", "/metrics"),
        ("POST", "/api/v1/jobs/x/events/stream"),
        ("DELETE", "/api/v1/jobs/x"),
    ],
)
def test_a_cookie_counts_for_nothing_at_the_api(browser: Browser, method: str, path: str) -> None:
    assert browser.ask(method, path).status == 401


def test_a_cookie_opens_the_stream_that_pages_read(browser: Browser) -> None:
    assert browser.get("/api/v1/jobs/job_none/events/stream").status == 404


@pytest.mark.parametrize("name", XSS)
def test_a_hostile_name_is_inert(browser: Browser, server: Served, name: str) -> None:
    job = submitted(server, name)
    for path in ("/", f"/jobs/{job}", f"/jobs/{job}/live"):
        read = Read(browser.get(path).text)
        assert clean(name) in read.texts  # whole, as a text and nothing else
        assert read.tags <= OURS
        assert {one for one in read.attributes if one.startswith(("on", "style"))} == set()
        assert all(one.startswith(("/", "#")) for one in read.targets)
        assert job in read.texts
    assert "\u202e" not in clean(name)


def test_no_text_of_a_row_is_on_any_page(browser: Browser, server: Served) -> None:
    job = submitted(server, "rows")
    for path in ("/", f"/jobs/{job}", f"/jobs/{job}/live"):
        assert ROW not in browser.get(path).text


def test_a_page_runs_scripts_of_ours_only_and_is_not_kept(browser: Browser, server: Served) -> None:
    job = submitted(server, "headers")
    for path in ("/", f"/jobs/{job}", "/jobs/none", "/sign-in"):
        said = browser.get(path)
        policy = said.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert said.headers["cache-control"] == "no-store"
        assert said.headers["x-content-type-options"] == "nosniff"
        assert said.headers["x-frame-options"] == "DENY"
        assert said.headers["referrer-policy"] == "no-referrer"
        assert not re.search(r"<script(?! src=)|<style| style=|https?://", said.text)


def test_a_project_sees_its_own_jobs_only(browser: Browser, server: Served) -> None:
    key = server.new_key(project=ProjectId("other"), scope=Scope.READ)
    job, other = submitted(server, "mine"), Browser(server)
    other.sign_in(key)
    assert job not in other.get("/").text
    assert other.get(f"/jobs/{job}").status == 404
    assert other.get(f"/jobs/{job}/live").status == 404
    assert other.get(f"/?after={job}").status == 404
    assert browser.get(f"/jobs/{job}").status == 200


def test_the_list_has_pages(server: Served) -> None:
    key = server.new_key(project=ProjectId("many"), scope=Scope.ADMIN)
    made = [submitted(server, f"job {number}", key=key) for number in range(52)]
    one = Browser(server)
    one.sign_in(key)
    first = one.get("/").text
    assert made[-1] in first
    assert made[0] not in first
    older = re.search(r'href="(/\?after=\w+)"', first)
    assert older
    second = one.get(older[1]).text
    assert made[0] in second
    assert made[1] in second
    assert made[2] not in second
    assert "Older jobs" not in second


def test_files_of_the_pages_are_these_and_no_others(server: Served) -> None:
    nobody = Browser(server)
    there = sorted(path.name for path in (FOLDER / "static").iterdir())
    assert [nobody.get(f"/static/{name}").status for name in there] == [200] * len(there)
    for name in ("..%2fdrawing.py", "drawing.py", "%2e%2e/drawing.py", "live.js%00"):
        assert nobody.get(f"/static/{name}").status in (401, 404)


def test_forms_are_small(server: Served) -> None:
    said = Browser(server).post("/sign-in", key="a" * 10_000)
    assert said.status == 413


def test_odd_cookies_are_no_session() -> None:
    for header in ("", "nightkiln", "nightkiln=", "=;;", 'nightkiln="\x00', "a=b; " * 50):
        assert cookie_in(header, "nightkiln") in ("", "\x00")
    assert cookie_in("a=b; nightkiln=t; c=d", "nightkiln") == "t"
    assert cookie_in("nightkiln=" + "t" * 500, "nightkiln") == ""
