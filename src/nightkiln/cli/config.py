"""`nightkiln config`: what holds here, who said so, and which files are read."""

import os
from pathlib import Path

import click
import msgspec

from nightkiln.cli.lazy import Verb, holding
from nightkiln.cli.setting import home_option, json_option, print_json, settings
from nightkiln.config import Shown

_VERBS = holding(
    show=Verb("nightkiln.cli.config:show", "Every setting, its value and where it came from."),
    path=Verb("nightkiln.cli.config:path", "The files that are read, the strongest first."),
    check=Verb("nightkiln.cli.config:check", "Look for mistakes in one file."),
)


class _Settings(msgspec.Struct, frozen=True):
    settings: tuple[Shown, ...]


class _File(msgspec.Struct, frozen=True, kw_only=True):
    whose: str
    path: str
    exists: bool


class _Files(msgspec.Struct, frozen=True):
    files: tuple[_File, ...]


class _Checked(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    settings: int


@click.group(cls=_VERBS)
@home_option
def config() -> None:
    """The settings of nightkiln.toml, the variables NIGHTKILN_*, and what holds of them."""


@click.command()
@json_option
@home_option
def show(as_json: bool) -> int:
    """Every setting, its value and where it came from: a flag, a variable, a file, or built in.

    Secrets are not shown: keys are references, and of one in a variable you see
    only that it is set, as `…`.
    """
    from nightkiln.config import as_toml, shown_of

    shown = shown_of(settings())
    if as_json:
        print_json(_Settings(shown))
        return 0
    rows = [
        (one.setting, "-" if one.value is None else as_toml(one.value), one.origin) for one in shown
    ]
    heads = ("setting", "value", "from")
    left, middle = (max(len(row[at]) for row in (heads, *rows)) for at in (0, 1))
    for setting, value, origin in (heads, *rows):
        print(f"{setting:<{left}}  {value:<{middle}}  {origin}")
    return 0


@click.command()
@json_option
@home_option
def path(as_json: bool) -> int:
    """The files that are read here, the strongest first, and whether they are there."""
    from nightkiln.app.settings import settings_files

    found = settings_files(os.environ, Path.cwd())
    if as_json:
        print_json(
            _Files(
                tuple(
                    _File(whose=one.whose, path=str(one.path), exists=one.exists) for one in found
                )
            )
        )
        return 0
    for one in found:
        print(f"{one.whose:<7}  {one.path}  {'is read' if one.exists else 'is not there'}")
    return 0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@home_option
def check(file: Path, as_json: bool) -> int:
    """Look for mistakes in one FILE, wherever it is. Nothing of it is used."""
    from nightkiln.app.settings import check_settings

    said = check_settings(file, os.environ, Path.cwd())
    if as_json:
        print_json(_Checked(path=str(file), settings=said))
    else:
        print(f"{file} has nothing wrong in its {said} settings")
    return 0
