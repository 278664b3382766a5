"""`nightkiln serve` on one port and one home, killed and started anew for as long as a test wants.

What it says goes to files, so that a server which complains a lot never waits for a reader.
"""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from tests.scenario.place import DEADLINE_S

_READY = re.compile(r"ready: (http://127\.0\.0\.1:\d+) ")
_CONFIGURATION = """
[endpoints.there]
url = "{url}"
models = ["m"]
concurrency = {slots}
"""


class ServerCycle:
    """One server after another. Used as a context it ends the last one."""

    def __init__(self, folder: Path, provider: str, *, slots: int) -> None:
        (folder / "nightkiln.toml").write_text(_CONFIGURATION.format(url=provider, slots=slots))
        self.home = folder / "home"
        self.starts = 0
        self.url = ""
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def key(self) -> str:
        """An admin's key."""
        return (self.home / "admin.key").read_text().strip()

    @property
    def log(self) -> str:
        """What all of them said on standard error."""
        return self._file("err").read_text()

    def start(self) -> None:
        """Start the next one, and wait until it is ready."""
        self.starts += 1
        command = [sys.executable, "-m", "nightkiln", "serve", "--port", str(self._port)]
        with self._file("out").open("wb") as out, self._file("err").open("ab") as err:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        deadline = time.monotonic() + DEADLINE_S
        while (found := _READY.match(self._file("out").read_text())) is None:
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            tick = 0.02
            time.sleep(tick)
        self.url = found[1]

    def kill(self) -> None:
        """End it as a power cut would: nothing of it runs on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(DEADLINE_S)

    def stop(self) -> int:
        """End it in an orderly way; its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(DEADLINE_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_S)

    def _environ(self) -> dict[str, str]:
        """Ours, without what is said to tests: a server refuses variables that it does not know."""
        ours = {name: value for name, value in os.environ.items() if "NIGHTKILN_CRASH" not in name}
        return {**ours, "NIGHTKILN_HOME": str(self.home)}

    def _file(self, end: str) -> Path:
        return self._folder / f"server.{end}"


def free_port() -> int:
    """A port that nobody listens on, for a server that has to come back at the same place."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port
