"""The limit of open files is raised where it may be, and named where it may not."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from nightkiln.backends.transport.openfiles import FILES_BESIDE_SOCKETS
from nightkiln.vault.durable import as_disk_error

ROOM = """
import resource
from nightkiln.backends.transport.openfiles import room_for_sockets
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
print(room_for_sockets(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def limited(files: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a Python command that may have no more open files than that."""
    return subprocess.run(
        ["/bin/sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_soft_limit_is_raised_to_the_hard_one_and_no_further() -> None:
    done = limited(2048, "-c", ROOM)
    assert done.stdout.split() == [str(2048 - FILES_BESIDE_SOCKETS), "2048"], done.stderr


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("text\none\ntwo\n")
    return path


def planned(table: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["-m", "nightkiln", "run", str(table), "--dry-run", "--model", "any"]
    command += ["--endpoint", "http://127.0.0.1:9/v1", "--home", str(table.parent / "home")]
    return limited(512, *command, *more)


def test_more_requests_at_once_than_open_files_are_refused_with_the_number(table: Path) -> None:
    done = planned(table, "--concurrency", "4096")
    assert done.returncode == 2
    assert "ulimit -n 4288" in done.stderr


def test_a_limit_we_find_ourselves_stays_below_the_open_files(table: Path) -> None:
    done = planned(table)
    assert done.returncode == 0, done.stderr
    assert str(512 - FILES_BESIDE_SOCKETS) in done.stdout + done.stderr


def test_too_many_open_files_make_work_wait_and_say_what_helps() -> None:
    error = as_disk_error(OSError(errno.EMFILE, "too many"), "opening a journal")
    assert "too many files" in error.message
    assert "ulimit" in error.hint
