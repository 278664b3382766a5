"""`jobs clean`: remove old jobs that are over, after a look at what would go."""

import os
import sys
from typing import TYPE_CHECKING

import click

from nightkiln.cli.setting import home_option, json_option, print_json, run_async, settings

if TYPE_CHECKING:
    from nightkiln.core.job import JobState
    from nightkiln.service.cleaning import Cleaned, OldJob

_SHOWN = 20


@click.command()
@click.option(
    "--older-than", default="30d", show_default=True, metavar="AGE", help="As 30d or 12h."
)
@click.option(
    "--state",
    metavar="STATES",
    help="succeeded, completed_with_errors, cancelled, expired, failed; with commas."
    "  [default: all of them]",
)
@click.option("--dry-run", is_flag=True, help="Show what would go; remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@home_option
def clean(older_than: str, state: str | None, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Remove jobs that ended long ago, with their answers and files.

    What was spent stays on record. A job that is in use is kept.
    """
    from nightkiln.core.errors import UsageError
    from nightkiln.sdk.verbs import doing
    from nightkiln.service.cleaning import age_of, states_of

    states, age_s = states_of(state), age_of(older_than)
    old = run_async(_old(states, age_s))
    if dry_run or not old:
        _tell(old, as_json=as_json, dry_run=dry_run)
        return 0
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(
                f"{len(old)} jobs would be removed for good, and nobody is here to confirm it",
                hint="add --yes, or look first with --dry-run",
            )
        _say(_listed(old))
        if not click.confirm(f"Remove {len(old)} jobs with all their answers?", err=True):
            return 1

    async def remove() -> "Cleaned":
        async with doing(settings(), os.environ) as app:
            return await app.clean(old)

    done = run_async(remove())
    if as_json:
        print_json({"dry_run": False, "deleted": done.deleted, "kept": done.kept})
    else:
        _say(f"{_sum(list(done.deleted))} removed")
        if done.kept:
            _say(f"{len(done.kept)} are in use and stay: {', '.join(one.job for one in done.kept)}")
    return 0


async def _old(states: "frozenset[JobState]", age_s: float) -> "list[OldJob]":
    from nightkiln.core.errors import NotFound
    from nightkiln.sdk.verbs import looking

    try:
        async with looking(settings()) as app:
            return await app.old_jobs(states=states, older_than_s=age_s)
    except NotFound:
        return []  # a home that nobody has used yet


def _tell(old: "list[OldJob]", *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        print_json({"dry_run": dry_run, "deleted": [], "would_delete": old, "kept": []})
    elif old:
        print(_listed(old))
        _say(f"{_sum(old)} would be removed")
    else:
        _say("no job is over and that old")


def _listed(old: "list[OldJob]") -> str:
    from nightkiln.cli.numbers import bytes_of, count, local_time

    lines = [
        f"{one.job}  {one.state:<21}  {local_time(one.ended_at)}  {count(one.rows):>11} rows"
        f"  {bytes_of(one.size_bytes):>9}"
        for one in old[:_SHOWN]
    ]
    more = [f"and {len(old) - _SHOWN} more"] if len(old) > _SHOWN else []
    return "\n".join(lines + more)


def _sum(old: "list[OldJob]") -> str:
    from nightkiln.cli.numbers import bytes_of

    noun = "job" if len(old) == 1 else "jobs"
    return f"{len(old)} {noun} ({bytes_of(sum(one.size_bytes for one in old))})"


def _say(text: str) -> None:
    from nightkiln.cli.terminal import terminal

    terminal(sys.stderr).say(text)
