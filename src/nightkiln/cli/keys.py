"""`nightkiln keys`: who may ask the server of this home for what."""

import time
from typing import TYPE_CHECKING

import click

from nightkiln.cli.lazy import Verb, holding
from nightkiln.cli.setting import home, home_option, json_option, print_json, run_async
from nightkiln.cli.values import Moment

if TYPE_CHECKING:
    from nightkiln.core.access import ApiKey
    from nightkiln.service.keys import NewKey

_VERBS = holding(
    create=Verb("nightkiln.cli.keys:create", "Make a key; its text is shown this once."),
    list=Verb("nightkiln.cli.keys:list_", "List keys, what they may do, and when they were used."),
    rotate=Verb("nightkiln.cli.keys:rotate", "Replace a key; the old one is good a while longer."),
    revoke=Verb("nightkiln.cli.keys:revoke", "End a key now."),
)
_SCOPES = ("read", "write", "admin")
_WHILE_OWNED = "While a server owns the home only `list` works."


@click.group(cls=_VERBS)
@home_option
def keys() -> None:
    """API keys of this home's server.

    The first start of `nightkiln serve` writes an admin key to admin.key in the home.
    """


@click.command(epilog=_WHILE_OWNED)
@click.argument("name", default="")
@click.option("--scope", type=click.Choice(_SCOPES), default="write", show_default=True)
@click.option("--project", default="default", show_default=True, help="Whose jobs it sees.")
@click.option("--expires", type=Moment(), help="A span (30d) or a moment in ISO 8601.")
@click.option("--max-rows", type=click.IntRange(min=1), help="In all jobs it submits.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="In and out, in all its jobs.")
@click.option("--max-usd", type=click.FloatRange(min=0, min_open=True), help="In all its jobs.")
@click.option("--rpm", type=click.IntRange(min=1), help="HTTP requests a minute.")
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
    as_json: bool,
) -> int:
    """Make a key called NAME. Its text is printed now and kept nowhere."""
    from nightkiln.app.keyholder import open_keyholder
    from nightkiln.core.access import KeyCaps, Scope
    from nightkiln.core.ids import ProjectId
    from nightkiln.service.keys import KeyWish

    wish = KeyWish(
        name=name,
        scope=Scope(scope),
        project=ProjectId(project),
        lives_s=None if expires is None else expires - time.time(),
        caps=KeyCaps(rows=max_rows, tokens=max_tokens, cost_usd=max_usd, requests_per_minute=rpm),
    )

    async def work() -> "NewKey":
        async with open_keyholder(home()) as holder:
            return await holder.create(wish)

    return _shown(run_async(work()), as_json=as_json)


@click.command(name="list")
@json_option
@home_option
def list_(as_json: bool) -> int:
    """List the keys of every project, newest first; revoked and expired ones too."""
    from nightkiln.app.keyholder import keys_in

    found = run_async(keys_in(home()))
    if as_json:
        print_json({"keys": [_record(key) for key in found]})
    else:
        print(_table(found))
    return 0


@click.command(epilog=_WHILE_OWNED)
@click.argument("key")
@click.option(
    "--overlap", type=Moment(), default="1h", show_default=True, help="How long the old is good."
)
@json_option
@home_option
def rotate(key: str, overlap: float, as_json: bool) -> int:
    """Make a key like KEY, an id; the old one stays good for a while, so nobody is cut off."""
    from nightkiln.app.keyholder import open_keyholder

    overlap_s = max(0.0, overlap - time.time())

    async def work() -> "NewKey":
        async with open_keyholder(home()) as holder:
            return await holder.rotate(key, overlap_s=overlap_s)

    return _shown(run_async(work()), as_json=as_json)


@click.command(epilog=_WHILE_OWNED)
@click.argument("key")
@json_option
@home_option
def revoke(key: str, as_json: bool) -> int:
    """End KEY, an id, now. Its jobs go on."""
    from nightkiln.app.keyholder import open_keyholder

    async def work() -> "ApiKey":
        async with open_keyholder(home()) as holder:
            return await holder.revoke(key)

    ended = run_async(work())
    if as_json:
        print_json(_record(ended))
    else:
        print(f"revoked {ended.id} {ended.name}".rstrip())
    return 0


def _shown(made: "NewKey", *, as_json: bool) -> int:
    """The text alone on standard output, so that it can be piped; the rest beside it."""
    if as_json:
        print_json({**_record(made.key), "text": made.text})
        return 0
    click.echo(f"{made.key.id}: shown this once, keep it", err=True)
    print(made.text)
    return 0


def _record(key: "ApiKey") -> dict[str, object]:
    """A key as JSON: times in ISO 8601, and no hash."""
    from nightkiln.cli.numbers import iso

    return {
        "id": key.id,
        "name": key.name,
        "start": key.start,
        "project": key.project,
        "scope": key.scope,
        "good": key.is_good(time.time()),
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "used_at": iso(key.used_at),
        "revoked_at": iso(key.revoked_at),
        "caps": key.caps,
    }


def _table(found: "list[ApiKey]") -> str:
    from nightkiln.cli.numbers import local_time

    rows = [("id", "name", "begins", "project", "scope", "state", "used")]
    now = time.time()
    for key in found:
        used = "never" if key.used_at is None else local_time(key.used_at)
        state = "good" if key.is_good(now) else "expired" if key.revoked_at is None else "revoked"
        rows.append((key.id, key.name, key.start, key.project, key.scope.value, state, used))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
