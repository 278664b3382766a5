"""The command under test, always in a process of its own: started, awaited, killed."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.scenario.crash.world import SECRET

import nightkiln

DEADLINE_S = 60.0
KILLED = -signal.SIGKILL
_SOURCES = Path(nightkiln.__file__).parent.parent


class Ended(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    def expect(self, *codes: int) -> "Ended":
        """The same, or a failed test with everything the command said."""
        assert self.code in codes, f"exit code {self.code}, not {codes}\n{self.out}\n{self.err}"
        return self


class Running:
    """A command that runs. What it says goes to files, so that killing it loses no word."""

    def __init__(self, process: asyncio.subprocess.Process, said: Path) -> None:
        self._process = process
        self._said = said

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_over(self) -> bool:
        return self._process.returncode is not None

    def err(self) -> str:
        """What it said on standard error so far."""
        return self._said.with_suffix(".err").read_text()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self, *, seconds: float = DEADLINE_S) -> Ended:
        """Wait for its end; one that hangs is killed and fails the test."""
        try:
            async with asyncio.timeout(seconds):
                code = await self._process.wait()
        except TimeoutError:
            await self.kill()
            raise AssertionError(f"still running after {seconds:g} s\n{self.err()}") from None
        return Ended(code, self._said.with_suffix(".out").read_text(), self.err())

    async def kill(self) -> None:
        if not self.is_over:
            self._process.kill()
            await self._process.wait()


class Kiln:
    """Starts commands in one home."""

    def __init__(self, home: Path, said: Path) -> None:
        self.home = home
        self._said = said
        self._count = 0
        self._started: list[Running] = []

    async def start(
        self,
        arguments: Sequence[str],
        *,
        crash_at: str | None = None,
        under: Sequence[str] = (),
        stdin: Path | None = None,
    ) -> Running:
        """Start a command: `crash_at` arms a crash point, `under` is a program to run it under."""
        self._count += 1
        said = self._said / f"{self.home.name}-{self._count:03d}"
        command = [sys.executable, "-m", "nightkiln", *arguments, "--home", str(self.home)]
        with (
            said.with_suffix(".out").open("wb") as out,
            said.with_suffix(".err").open("wb") as err,
            (stdin or Path(os.devnull)).open("rb") as given,
        ):
            process = await asyncio.create_subprocess_exec(
                *under,
                *command,
                stdin=given,
                stdout=out,
                stderr=err,
                cwd=self._said,
                env=_environment(crash_at=crash_at, traced=bool(under)),
            )
        running = Running(process, said)
        self._started.append(running)
        return running

    async def do(
        self, arguments: Sequence[str], *, crash_at: str | None = None, stdin: Path | None = None
    ) -> Ended:
        """Run a command to its end."""
        running = await self.start(arguments, crash_at=crash_at, stdin=stdin)
        return await running.ended()

    async def aclose(self) -> None:
        """End what a failed test left running."""
        for running in self._started:
            await running.kill()


def _environment(*, crash_at: str | None, traced: bool) -> dict[str, str]:
    """The test's own environment with our settings; what is traced measures no coverage.

    The coverage data is a database of its own, whose system calls would be
    counted among ours.
    """
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("NIGHTKILN_") and not (traced and name.startswith("COVERAGE_"))
    }
    ours |= {"PYTHONPATH": str(_SOURCES), "SIM_KEY": SECRET}
    return ours if crash_at is None else ours | {"NIGHTKILN_CRASH_AT": crash_at}
