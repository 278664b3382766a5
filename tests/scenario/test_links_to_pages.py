"""The link that signs in: printed where a person reads it, and nowhere that keeps it."""

import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.scenario.place import DEADLINE_S, NIGHTKILN, Place

LINK = re.compile(rb"http://127\.0\.0\.1:\d+/sign-in/[\w-]{43}")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Place(tmp_path, "http://127.0.0.1:1/v1") as here:
        yield here


class Stays(urllib.request.HTTPRedirectHandler):
    """Follows nothing."""

    def redirect_request(self, *_: object) -> None:
        return


def status_of(url: str) -> int:
    try:
        with urllib.request.build_opener(Stays).open(url, timeout=DEADLINE_S) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as said:
        with said:
            return said.code


def test_a_terminal_gets_a_link_that_works_once(place: Place) -> None:
    ours, theirs = os.openpty()
    try:
        with subprocess.Popen(
            [*NIGHTKILN, "serve", "--port", "0"],
            cwd=place.folder,
            env=place.environ,
            stdout=subprocess.PIPE,
            stderr=theirs,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"ready: ")
            said = b""
            while not (found := LINK.search(said)):
                said += os.read(ours, 4096)  # the test's own timeout is the deadline
            assert [status_of(found[0].decode()) for _ in range(2)] == [303, 403]
            process.terminate()
            assert process.wait(DEADLINE_S) == 0
    finally:
        os.close(ours)
        os.close(theirs)


def test_what_is_no_terminal_gets_none(place: Place) -> None:
    process = place.start("serve", "--port", "0")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready: ")
    process.terminate()
    out, err = process.communicate(timeout=DEADLINE_S)
    assert "sign-in" not in out + err
