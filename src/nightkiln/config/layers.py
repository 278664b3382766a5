"""Where settings are said: flags over variables over files, each with words of its own.

A layer is a mapping and where it came from. Nothing here reads a file or the
process's environment; both arrive as mappings.
"""

import enum
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.config.fields import flag, settings, variable
from nightkiln.config.table import PREFIX
from nightkiln.core.errors import ConfigError

FILE_NAME: Final = "nightkiln.toml"
_SOMEBODYS: Final = "_KEY"  # variables that end so hold a secret of whoever named them


class Source(enum.StrEnum):
    """What kind of place a value came from."""

    FLAG = "flag"
    ARGUMENT = "argument"  # of a Python call
    ENV = "env"
    FILE = "file"
    BUILT_IN = "built in"

    @property
    def is_of_the_moment(self) -> bool:
        """True for what was said for this run, and so wins over what a file says of a model."""
        return self in (Source.FLAG, Source.ARGUMENT, Source.ENV)


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where one value came from."""

    source: Source
    words: str  # as people read it: flag --timeout, env NIGHTKILN_TIMEOUT, nightkiln.toml: timeout
    rank: int = 0  # the higher of two wins
    file: str = ""  # of a file: what people call it


BUILT_IN: Final = Origin(source=Source.BUILT_IN, words="built in", rank=-1)


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """What one place says. Files hold nested tables; other places hold dotted names."""

    source: Source
    said: Mapping[str, object]
    folder: Path  # relative paths begin here
    file: str = ""  # what people call the file
    rank: int = 0

    def origin(self, key: str) -> Origin:
        """Where the value of `key` came from, if it came from here."""
        words = {
            Source.FILE: f"{self.file}: {key}",
            Source.ENV: f"env {variable(key)}",
            Source.ARGUMENT: f"argument {key.rpartition('.')[2]}=",
        }.get(self.source, f"flag {flag(key)}")
        return Origin(source=self.source, words=words, rank=self.rank, file=self.file)

    def names(self, key: str) -> str:
        """The setting as an error names it."""
        return self.origin(key).words.removeprefix("env ").removeprefix("flag ")


def file_layer(said: Mapping[str, object], *, file: str, folder: Path, is_user: bool) -> Layer:
    """The layer of a file. The user's file is weaker than the project's."""
    rank = 0 if is_user else 1
    return Layer(source=Source.FILE, said=said, folder=folder, file=file, rank=rank)


def env_layer(environ: Mapping[str, str], *, folder: Path, secrets: Collection[str]) -> Layer:
    """The layer of the variables NIGHTKILN_*; empty ones say nothing.

    `secrets` are variables that a reference names: their values are not ours to
    read. Raises ConfigError for a variable that sets nothing.
    """
    known = {variable(key): key for key in settings()}
    shown = [variable(key) for key, field in settings().items() if not field.means.for_tests]
    said: dict[str, object] = {}
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name in secrets or not value:
            continue
        if name in known:
            said[known[name]] = value
        elif not name.endswith(_SOMEBODYS):
            raise unknown(f"the variable {name} sets nothing", name, shown, "the variables are")
    return Layer(source=Source.ENV, said=said, folder=folder, rank=2)


def flag_layer(said: Mapping[str, object], *, folder: Path, source: Source) -> Layer:
    """The layer of flags, or of the arguments of a Python call; None is not said."""
    given = {key: value for key, value in said.items() if value is not None}
    for key in given:
        if key not in settings():
            raise unknown(f"there is no setting {key}", key, settings(), "there are")
    return Layer(source=source, said=given, folder=folder, rank=3)


def unknown(message: str, name: str, known: Collection[str], there_are: str) -> ConfigError:
    """The error for a name that nobody knows, with the nearest that somebody does."""
    return ConfigError(message, hint=nearest(name, known, there_are))


def nearest(name: str, known: Collection[str], there_are: str) -> str:
    """What somebody may have meant by a name that nobody knows, and what there is."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    return f"{guess}{there_are}: {', '.join(known) or 'none'}"
