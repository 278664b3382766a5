"""Streams of events: not more than there is room for, and none that outlives its key."""

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from tests.scenario.place import Provider
from tests.serving import DEADLINE_S, Served, served
from tests.unit.http.native.asking import Asking

from nightkiln.core.access import KeyId, Scope
from nightkiln.http.settings import ServerSettings
from nightkiln.service import keys

LIMITS = ServerSettings(streams=3, streams_each=2)


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that takes jobs in and works on none, so that none is ever over."""
    with served(tmp_path_factory.mktemp("idle") / "home", limits=LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def path(idle: Served, provider: Provider) -> str:
    api = Asking(idle, provider.url)
    return f"/api/v1/jobs/{api.submitted(api.new())}/events/stream"


@contextmanager
def listening(server: Served, path: str, key: str) -> Iterator[http.client.HTTPResponse]:
    place = urlsplit(server.url)
    assert place.hostname is not None
    client = http.client.HTTPConnection(place.hostname, place.port, timeout=DEADLINE_S)
    client.request("GET", path, headers={"authorization": f"Bearer {key}"})
    try:
        yield client.getresponse()
    finally:
        client.close()


def status_of(server: Served, path: str, key: str) -> int:
    with listening(server, path, key) as answer:
        return answer.status


def test_a_key_has_so_many_streams_and_the_server_so_many_in_all(idle: Served, path: str) -> None:
    mine, theirs = idle.new_key(scope=Scope.READ), idle.new_key(scope=Scope.READ)
    with listening(idle, path, mine) as one, listening(idle, path, mine) as two:
        assert (one.status, two.status) == (200, 200)
        assert status_of(idle, path, mine) == 429
        with listening(idle, path, theirs) as three:
            assert three.status == 200
            assert status_of(idle, path, idle.key) == 429
    until = time.monotonic() + DEADLINE_S
    while status_of(idle, path, mine) != 200:  # whoever left made room
        assert time.monotonic() < until


def test_a_stream_ends_with_its_key(idle: Served, path: str) -> None:
    made = idle.make_key(scope=Scope.READ)
    with listening(idle, path, made.text) as stream:
        assert stream.status == 200
        assert b"event: job" in stream.readline() + stream.readline()
        idle.do(lambda context: keys.revoke(context, KeyId(made.key.id)))
        stream.read()  # to its end, or the client's deadline fails this
    assert status_of(idle, path, made.text) == 401
