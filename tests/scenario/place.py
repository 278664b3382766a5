"""Where scenarios happen: a simulated provider, a folder with a home, and the real command in it.

Everything runs in processes of its own. Nothing here says what should come of it.
"""

import csv
import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

DEADLINE_S = 90
NIGHTKILN = [sys.executable, "-m", "nightkiln"]
ROWS = 300
LONG_MS = 500  # with it the usual job of four at once outlasts many commands: it takes 38 s


class Provider:
    """A `nightkiln simulate` process: what it counted and how it behaves."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._settings = self.control("config")

    def control(self, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Ask the provider's own controls, with a body to change something."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url.replace("/v1", f"/_ctl/{path}"), data=data)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
            found: dict[str, Any] = json.loads(response.read())
        return found

    def configure(self, **settings: object) -> None:
        """Behave as these settings say from now on."""
        self.control("config", settings)

    def slow(self, milliseconds: int) -> None:
        """Take so long for every answer; 0 answers at once."""
        self.configure(latency=f"const:{milliseconds}")

    def stats(self) -> dict[str, Any]:
        """All that it counted."""
        return self.control("stats")

    @property
    def requests(self) -> int:
        """How often a model was asked."""
        return int(self.stats()["requests"])

    @property
    def asked_more_than_once(self) -> int:
        """How many prompts came again."""
        return sum(count > 1 for count in self.control("prompts").values())

    def renew(self) -> None:
        """Be as on the first day, once nobody asks any more."""
        self.control("config", self._settings)
        until(lambda: not self._is_asked)
        self.control("reset", {})

    @property
    def _is_asked(self) -> bool:
        stats = self.stats()
        return bool(stats["inflight"] or stats["queued"])


@contextmanager
def simulated(*settings: str) -> Iterator[Provider]:
    """A provider in a process of its own."""
    command = [*NIGHTKILN, "simulate", "--port", "0", *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Provider(process.stdout.readline().strip())
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


class Place:
    """A folder with a home of its own, and commands in it that ask one provider.

    Used as a context it ends whatever a failed test left running.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.home = folder / "home"
        self.environ = {**os.environ, "NIGHTKILN_HOME": str(self.home)}
        self._started: list[subprocess.Popen[str]] = []

    # -- tables

    def table(self, rows: int = ROWS, *, poison: int = 0) -> None:
        """The input in.csv; the first `poison` rows are refused by the provider."""
        with (self.folder / "in.csv").open("w", newline="") as out:
            table = csv.writer(out)
            table.writerow(["id", "text"])
            for row in range(rows):
                table.writerow([f"{row:05d}", f"t {row}{' __poison__' if row < poison else ''}"])

    def answers(self, name: str = "out.csv") -> list[dict[str, str]]:
        """The rows of a CSV output."""
        return rows_of((self.folder / name).read_text())

    def lines(self, name: str = "out.jsonl") -> list[dict[str, Any]]:
        """The objects of a JSON Lines output."""
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]

    # -- commands

    @property
    def target(self) -> list[str]:
        """The options that say whom to ask what."""
        return ["--endpoint", self.url, "--model", "m", "--prompt", "Say {text}"]

    def args(self, *more: str, source: str = "in.csv", output: str = "out.csv") -> list[str]:
        """The usual job."""
        return ["run", source, "-o", output, *self.target, *more]

    def run(
        self,
        *more: str,
        source: str = "in.csv",
        output: str = "out.csv",
        stdin: str | bytes = b"",
        **environ: str,
    ) -> subprocess.CompletedProcess[str]:
        """The usual job, to its end."""
        arguments = self.args(*more, source=source, output=output)
        return self.nightkiln(*arguments, stdin=stdin, **environ)

    def nightkiln(
        self, *arguments: str, stdin: str | bytes = b"", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Any command, to its end."""
        return self.command(*NIGHTKILN, *arguments, stdin=stdin, **environ)

    def command(
        self, *command: str, stdin: str | bytes = b"", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Any program, to its end. What it says is kept to the byte: no line end is changed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environ, **environ},
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=DEADLINE_S,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def unread(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Any command, to its end, its standard output a pipe whose reader has left."""
        reading, writing = os.pipe()
        os.close(reading)
        try:
            return subprocess.run(
                [*NIGHTKILN, *arguments],
                cwd=self.folder,
                env=self.environ,
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
                timeout=DEADLINE_S,
            )
        finally:
            os.close(writing)

    def start(self, *arguments: str, terminal: int | None = None) -> subprocess.Popen[str]:
        """Any command, on its way; `terminal` is the descriptor of one to run it in."""
        return self.start_command(*NIGHTKILN, *arguments, terminal=terminal)

    def start_command(self, *command: str, terminal: int | None = None) -> subprocess.Popen[str]:
        """Any program, on its way."""
        said = subprocess.PIPE if terminal is None else terminal
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=said,
            stderr=said,
            text=True,
        )
        self._started.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            with process:  # closes its pipes
                process.kill()


def rows_of(text: str) -> list[dict[str, str]]:
    """The rows of a CSV text."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def until(condition: Callable[[], bool]) -> None:
    """Wait for something to come true; a tick is short enough to need no guess."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        tick = 0.01
        time.sleep(tick)
