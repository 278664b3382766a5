"""A forked child neither keeps nor breaks the locks of its parent."""

import os
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
