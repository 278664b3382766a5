"""`nightkiln keys`: who may ask the server of this home for what.

Where a server owns the home, or one is named, it is asked; else the home is changed here.
"""

import sys
import time
from typing import TYPE_CHECKING

import click

from nightkiln.cli.lazy import Verb, holding
from nightkiln.cli.setting import (
    home,
    home_option,
    json_option,
    print_json,
    run_async,
    settings,
)
from nightkiln.cli.values import Moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nightkiln.sdk.remotekeys import RemoteKeys
    from nightkiln.service.api import KeyObject, KeyWanted

_VERBS = holding(
    create=Verb("nightkiln.cli.keys:create", "Make a key; its text is shown this once."),
    list=Verb("nightkiln.cli.keys:list_", "List keys, what they may do, and when they were used."),
    rotate=Verb("nightkiln.cli.keys:rotate", "Replace a key; the old one is good a while longer."),
    revoke=Verb("nightkiln.cli.keys:revoke", "End a key now."),
    link=Verb("nightkiln.cli.keys:link", "Show a link that signs in to the pages, once."),
)
_SCOPES = ("read", "write", "admin")


@click.group(cls=_VERBS)
@home_option
def keys() -> None:
    """API keys of this home's server.

    The first start of `nightkiln serve` writes an admin key to admin.key in the home.
    """


