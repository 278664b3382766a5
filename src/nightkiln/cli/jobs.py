"""`nightkiln jobs`: what there is, how it stands, and what can be done with it.

The verbs work while another process runs a job. A job is named by its id, by
the beginning of one that fits no other, or by `last`.
"""

import os
import sys
from typing import TYPE_CHECKING

import click

from nightkiln.cli.lazy import Verb, holding
from nightkiln.cli.setting import (
    home,
    home_option,
    json_option,
    no_color_option,
    print_json,
    run_async,
    settings,
)

if TYPE_CHECKING:
    from nightkiln.cli.terminal import Terminal
    from nightkiln.core.events import JobView

_VERBS = holding(
    list=Verb("nightkiln.cli.jobs:list_jobs", "The jobs of this home, newest first."),
    show=Verb("nightkiln.cli.jobs:show", "One job: where it stands, its errors, its cost."),
    watch=Verb("nightkiln.cli.jobs:watch", "Follow a job that another process runs."),
    cancel=Verb("nightkiln.cli.jobs:cancel", "End a job early; its answers are kept."),
    pause=Verb("nightkiln.cli.jobs_going:pause", "Stop asking its rows until it is resumed."),
    resume=Verb("nightkiln.cli.jobs_going:resume", "Go on with it here and now."),
    retry=Verb("nightkiln.cli.jobs_going:retry", "Open the rows without a result again."),
    results=Verb("nightkiln.cli.jobs_out:results", "Write its table, or some of its rows."),
    errors=Verb("nightkiln.cli.jobs_errors:errors", "What went wrong with its rows, and why."),
    export=Verb("nightkiln.cli.jobs_out:export", "Write its table as files of any format."),
    delete=Verb("nightkiln.cli.jobs:delete", "Remove a job and all its files."),
    clean=Verb("nightkiln.cli.jobs_clean:clean", "Remove old jobs that are over."),
)


@click.group(cls=_VERBS)
@home_option
def jobs() -> None:
    """Look after jobs. JOB is an id, the beginning of one, or `last`."""


@click.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@home_option
def list_jobs(limit: int, as_json: bool) -> int:
    """The jobs of this home, newest first."""
    from nightkiln.cli.jobtable import JobList, row_report, table_of
    from nightkiln.core.errors import NotFound
    from nightkiln.sdk.verbs import looking

    async def read() -> "list[JobView]":
        async with looking(settings()) as app:
            return list(await app.jobs(limit=limit))

    try:
        views = run_async(read())
    except NotFound:
        views = []  # a home that nobody has used yet has no jobs
    if as_json:
        print_json(JobList(jobs=tuple(row_report(view) for view in views)))
    elif views:
        print(table_of(views))
    else:
        _err().say(f"no jobs in {home()}")
    return 0


@click.command()
@click.argument("job", default="last")
@json_option
@home_option
def show(job: str, as_json: bool) -> int:
    """One job: where it stands, its errors, its cost, its files."""
    from nightkiln.cli.jobtable import full_report, page_of

    view = run_async(_found(job))
    report = full_report(view, home())
    if as_json:
        print_json(report)
    else:
        print(page_of(report))
    return 0


@click.command()
@click.argument("job", default="last")
@json_option
@no_color_option
@home_option
def watch(job: str, as_json: bool, no_color: bool) -> int:
    """Follow a job that another process runs. Ctrl-C stops watching, not the job."""
    from nightkiln.cli.attached import Attached
    from nightkiln.cli.jobtable import full_report, headline, watched_exit_code

    shown = _err(no_color=no_color or settings().no_color)
    attached = Attached(shown, quiet=False)
    view = run_async(attached.watch(job, settings()))
    if as_json:
        print_json(full_report(view, home()))
    else:
        shown.say(headline(view))
    return attached.signal_code or watched_exit_code(view)


@click.command()
@click.argument("job")
@json_option
@home_option
def cancel(job: str, as_json: bool) -> int:
    """End a job early. Its answers are kept and stay downloadable."""
    from nightkiln.cli.jobtable import cancelled_line, full_report
    from nightkiln.sdk.verbs import doing

    async def ask() -> "JobView":
        found = await _found(job)
        async with doing(settings(), os.environ) as app:
            return await app.cancel(found.job.id)

    view = run_async(ask())
    if as_json:
        print_json(full_report(view, home()))
    else:
        _err().say(cancelled_line(view))
    return 0


@click.command()
@click.argument("job")
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
def delete(job: str, yes: bool) -> int:
    """Remove a job, its answers and its files. What was spent stays on record."""
    from nightkiln.cli.jobtable import headline
    from nightkiln.core.errors import NotFound, UsageError
    from nightkiln.core.job import JobState
    from nightkiln.sdk.verbs import doing

    view = run_async(_found(job))
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(
                f"deleting job {view.job.id} cannot be undone, and nobody is here to confirm it",
                hint=f"nightkiln jobs delete {view.job.id} --yes",
            )
        _err().say(headline(view))
        stops = "It runs now. Stop it and delete" if view.running else "Delete"
        if not click.confirm(f"{stops} it with all its answers?", err=True):
            return 1

    async def remove() -> None:
        async with doing(settings(), os.environ) as app:
            try:
                await app.delete(view.job.id)
            except NotFound:
                if view.job.state is not JobState.DELETING:
                    raise
                # opening the home has finished a deletion that was cut short

    run_async(remove())
    _err().say(f"job {view.job.id} is deleted")
    return 0


async def _found(job: str) -> "JobView":
    """The one job of that name. Raises NotFound; makes no home where there is none."""
    from nightkiln.sdk.verbs import looking

    async with looking(settings()) as app:
        return await app.job(job)


def _err(*, no_color: bool = False) -> "Terminal":
    from nightkiln.cli.terminal import terminal

    return terminal(sys.stderr, no_color=no_color)
