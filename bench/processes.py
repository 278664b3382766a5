"""Child processes and what they cost: CPU, wall time and memory, from the kernel's own books.

The bench itself stays small on purpose: a child starts out with its parent's
peak memory in its books, so whatever needs memory here runs in a child too.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[1]
_PEAKS_IN_A_MB = 1024 * 1024 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes, or KiB


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a child that ended has used."""

    code: int
    wall_s: float
    cpu_s: float  # user and system, all threads
    peak_mb: float
    said: str  # its standard output


class BenchError(Exception):
    """A workload could not be run; the message says what happened."""


class Child:
    """A process of ours, started in a session of its own. Always `wait` or `kill` it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        """`env` is added to our own variables."""
        self.command = [sys.executable, *command]
        self._log = log
        self._started = time.monotonic()
        with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
            self._process = subprocess.Popen(
                self.command, stdout=out, stderr=err, cwd=cwd, env=_environ(env or {})
            )
        self.started_at = self._started

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True until it ends by itself; it stays in the books for `wait`."""
        left = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return left is None

    @property
    def resident_mb(self) -> float | None:
        """Its memory now; None where the system does not say, or it has ended."""
        return _resident_mb(self.pid)

    def kill(self) -> Cost:
        """End it as a power cut would."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> Cost:
        """Wait for its end."""
        _, status, used = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return Cost(
            code=self._process.returncode,
            wall_s=time.monotonic() - self._started,
            cpu_s=used.ru_utime + used.ru_stime,
            peak_mb=used.ru_maxrss / _PEAKS_IN_A_MB,
            said=self._log.read_text(),
        )

    def complaint(self) -> str:
        """The end of what it said on standard error."""
        return self._log.with_suffix(".err").read_text(errors="replace")[-2000:]


def run(
    command: Sequence[str],
    *,
    log: Path,
    fine: tuple[int, ...] = (0,),
    env: Mapping[str, str] | None = None,
) -> Cost:
    """Run a child to its end. Raises BenchError when it ends with a code that is not `fine`."""
    return ended(Child(command, log=log, env=env), fine=fine)


def ended(child: Child, *, fine: tuple[int, ...] = (0,)) -> Cost:
    """Wait for a child's end. Raises BenchError when its code is not `fine`."""
    cost = child.wait()
    if cost.code not in fine:
        raise BenchError(f"{' '.join(child.command)} ended with {cost.code}:\n{child.complaint()}")
    return cost


def tree_mb(pid: int) -> float:
    """The memory of a process and of all that come from it, now; 0 where nobody says."""
    total, todo = 0.0, [pid]
    while todo:
        one = todo.pop()
        total += _resident_mb(one) or 0.0
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                todo += map(int, children.read_text().split())
    return total


def _resident_mb(pid: int) -> float | None:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _environ(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, with this tree's package before any that is installed."""
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more}
