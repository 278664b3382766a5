"""Where a home's server is: said while it runs, believed only while it holds the home."""

from pathlib import Path

import pytest
from tests.serving import served

from nightkiln.app.announcing import announce, owner_of
from nightkiln.core.errors import HomeBusy
from nightkiln.vault.home import Home


def test_a_server_is_found_by_its_home_while_it_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert owner_of(home) is None
    with served(home) as server:
        found = owner_of(home)
        assert found is not None
        assert (found.url, found.key) == (server.url, server.key)
    assert owner_of(home) is None
    assert not (home / "server.json").exists()


def test_what_a_dead_server_said_is_not_believed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.hold()
    announce(home.root, "http://127.0.0.1:1")
    assert owner_of(home.root) is None
    home.release()


def test_a_server_that_is_not_ready_yet_cannot_be_asked(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.hold(exclusive=True)
    with pytest.raises(HomeBusy, match="does not say where it is"):
        owner_of(home.root)
    home.release()