@click.command()
@click.argument("name", default="")
@click.option("--scope", type=click.Choice(_SCOPES), default="write", show_default=True)
@click.option("--project", default="default", show_default=True, help="Whose jobs it sees.")
@click.option("--expires", type=Moment(), help="A span (30d) or a moment in ISO 8601.")
@click.option("--max-rows", type=click.IntRange(min=1), help="In all jobs it submits.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="In and out, in all its jobs.")
@click.option("--max-usd", type=click.FloatRange(min=0, min_open=True), help="In all its jobs.")
@click.option("--rpm", type=click.IntRange(min=1), help="HTTP requests a minute.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="A model that it may ask, and no other; repeatable.  [default: every one]",
)
@json_option
@home_option
def create(
    name: str,
    scope: str,
    project: str,
    expires: float | None,
    max_rows: int | None,
    max_tokens: int | None,
    max_usd: float | None,
    rpm: int | None,
    models: tuple[str, ...],
    as_json: bool,
) -> int:
    """Make a key called NAME. Its text is printed now and kept nowhere."""
    from nightkiln.core.access import KeyCaps, Scope
    from nightkiln.core.ids import ProjectId
    from nightkiln.service.api import KeyWanted

    wanted = KeyWanted(
        name=name,
        scope=Scope(scope),
        project=ProjectId(project),
        lives_s=None if expires is None else expires - time.time(),
        caps=KeyCaps(
            rows=max_rows,
            tokens=max_tokens,
            cost_usd=max_usd,
            requests_per_minute=rpm,
            models=models or None,
        ),
    )
    server = _server()
    made = run_async(_created(wanted)) if server is None else server.create(wanted)
    return _shown(made, as_json=as_json)


@click.command(name="list")
@json_option
@home_option
def list_(as_json: bool) -> int:
    """List the keys of every project, newest first; revoked and expired ones too."""
    from nightkiln.app.keyholder import keys_in
    from nightkiln.core.errors import HomeBusy
    from nightkiln.service.api import key_object

    try:
        server = _server()
    except HomeBusy:  # it does not say where it is; a look into the home does no harm
        server = None
    found: Sequence[KeyObject]
    if server is None:
        found = [key_object(key) for key in run_async(keys_in(home()))]
    else:
        found = server.list_keys()
    if as_json:
        print_json({"keys": [_record(key) for key in found]})
    else:
        print(_table(found))
    return 0


@click.command()
@click.argument("key")
@click.option(
    "--overlap", type=Moment(), default="1h", show_default=True, help="How long the old is good."
)
@json_option
@home_option
def rotate(key: str, overlap: float, as_json: bool) -> int:
    """Make a key like KEY, an id; the old one stays good for a while, so nobody is cut off."""
    overlap_s, server = max(0.0, overlap - time.time()), _server()
    if server is None:
        made = run_async(_rotated(key, overlap_s))
    else:
        made = server.rotate(key, overlap_s=overlap_s)
    return _shown(made, as_json=as_json)


@click.command()
@click.argument("key")
@json_option
@home_option
def revoke(key: str, as_json: bool) -> int:
    """End KEY, an id, now. Its jobs go on."""
    server = _server()
    ended = run_async(_revoked(key)) if server is None else server.revoke(key)
    if as_json:
        print_json(_record(ended))
    else:
        print(f"revoked {ended.id} {ended.name}".rstrip())
    return 0


@click.command()
@home_option
def link() -> int:
    """Show a link that signs a browser in to the server's pages, once and within 10 minutes.

    Who has it is who has your key, so it is shown on a terminal only.
    """
    from nightkiln.core.errors import UsageError

    if not sys.stdout.isatty():
        raise UsageError("a link to the pages is shown on a terminal only")
    server = _server()
    if server is None:
        raise UsageError(f"no server owns the home {home()}", hint="start one: nightkiln serve")
    print(server.link())
    return 0


def _server() -> "RemoteKeys | None":
    """The keys of the server that owns the home or is named. Raises HomeBusy."""
    from nightkiln.sdk.remotekeys import RemoteKeys
    from nightkiln.sdk.verbs import server_named

    server = server_named(settings())
    return None if server is None else RemoteKeys(server)


async def _created(wanted: "KeyWanted") -> "KeyObject":
    from nightkiln.app.keyholder import open_keyholder
    from nightkiln.core.ids import DEFAULT_PROJECT
    from nightkiln.service.api import key_object
    from nightkiln.service.keys import KeyWish

    wish = KeyWish(
        name=wanted.name,
        scope=wanted.scope,
        project=wanted.project or DEFAULT_PROJECT,
        lives_s=wanted.lives_s,
        caps=wanted.caps,
    )
    async with open_keyholder(home()) as holder:
        made = await holder.create(wish)
    return key_object(made.key, made.text)


async def _rotated(key: str, overlap_s: float) -> "KeyObject":
    from nightkiln.app.keyholder import open_keyholder
    from nightkiln.service.api import key_object

    async with open_keyholder(home()) as holder:
        made = await holder.rotate(key, overlap_s=overlap_s)
    return key_object(made.key, made.text)


async def _revoked(key: str) -> "KeyObject":
    from nightkiln.app.keyholder import open_keyholder
    from nightkiln.service.api import key_object

    async with open_keyholder(home()) as holder:
        return key_object(await holder.revoke(key))


def _is_good(key: "KeyObject", now: float) -> bool:
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


def _shown(made: "KeyObject", *, as_json: bool) -> int:
    """The text alone on standard output, so that it can be piped; the rest beside it."""
    if as_json:
        print_json({**_record(made), "text": made.text})
        return 0
    click.echo(f"{made.id}: shown this once, keep it", err=True)
    print(made.text)
    return 0


def _record(key: "KeyObject") -> dict[str, object]:
    """A key as JSON: times in ISO 8601, and no hash."""
    from nightkiln.cli.numbers import iso

    return {
        "id": key.id,
        "name": key.name,
        "start": key.start,
        "project": key.project,
        "scope": key.scope,
        "good": _is_good(key, time.time()),
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "used_at": iso(key.used_at),
        "revoked_at": iso(key.revoked_at),
        "caps": key.caps,
    }


def _table(found: "Sequence[KeyObject]") -> str:
    from nightkiln.cli.numbers import local_time

    rows = [("id", "name", "begins", "project", "scope", "state", "used")]
    now = time.time()
    for key in found:
        used = "never" if key.used_at is None else local_time(key.used_at)
        state = "good" if _is_good(key, now) else "expired" if key.revoked_at is None else "revoked"
        rows.append((key.id, key.name, key.start, key.project, key.scope.value, state, used))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
