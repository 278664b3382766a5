"""One page as one sitting: a scratch folder, a home of its own, a port for a server.

The blocks of a page run in their order, each in a fresh process; files stay, as
they do for a reader. What a page calls 127.0.0.1:8000 is a free port here.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.docs.blocks import VISIBLE_PORT, Block, Command, Kind, commands_of, difference

ROOT: Final = Path(__file__).resolve().parents[2]
BLOCK_S: Final = 200.0
READY_S: Final = 30.0
_STARTING: Final = 503  # it listens, and is not there yet
_MARK: Final = "-- end of command, exit code"


class WrongExample(AssertionError):
    """An example does not do what its page says."""


class Sitting:
    """Runs the blocks of one page. Ends the servers it started."""

    def __init__(self, page: Path, folder: Path) -> None:
        self._page = page
        self._folder = folder / "work"
        self._home = folder / "home"
        self._folder.mkdir()
        self._home.mkdir()
        if (ROOT / "docs") not in page.parents:  # the reader has a checkout
            shutil.copytree(ROOT / "examples", self._folder / "examples")
        self._port = _free_port()
        self._server: subprocess.Popen[bytes] | None = None
        self._options: str | None = None
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stop()

    def run(self, block: Block) -> None:
        """Do what one block says. Raises WrongExample."""
        if block.server is not None:
            self._simulate(block.server)
        match block.kind:
            case Kind.FILE:
                path = self._folder / block.named
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._real(block.text), encoding="utf-8")
            case Kind.SERVES:
                command = commands_of(block.text)[0].text
                self._start(shlex.split(self._real(command)))
                self._options = None
            case Kind.PYTHON:
                script = self._folder / ".example.py"
                script.write_text(self._real(block.text), encoding="utf-8")
                done = self._process([sys.executable, str(script)])
                self._last = self._seen(done.stdout)
                if done.returncode:
                    raise self._wrong(block, f"it ended with {done.returncode}\n{done.stderr}")
            case Kind.OUTPUT:
                shown = tuple(block.text.splitlines())
                if problem := difference(shown, self._last):
                    raise self._wrong(block, problem)
            case Kind.CONSOLE:
                self._console(block)

    def _console(self, block: Block) -> None:
        self._check_port(block)
        commands = commands_of(block.text)
        lines = ["exec 2>&1"]
        for command in commands:
            lines += [self._real(command.text), f'nk=$?; echo "{_MARK} $nk"; (exit $nk)']
        done = self._process(["bash", "-c", "\n".join(lines)])
        rest = self._seen(done.stdout)
        for at, command in enumerate(commands):
            printed, mark, rest = rest.partition(_MARK)
            code, _, rest = rest.partition("\n")
            after = commands[at + 1].text if at + 1 < len(commands) else ""
            self._judge(block, command, (printed, mark and code.strip(), after))

    def _judge(self, block: Block, command: Command, ended: tuple[str, str, str]) -> None:
        printed, code, after = ended
        if code != "0" and not (code and after == "echo $?"):
            raise self._wrong(block, f"$ {command.text}\nended with {code or '?'}\n{printed}")
        if command.shown is not None and (problem := difference(command.shown, printed)):
            raise self._wrong(block, f"$ {command.text}\n{problem}")

    def _check_port(self, block: Block) -> None:
        if VISIBLE_PORT in block.text and self._server is None:
            raise self._wrong(block, f"it talks to {VISIBLE_PORT} and nothing serves there")

    def _process(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            cwd=self._folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=BLOCK_S,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        ours = ("NIGHTKILN_", "XDG_", "OPENAI_", "ANTHROPIC_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        scripts = sysconfig.get_path("scripts")
        path = f"{scripts}{os.pathsep}{kept.get('PATH', os.defpath)}"
        return {**kept, "HOME": str(self._home), "PATH": path, "COLUMNS": "100"}

    def _simulate(self, options: str) -> None:
        if self._server is None or self._options != options:
            self._start(["nightkiln", "simulate", "--port", str(self._port), *shlex.split(options)])
            self._options = options

    def _start(self, arguments: list[str]) -> None:
        """Start a server in place of the one before, and wait until it listens."""
        self._stop()
        environment = self._environment()
        self._server = subprocess.Popen(
            arguments, cwd=self._folder, env=environment, stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + READY_S
        url = f"http://127.0.0.1:{self._port}/_ctl/stats"
        while True:
            try:
                urllib.request.urlopen(url, timeout=READY_S).close()
                return
            except urllib.error.HTTPError as refused:
                refused.close()
                if refused.code != _STARTING:
                    return
                trouble: OSError = refused
            except OSError as error:
                trouble = error
            if self._server.poll() is not None or time.monotonic() > until:
                raise WrongExample(f"{self._page.name}: no server from {arguments}") from trouble
            _pause(self._server)

    def _stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(READY_S)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait(READY_S)
            self._server = None

    def _real(self, text: str) -> str:
        return text.replace(VISIBLE_PORT, f"127.0.0.1:{self._port}").replace(
            "--port 8000", f"--port {self._port}"
        )

    def _seen(self, text: str) -> str:
        return text.replace(f"127.0.0.1:{self._port}", VISIBLE_PORT)

    def _wrong(self, block: Block, problem: str) -> WrongExample:
        return WrongExample(f"{self._page.name}:{block.line}: {problem}")


def _pause(server: subprocess.Popen[bytes]) -> None:
    """Give a server that is starting a moment; a server that ends wakes us."""
    try:
        server.wait(0.05)
    except subprocess.TimeoutExpired:
        return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
