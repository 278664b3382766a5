"""`nightkiln cache`: the answers that are kept for identical rows of later jobs."""

from typing import TYPE_CHECKING

import click

from nightkiln.cli.lazy import Verb, holding
from nightkiln.cli.setting import home, home_option, json_option, print_json, settings

if TYPE_CHECKING:
    from pathlib import Path

    from nightkiln.store.cachefile import CacheState

_VERBS = holding(
    show=Verb("nightkiln.cli.cache:show", "How many answers there are, and their room."),
    clear=Verb("nightkiln.cli.cache:clear", "Delete them all; no job needs them."),
)


@click.group(cls=_VERBS)
@home_option
def cache() -> None:
    """Answers that were paid once and serve identical rows of later jobs for $0.

    Only of rows with temperature 0, a seed, or embeddings; `nightkiln run
    --cache off` neither uses nor keeps any.
    """


@click.command()
@json_option
@home_option
def show(as_json: bool) -> int:
    """How many answers are kept, how old they are, and how much room they take."""
    from nightkiln.app import cache_state

    state = cache_state(_home_here())
    if as_json:
        print_json(state)
    else:
        print(_page(state))
    return 0


@click.command()
@json_option
@home_option
def clear(as_json: bool) -> int:
    """Delete all kept answers. Jobs and their results stay; a job that runs goes on."""
    from nightkiln.app import clear_cache
    from nightkiln.cli.numbers import bytes_of

    gone = clear_cache(_home_here())
    if as_json:
        print_json({"cleared_bytes": gone})
    else:
        print(f"cleared {bytes_of(gone)}" if gone else "nothing was kept")
    return 0


def _home_here() -> "Path":
    """The home on this machine. Raises UsageError where the jobs are at a server elsewhere."""
    from nightkiln.config import Source
    from nightkiln.core.errors import UsageError

    known = settings()
    if known.url is not None and known.origin("home").source is not Source.FLAG:
        raise UsageError(
            f"the answers kept at {known.url} serve all its projects, and are its operator's",
            hint="run this where the server is; for a home on this machine add --home HOME",
        )
    return home()


def _page(state: "CacheState") -> str:
    from nightkiln.cli.numbers import bytes_of, count, local_time

    limits = settings()
    lines = [
        f"answers  {count(state.answers)}",
        f"room     {bytes_of(state.size_bytes)} of at most {bytes_of(limits.cache_gb * 1e9)}",
    ]
    if state.oldest is not None and state.newest is not None:
        span = f"{local_time(state.oldest)} to {local_time(state.newest)}"
        lines.append(f"made     {span}; each is used for {limits.cache_days:g} days")
    if state.error:
        lines.append(
            f"error    {state.error}; it counts as empty, `nightkiln cache clear` mends it"
        )
    return "\n".join([*lines, f"file     {state.path}"])
