"""A command with all the processes it starts: what they cost together, and their end.

Some tools do their work in processes that outlive their parent or that nobody
waits for, so the kernel's book of the first process is not enough. The tree is
looked at ten times a second as well; CPU is the larger of the two accounts, and
memory the largest sum of resident sets that was seen. Pages that processes
share count once for each of them.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
from bench.processes import BenchError

DEADLINE_S = 240.0
_LOOK_S, _POLL_S = 0.1, 0.01


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a tree that ended has used."""

    code: int
    wall_s: float
    cpu_s: float  # user and system, all processes
    peak_mb: float


class Tree:
    """A running command in a session of its own. Always `wait` or `kill` it."""

    def __init__(self, command: Sequence[str], *, folder: Path, environ: Mapping[str, str]) -> None:
        self._log = folder / "driver.log"
        self._began = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=dict(environ),
                start_new_session=True,
            )
        self._root = psutil.Process(self._process.pid)
        self._cpu_s: dict[psutil.Process, float] = {}
        self._peak_mb = 0.0
        self._looked = 0.0

    def wait(self, until: Callable[[], bool] = lambda: False) -> Spent | None:
        """Wait for its end, or only until a condition holds: then None, and it runs on.

        Raises BenchError past the deadline, and kills it.
        """
        while not self._ended():
            if time.monotonic() - self._looked >= _LOOK_S:
                self._look()
            if until():
                return None
            if time.monotonic() - self._began > DEADLINE_S:
                self.kill()
                raise BenchError(f"did not end within {DEADLINE_S:.0f} s")
            time.sleep(_POLL_S)
        return self._reap()

    def kill(self) -> Spent:
        """End the whole tree as a power cut would."""
        self._look()
        os.kill(self._process.pid, signal.SIGKILL)
        return self._reap()

    def complaint(self) -> str:
        """The last line of what it said."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    def _ended(self) -> bool:
        """True once the first process is over; it stays in the books for `_reap`."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None

    def _look(self) -> None:
        self._looked = time.monotonic()
        resident = 0
        with suppress(psutil.Error):
            for process in [self._root, *self._root.children(recursive=True)]:
                with suppress(psutil.Error), process.oneshot():
                    times = process.cpu_times()
                    self._cpu_s[process] = times.user + times.system
                    resident += process.memory_info().rss
        self._peak_mb = max(self._peak_mb, resident / 2**20)

    def _reap(self) -> Spent:
        _, status, used = os.wait4(self._process.pid, 0)
        wall_s = time.monotonic() - self._began
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._end_the_rest()
        return Spent(
            code=self._process.returncode,
            wall_s=wall_s,
            cpu_s=max(used.ru_utime + used.ru_stime, sum(self._cpu_s.values())),
            peak_mb=self._peak_mb,
        )

    def _end_the_rest(self) -> None:
        """Kill what the first process left behind; psutil never takes another process for it."""
        rest = [process for process in self._cpu_s if process != self._root]
        for process in rest:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(rest, timeout=10.0)
