"""What every verb shares: the home, the shape of the output, and the loop it runs on."""

import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from nightkiln.config import Settings

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_HOME: Final = "nightkiln.home"
_SETTINGS: Final = "nightkiln.settings"


def home_option(command: F) -> F:
    """`--home`, before or after the verb; the one nearer to the verb's end wins."""
    return click.option(
        "--home",
        metavar="PATH",
        expose_value=False,
        callback=_remember_home,
        help="Folder that holds the jobs (NIGHTKILN_HOME; default ~/.local/share/nightkiln).",
    )(command)


def json_option(command: F) -> F:
    """`--json` of verbs that print one object."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


def no_color_option(command: F) -> F:
    """`--no-color`, beside the variable NO_COLOR."""
    return click.option("--no-color", is_flag=True, help="No colours (as NO_COLOR does).")(command)


def home() -> "Path":
    """The home that this command works in."""
    return settings().home


def settings(said: Mapping[str, object] | None = None) -> "Settings":
    """The settings of this command: files, variables, and the flags in `said` over them.

    `said` has the dotted names of settings; None in it is not said. Files are
    read once, at the first call; a later call without flags gets the same. Raises ConfigError.
    """
    meta = click.get_current_context().meta
    if said is None and _SETTINGS in meta:
        known: Settings = meta[_SETTINGS]
        return known
    from pathlib import Path

    from nightkiln.app.settings import load_settings

    flags = {**(said or {}), "home": meta.get(_HOME)}
    loaded = load_settings(os.environ, Path.cwd(), flags)
    meta[_SETTINGS] = loaded
    return loaded


def typed_arguments() -> tuple[str, ...]:
    """What the user typed after `nightkiln`."""
    found = click.get_current_context().meta.get("nightkiln.arguments", ())
    return tuple(str(argument) for argument in found)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on uvloop, or on asyncio's own loop where there is none."""
    import asyncio

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work)


def print_json(value: object, *, to_stderr: bool = False) -> None:
    """One JSON object on one line."""
    import msgspec

    stream = sys.stderr if to_stderr else sys.stdout
    print(msgspec.json.encode(value).decode(), file=stream, flush=True)


def _remember_home(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta[_HOME] = value


def _loop_factory() -> "Callable[[], asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
