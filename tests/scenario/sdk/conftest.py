"""A simulated provider, a home of its own for each test, and scripts that run against both."""

import json
import os
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nightkiln as nk

DEADLINE_S = 90


class Provider:
    """A `nightkiln simulate` process, what it counted, and how it behaves."""

    def __init__(self, url: str) -> None:
        self.url = url

    def control(self, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url.replace("/v1", f"/_ctl/{path}"), data=data)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
            found: dict[str, Any] = json.loads(response.read())
        return found

    @property
    def requests(self) -> int:
        return int(self.control("stats")["requests"])

    def slow(self, milliseconds: int) -> None:
        self.control("config", {"latency": f"const:{milliseconds}"})

    @property
    def asked_more_than_once(self) -> int:
        prompts = self.control("prompts")
        return sum(count > 1 for count in prompts.values())


@pytest.fixture(scope="session")
def simulator() -> Iterator[Provider]:
    command = [sys.executable, "-m", "nightkiln", "simulate", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Provider(process.stdout.readline().strip())
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


@pytest.fixture
def provider(simulator: Provider) -> Provider:
    simulator.control("config", {"latency": "const:0", "api_key": ""})
    simulator.control("reset", {})
    return simulator


class Place:
    """A home, a provider, and the process's own client and scripts in both."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.provider = provider
        self.how: Any = {"model": "m", "endpoint": provider.url}
        self.environ = {
            **os.environ,
            "NIGHTKILN_HOME": str(self.home),
            "URL": provider.url,
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, script: str) -> subprocess.Popen[str]:
        path = self.folder / "script.py"
        path.write_text(textwrap.dedent(PREAMBLE) + textwrap.dedent(script))
        return subprocess.Popen(
            [sys.executable, str(path)],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        process = self.start(script)
        out, err = process.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def nightkiln(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nightkiln", *arguments],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )


PREAMBLE = """
import os
import nightkiln as nk
how = {"model": "m", "endpoint": os.environ["URL"]}
rows = [f"row {number}" for number in range(200)]
"""


@pytest.fixture
def place(tmp_path: Path, provider: Provider) -> Place:
    return Place(tmp_path, provider)


@pytest.fixture
def client(place: Place) -> Iterator[nk.Client]:
    with nk.Client(home=place.home, quiet=True) as client:
        yield client


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition with a deadline; a tick is short enough to need no guess."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        tick = 0.01
        time.sleep(tick)


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], bool]], None]:
    return until
