"""A forked child neither keeps nor breaks the locks of its parent."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from nightkiln.vault.home import try_lock

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def test_a_child_lets_go_of_what_it_inherited_and_the_parent_keeps_it(tmp_path: Path) -> None:
    held = try_lock(tmp_path / "lock")
    assert held is not None
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b"!")
        os.read(done[0], 1)  # stays alive, as a worker of a pool would
        os._exit(0)
    try:
        os.read(ready[0], 1)
        assert try_lock(tmp_path / "lock") is None  # the child's letting go freed nothing
        held.release()
        again = try_lock(tmp_path / "lock")
        assert again is not None  # and the child does not hold it either
        again.release()
    finally:
        os.write(done[1], b"!")
        os.waitpid(child, 0)
        for descriptor in (*ready, *done):
            os.close(descriptor)


def test_a_fork_in_the_middle_of_locking_waits_until_the_child_can_find_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, done = os.pipe(), os.pipe()
    children: list[int] = []

    def fork() -> None:
        child = os.fork()
        if child == 0:
            os.write(ready[1], b"!")
            os.read(done[0], 1)
            os._exit(0)
        children.append(child)

    forking = threading.Thread(target=fork)

    def flock_with_a_fork_beside_it(descriptor: int, mode: int) -> None:
        flock(descriptor, mode)
        forking.start()
        forking.join(0.3)  # a fork that does not wait is over by then

    flock = fcntl.flock
    with monkeypatch.context() as patch:
        patch.setattr("nightkiln.vault.home.fcntl.flock", flock_with_a_fork_beside_it)
        held = try_lock(tmp_path / "lock")
    assert held is not None
    forking.join(30)
    try:
        os.read(ready[0], 1)
        held.release()
        again = try_lock(tmp_path / "lock")
        assert again is not None
        again.release()
    finally:
        os.write(done[1], b"!")
        os.waitpid(children[0], 0)
        for descriptor in (*ready, *done):
            os.close(descriptor)
