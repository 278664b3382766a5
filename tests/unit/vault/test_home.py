"""Locks of a home between real processes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import nightkiln
from nightkiln.core.errors import HomeBusy, UsageError
from nightkiln.core.ids import JobId
from nightkiln.vault.home import Home

JOB = JobId("job_1")
HOLDER = """
import sys
from pathlib import Path
from nightkiln.vault.home import Home
home = Home(Path(sys.argv[1]))
if sys.argv[2] == "job":
    lock = home.lock_job("job_1")
    assert lock is not None
else:
    home.hold(exclusive=sys.argv[2] == "exclusive")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(root: Path, what: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds a lock until it is killed."""
    source = str(Path(nightkiln.__file__).parents[1])
    held = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": source},
    )
    try:
        assert held.stdout is not None
        assert held.stdout.readline() == b"held\n"
        yield held
    finally:
        held.kill()
        held.communicate()


def test_embedded_processes_share_a_home(tmp_path: Path) -> None:
    with another_process(tmp_path, "shared"):
        home = Home(tmp_path)
        home.hold()
        home.release()


@pytest.mark.parametrize(("theirs", "ours"), [("exclusive", False), ("shared", True)])
def test_a_server_has_its_home_alone(tmp_path: Path, theirs: str, ours: bool) -> None:
    home = Home(tmp_path)
    with another_process(tmp_path, theirs), pytest.raises(HomeBusy):
        home.hold(exclusive=ours)


def test_a_job_is_run_by_one_process_at_a_time(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.job(JOB).make()
    with another_process(tmp_path, "job") as holder:
        assert home.lock_job(JOB) is None
        assert home.is_running(JOB)
        holder.kill()
        holder.wait()
        assert not home.is_running(JOB)
        lock = home.lock_job(JOB)
        assert lock is not None
        assert home.is_running(JOB)
        lock.release()
        lock.release()
    assert not home.is_running(JOB)


def test_a_job_without_files_cannot_be_locked(tmp_path: Path) -> None:
    assert Home(tmp_path).lock_job(JOB) is None
    assert not Home(tmp_path).is_running(JOB)


def test_looking_whether_a_job_runs_takes_nothing_away(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.job(JOB).make()
    assert not home.is_running(JOB)
    lock = home.lock_job(JOB)
    assert lock is not None
    lock.release()


def test_a_home_is_for_its_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.hold()
    assert home.root.stat().st_mode & 0o777 == 0o700
    home.release()


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used"):
        Home(tmp_path / "file").hold()


def test_journals_are_listed_by_epoch_as_numbers(tmp_path: Path) -> None:
    files = Home(tmp_path).job(JOB)
    files.make()
    for chunk, epoch in ((3, 10), (3, 9), (33, 1), (3, 100)):
        files.journal_of(chunk, epoch).touch()
    assert [epoch for epoch, _ in files.journals_of(3)] == [9, 10, 100]


def test_chunks_beyond_five_digits_keep_their_journals(tmp_path: Path) -> None:
    files = Home(tmp_path).job(JOB)
    files.make()
    files.journal_of(123456, 1).touch()
    assert [epoch for epoch, _ in files.journals_of(123456)] == [1]
    assert files.journals_of(12345) == []
