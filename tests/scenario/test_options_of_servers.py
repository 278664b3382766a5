"""Options of `nightkiln serve`, each on a real one: what it changes, and what it is without it."""

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest
from tests.scenario.place import DEADLINE_S, Place, Provider, until
from tests.scenario.test_serve import key_of, serving

ELSEWHERE = "k.example"
TLS_ONLY = "strict-transport-security"
JOBS = "/api/v1/jobs"
WAITING = ("validating", "queued")
COUNT = "/v1/messages/count_tokens"
CONFIGURATION = """
[endpoints.here]
url = "{url}"
models = ["m"]
"""


class Answer(NamedTuple):
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    cookies: tuple[str, ...]
    text: str


def asked(
    url: str, path: str, body: str | None = None, *, method: str = "", **headers: str
) -> Answer:
    """Ask by the Host header that is given; nothing is followed. `_` stands for `-`."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    place = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=DEADLINE_S)
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, body, sent)
        reply = connection.getresponse()
        found = [(name.lower(), value) for name, value in reply.getheaders()]
        cookies = tuple(value for name, value in found if name == "set-cookie")
        return Answer(reply.status, dict(found), cookies, reply.read().decode())
    finally:
        connection.close()


@pytest.fixture
def here(tmp_path: Path, provider: Provider) -> Iterator[Place]:
    (tmp_path / "nightkiln.toml").write_text(CONFIGURATION.format(url=provider.url))
    with Place(tmp_path, provider.url) as place:
        yield place


def test_a_server_answers_to_the_names_that_it_is_told(here: Place) -> None:
    def statuses(url: str) -> list[int]:
        key = key_of(here)
        hosts = (ELSEWHERE, "b.example:443", "c.example", "localhost")
        return [asked(url, JOBS, host=host, x_api_key=key).status for host in hosts]

    with serving(here) as (_, url):
        assert statuses(url) == [421, 421, 421, 200]
    with serving(here, "--allow-host", "K.Example", "--allow-host", "b.example") as (_, url):
        assert statuses(url) == [200, 200, 421, 200]
    with serving(here, "--allow-host", "*") as (_, url):
        assert statuses(url) == [200] * 4
        assert asked(url, JOBS, host="c.example").status == 401


def test_behind_a_proxy_browsers_are_held_to_tls(here: Place) -> None:
    with serving(here, "--behind-proxy", "--allow-host", ELSEWHERE) as (_, url):
        said = [
            asked(url, JOBS, host=ELSEWHERE, x_api_key=key_of(here)),
            asked(url, JOBS, host=ELSEWHERE),
            asked(url, "/sign-in", host=ELSEWHERE),
        ]
        assert [one.status for one in said] == [200, 401, 200]
        assert {one.headers[TLS_ONLY] for one in said} == {"max-age=31536000"}
        cookie = signed_in(url, key_of(here))
        assert cookie.startswith("__Host-nightkiln=")
        assert {"secure", "httponly", "samesite=strict", "path=/"} <= attributes(cookie)
        assert "domain" not in cookie.lower()
        pair = cookie.partition(";")[0]
        assert asked(url, "/", host=ELSEWHERE, cookie=pair).status == 200
        plain = pair.removeprefix("__Host-")  # anybody could have set it over plain HTTP
        assert asked(url, "/", host=ELSEWHERE, cookie=plain).status == 401
    with serving(here) as (_, url):
        assert TLS_ONLY not in asked(url, JOBS, x_api_key=key_of(here)).headers
        cookie = signed_in(url, key_of(here), host="localhost")
        assert cookie.startswith("nightkiln=")
        assert "secure" not in attributes(cookie)


def signed_in(url: str, key: str, *, host: str = ELSEWHERE) -> str:
    """The cookie of a session, as it is set."""
    page = asked(url, "/sign-in", host=host)
    proof = re.search(r'name="proof" value="(\w+)"', page.text)
    assert proof, page.text
    said = asked(
        url,
        "/sign-in",
        urlencode({"key": key, "proof": proof[1], "next": "/"}),
        host=host,
        cookie=page.cookies[0].partition(";")[0],
        content_type="application/x-www-form-urlencoded",
    )
    assert said.status == 303, said.text
    (cookie,) = said.cookies
    return cookie


def attributes(cookie: str) -> set[str]:
    return {part.strip().lower() for part in cookie.split(";")[1:]}


def test_sampling_is_taken_in_every_version_where_that_is_said(here: Place) -> None:
    messages = [{"role": "user", "content": "Hello there."}]
    body = json.dumps({"model": "m", "messages": messages, "temperature": 0.5, "top_k": 3})

    def counted(url: str, version: str) -> Answer:
        sent = {"x_api_key": key_of(here), "anthropic_version": version}
        return asked(url, COUNT, body, content_type="application/json", **sent)

    with serving(here) as (_, url):
        refused = counted(url, "2026-10-21")
        assert refused.status == 400
        assert "temperature" in refused.text
        assert counted(url, "2023-06-01").status == 200
    with serving(here, "--any-sampling") as (_, url):
        assert counted(url, "2026-10-21").status == 200


def test_a_server_without_a_worker_takes_jobs_in_and_asks_nothing(
    here: Place, provider: Provider
) -> None:
    wanted = {"input": {"from": "rows", "rows": ["one", "two"]}, "model": "m"}
    with serving(here, "--no-worker") as (_, url):
        kind = {"x_api_key": key_of(here), "content_type": "application/json"}
        made = asked(url, JOBS, json.dumps(wanted), **kind)
        assert made.status == 201, made.text
        path = f"{JOBS}/{json.loads(made.text)['job']['id']}"

        def state() -> str:
            return str(json.loads(asked(url, path, x_api_key=key_of(here)).text)["state"])

        # A job that is cancelled after it shows that whoever looks about did so meanwhile.
        later = asked(url, JOBS, json.dumps({**wanted, "new": True}), **kind)
        other = f"{JOBS}/{json.loads(later.text)['job']['id']}"
        assert asked(url, f"{other}/cancel", "{}", **kind).status == 200
        until(lambda: '"cancelled"' in asked(url, other, x_api_key=key_of(here)).text)
        assert state() in WAITING
        assert provider.requests == 0
    with serving(here) as (_, url):
        until(lambda: state() == "succeeded")
    assert provider.requests == 2
