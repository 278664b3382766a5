"""A folder with a home of its own, a simulated provider, and the real command in it."""

import csv
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEADLINE_S = 90
NIGHTKILN = [sys.executable, "-m", "nightkiln"]


class Place:
    """Runs commands in a folder against a provider."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.environ = {**os.environ, "NIGHTKILN_HOME": str(folder / "home")}

    def control(self, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        """Ask the provider's own controls: stats, or config with a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url.replace("/v1", f"/_ctl/{path}"), data=data)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
            found: dict[str, Any] = json.loads(response.read())
        return found

    def table(self, rows: int, name: str = "in.csv") -> None:
        """A table of one column."""
        lines = "".join(f"row {number}\n" for number in range(rows))
        (self.folder / name).write_text("text\n" + lines)

    def nightkiln(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Any command, to its end."""
        return subprocess.run(
            [*NIGHTKILN, *arguments],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        """`nightkiln run in.csv` with a model of the provider."""
        return self.nightkiln(
            "run", "in.csv", "-o", "out.csv", "--endpoint", self.url, "--model", "m-1", *more
        )

    def answers(self, name: str = "out.csv") -> list[dict[str, str]]:
        """The rows of an output."""
        with (self.folder / name).open(newline="") as given:
            return list(csv.DictReader(given))


@contextmanager
def provider(*settings: str) -> Iterator[str]:
    """The base URL of a simulated provider of its own."""
    command = [*NIGHTKILN, "simulate", "--port", "0", *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something to come true; an assertion when it does not in time."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        tick = 0.01
        time.sleep(tick)
