"""Which files are read: the nearest project's, then the user's, and nobody else's."""

import os
from pathlib import Path

import pytest

from nightkiln.app.settings import check_settings, load_settings, settings_files
from nightkiln.config import ConfigError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "ruth"
    (folder / "work" / "deep").mkdir(parents=True)
    return folder


def environ(home: Path) -> dict[str, str]:
    return {"HOME": str(home)}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_nearest_file_upwards_is_the_project_and_the_users_comes_after(home: Path) -> None:
    write(home / "nightkiln.toml", "timeout = 1")
    near = write(home / "work/nightkiln.toml", "timeout = 2")
    write(home / ".config/nightkiln/nightkiln.toml", "timeout = 3\nwait = 3")
    found = load_settings(environ(home), home / "work/deep", {})
    assert (found.timeout, found.wait) == (2, 3)
    assert found.origin("timeout").words == f"{near}: timeout"
    assert load_settings(environ(home), home / "work", {}).origin("timeout").words == (
        "nightkiln.toml: timeout"
    )


def test_nothing_above_the_users_home_is_looked_at(home: Path) -> None:
    write(home.parent / "nightkiln.toml", "timeout = 1")
    assert load_settings(environ(home), home / "work", {}).timeout == 600
    write(home / "nightkiln.toml", "timeout = 2")
    assert load_settings(environ(home), home / "work", {}).timeout == 2


def test_the_users_folder_of_settings_may_be_moved(home: Path) -> None:
    write(home / "moved/nightkiln/nightkiln.toml", "timeout = 4")
    moved = {**environ(home), "XDG_CONFIG_HOME": str(home / "moved")}
    assert load_settings(moved, home / "work", {}).timeout == 4


def test_the_users_own_file_is_not_a_project_as_well(home: Path) -> None:
    own = write(home / ".config/nightkiln/nightkiln.toml", "timeout = 4")
    found = settings_files(environ(home), own.parent)
    assert [(one.whose, one.exists) for one in found] == [("project", False), ("user", True)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_above_that_belongs_to_a_stranger_is_refused(home: Path) -> None:
    planted = write(home / "nightkiln.toml", "endpoint = 'http://127.0.0.1:1/v1'")
    os.chown(planted, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to another user"):
        load_settings(environ(home), home / "work", {})
    load_settings(environ(home), home, {})  # whoever steps into the folder means it
    os.chown(home / "work", 12345, 12345)
    load_settings(environ(home), home / "work", {})  # both came from the same stranger


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"timeout = ", "nightkiln.toml is not TOML: Invalid value (at end of document)"),
        (b"timeout = 1\ntimeout = 2", "is not TOML: Cannot overwrite a value"),
        (b"a = '\xff'", "nightkiln.toml is not UTF-8 at byte 5"),
        (b"#" * (1024 * 1024 + 1), "nightkiln.toml is larger than 1 MB"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(home: Path, content: bytes, message: str) -> None:
    (home / "work/nightkiln.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(environ(home), home / "work", {})
    assert message in caught.value.message


def test_a_file_may_be_checked_without_being_used(home: Path) -> None:
    draft = write(home / "draft.toml", "timeout = 1\n[engine]\nkv_cache_gb = 2")
    assert check_settings(draft, environ(home), home) == 2
    draft.write_text("tiemout = 1")
    with pytest.raises(ConfigError, match=r"draft\.toml: tiemout is no setting"):
        check_settings(draft, environ(home), home)
