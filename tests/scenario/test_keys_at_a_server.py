"""`nightkiln keys` while a server owns the home: what it changes holds there at once."""

import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from tests.scenario.place import DEADLINE_S, NIGHTKILN, Place, until
from tests.scenario.test_links_to_pages import LINK, status_of
from tests.scenario.test_serve import key_of, serving
from tests.scenario.test_serve import status_of as status_with


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Place(tmp_path, "http://127.0.0.1:1/v1") as here:
        yield here


def test_keys_are_made_listed_replaced_and_ended_at_a_running_server(place: Place) -> None:
    with serving(place) as (_, url):
        made = place.nightkiln("keys", "create", "ci", "--project", "night", "--max-rows", "5")
        assert made.returncode == 0, made.stderr
        key = made.stdout.strip()
        [number] = re.findall(r"key_[0-9a-z]{22}", made.stderr)
        jobs = f"{url}/api/v1/jobs"
        assert status_with(jobs, key) == 200
        listed = place.nightkiln("keys", "list").stdout
        assert number in listed
        assert "night" in listed
        assert key not in listed
        rotated = place.nightkiln("keys", "rotate", number, "--overlap", "1h")
        assert rotated.returncode == 0, rotated.stderr
        fresh = rotated.stdout.strip()
        assert (status_with(jobs, key), status_with(jobs, fresh)) == (200, 200)
        assert place.nightkiln("keys", "revoke", number).returncode == 0
        assert "revoked" in place.nightkiln("keys", "list").stdout
        assert place.nightkiln("keys", "rotate", number).returncode == 2
        assert place.nightkiln("keys", "revoke", "key_none").returncode == 7
        until(lambda: status_with(jobs, key) == 401)  # it is remembered for a moment
        assert status_with(jobs, fresh) == 200


def test_a_link_is_for_terminals_and_signs_in_once(place: Place) -> None:
    refused = place.nightkiln("keys", "link")
    assert refused.returncode == 2
    assert "terminal" in refused.stderr
    assert "sign-in" not in refused.stdout + refused.stderr
    with serving(place):
        assert place.nightkiln("keys", "link").returncode == 2  # the output is no terminal
        link = linked(place)
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        with browser.open(link, timeout=DEADLINE_S) as page:
            assert page.status == 200
            assert b"<html" in page.read().lower()
        assert status_of(link) == 403
        assert key_of(place) not in link


def linked(place: Place) -> str:
    """What `keys link` shows on a terminal."""
    ours, theirs = os.openpty()
    try:
        with subprocess.Popen(
            [*NIGHTKILN, "keys", "link"],
            cwd=place.folder,
            env=place.environ,
            stdout=theirs,
            stderr=subprocess.PIPE,
        ) as process:
            said = b""
            while not (found := LINK.search(said)):
                said += os.read(ours, 4096)  # the test's own timeout is the deadline
            assert process.wait(DEADLINE_S) == 0
        return found[0].decode()
    finally:
        os.close(ours)
        os.close(theirs)
