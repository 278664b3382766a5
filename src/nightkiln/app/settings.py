"""Finds and reads nightkiln.toml and puts it together with variables and flags.

The project's file is the nearest one from the current folder upwards, no
further than the user's home; the user's stands in their configuration folder.
Every face loads its settings here: the command line, the SDK and the server.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.config import (
    FILE_NAME,
    ConfigError,
    Layer,
    Settings,
    Source,
    check_file,
    file_layer,
    flag_layer,
    parse,
)

_LARGEST_FILE: Final = 1024 * 1024


class SettingsFile(msgspec.Struct, frozen=True, kw_only=True):
    """A place where settings may stand."""

    whose: str  # project or user
    path: Path
    exists: bool


def load_settings(
    environ: Mapping[str, str],
    cwd: Path,
    flags: Mapping[str, object],
    *,
    source: Source = Source.FLAG,
) -> Settings:
    """The settings that hold in `cwd`. Raises ConfigError naming file and key.

    `flags` are what was said for this run, by the setting's dotted name; None
    is not said. A Python face passes its arguments with `source=Source.ARGUMENT`.
    """
    files = [
        _layer(found.path, cwd, is_user=found.whose == "user")
        for found in settings_files(environ, cwd)
        if found.exists
    ]
    return parse(files, environ, flag_layer(flags, folder=cwd, source=source))


def settings_files(environ: Mapping[str, str], cwd: Path) -> tuple[SettingsFile, ...]:
    """The files that are looked at, strongest first. Raises ConfigError for one of a stranger."""
    users = _user_folder(environ) / "nightkiln" / FILE_NAME
    project = next((path for path in _upwards(environ, cwd) if path.is_file()), None)
    found = SettingsFile(whose="user", path=users, exists=users.is_file())
    if project is None or (found.exists and project.samefile(users)):
        return (SettingsFile(whose="project", path=cwd / FILE_NAME, exists=False), found)
    _refuse_strangers(project, cwd)
    return (SettingsFile(whose="project", path=project, exists=True), found)


def check_settings(path: Path, environ: Mapping[str, str], cwd: Path) -> int:
    """How many settings a file says, all of them right. Raises ConfigError."""
    return check_file(_layer(path.absolute(), cwd, is_user=False), environ)


def _upwards(environ: Mapping[str, str], cwd: Path) -> Iterator[Path]:
    home = Path(environ.get("HOME") or Path.home())
    for folder in (cwd, *cwd.parents):
        yield folder / FILE_NAME
        if folder == home:
            return


def _user_folder(environ: Mapping[str, str]) -> Path:
    named = environ.get("XDG_CONFIG_HOME")
    return Path(named) if named else Path(environ.get("HOME") or Path.home()) / ".config"


def _refuse_strangers(path: Path, cwd: Path) -> None:
    """A file above the current folder counts only when its owner could have put it here as well.

    Otherwise anybody could leave a file in /tmp that sends the prompts, and
    the key, of every job below to a server of theirs.
    """
    if path.parent == cwd:
        return
    owner = path.stat().st_uid
    if owner not in (os.getuid(), 0, cwd.stat().st_uid):
        raise ConfigError(
            f"{path} belongs to another user, so it is not read",
            hint="run in another folder, or put a nightkiln.toml of your own into this one",
        )


def _layer(path: Path, cwd: Path, *, is_user: bool) -> Layer:
    shown = path.name if path.parent == cwd else str(path)
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as problem:
        raise ConfigError(f"{shown} cannot be read: {problem.strerror}") from problem
    if len(content) > _LARGEST_FILE:
        raise ConfigError(f"{shown} is larger than 1 MB, which no settings are")
    try:
        said = tomllib.loads(content.decode())
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{shown} is not UTF-8 at byte {problem.start}") from problem
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise ConfigError(f"{shown} is not TOML: {problem}") from problem
    return file_layer(said, file=shown, folder=path.parent, is_user=is_user)
