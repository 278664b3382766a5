"""`jobs pause`, `resume` and `retry`: whether a job's rows are asked, and which of them again."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nightkiln.cli.runoptions import CAPS
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
    from nightkiln.cli.finishing import Screen
    from nightkiln.core.events import JobView
    from nightkiln.service.manner import Changes

F = TypeVar("F", bound=Callable[..., Any])


def going_options(command: F) -> F:
    """What may be said anew when a job goes on; everything else is as it was run last."""
    options = (
        click.option(
            "--endpoint",
            multiple=True,
            metavar="URL|NAME",
            help="Where to send the rows instead; repeatable. A key of the job's is not sent to"
            " another address.",
        ),
        click.option(
            "--key",
            multiple=True,
            metavar="REF",
            help="Another key: env:NAME, file:PATH or keyring:SERVICE/USER; repeatable, as for"
            " `nightkiln run`.",
        ),
        click.option(
            "--header",
            multiple=True,
            metavar="K=V",
            help="Needed again where there were any: their values are not kept.",
        ),
        click.option("--concurrency", type=click.IntRange(min=1), metavar="N"),
        *CAPS,
        click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS"),
        click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS"),
        click.option("-o", "--output", metavar="OUTPUT", help="Another file for the table."),
        click.option("--output-format", metavar="FORMAT", help="As for `nightkiln run`."),
        click.option(
            "--allow-errors", metavar="N|P%", help="Row errors that still count as success."
        ),
        click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("job")
@json_option
@home_option
def pause(job: str, as_json: bool) -> int:
    """Stop asking a job's rows until somebody resumes it. Every answer is kept.

    The process that runs it lets requests in flight end, for up to 10 seconds.
    """
    from nightkiln.cli.jobtable import full_report, headline
    from nightkiln.sdk.verbs import doing, looking

    async def ask() -> "JobView":
        async with looking(settings()) as reading:
            found = await reading.job(job)  # makes no home where there is none
        async with doing(settings(), os.environ) as app:
            return await app.pause(found.job.id)

    view = run_async(ask())
    if as_json:
        print_json(full_report(view, home()))
    else:
        _say(f"{headline(view)}\n  next: nightkiln jobs resume {view.job.id}")
    return 0


@click.command()
@click.argument("job")
@going_options
@json_option
@no_color_option
@home_option
def resume(job: str, as_json: bool, no_color: bool, **given: Any) -> int:
    """Go on with a job here and now, as it was run last.

    Ends a pause. Needs nothing typed again: where the rows go, with which key
    (kept by its reference) and how many at once is kept with the job.
    """
    view = run_async(_found(job))
    screen = _screen(given, as_json=as_json, no_color=no_color)
    changes = _changes(given)
    return screen.resume(view.job.id, changes, model=view.job.spec.model, to_stderr=False)


@click.command()
@click.argument("job")
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="FAULT",
    help="Only rows with this fault (transient, permanent ...); repeatable, or with commas.",
)
@click.option("--run", "at_once", is_flag=True, help="Ask the rows here and now.")
@going_options
@json_option
@no_color_option
@home_option
def retry(
    job: str,
    classes: tuple[str, ...],
    at_once: bool,
    as_json: bool,
    no_color: bool,
    **given: Any,
) -> int:
    """Open every row without a result again, as the job's next generation.

    Without --run nothing is asked yet: `jobs resume JOB` does, or the job's
    command again. Rows that never had an answer are opened with any --class.
    """
    from nightkiln.cli.jobtable import full_report
    from nightkiln.core.errors import UsageError
    from nightkiln.core.fault import FaultClass
    from nightkiln.sdk.verbs import doing
    from nightkiln.service.selection import fault_classes

    wanted = fault_classes(classes)
    if not at_once and (said := [name for name, value in given.items() if value]):
        raise UsageError(f"--{said[0].replace('_', '-')} is for --run", hint="add --run")

    async def ask() -> "tuple[JobView, int]":
        found = await _found(job)
        async with doing(settings(), os.environ) as app:
            view = await app.retry(found.job.id, classes=wanted)
            bad = 0 if wanted and FaultClass.PERMANENT not in wanted else await app.bad_rows(job)
            return view, bad

    view, bad = run_async(ask())
    if at_once:
        import msgspec

        screen = _screen(given, as_json=as_json, no_color=no_color)
        changes = msgspec.structs.replace(_changes(given), generation=view.job.generation)
        return screen.resume(view.job.id, changes, model=view.job.spec.model, to_stderr=False)
    if as_json:
        print_json(full_report(view, home()))
    else:
        left = max(0, view.job.rows - view.job.totals.answered - bad)
        never = f"; {bad} bad rows are never asked" if bad else ""
        _say(
            f"job {view.job.id} is open again for {left} rows (generation"
            f" {view.job.generation}){never}\n  next: nightkiln jobs resume {view.job.id}"
        )
    return 0


async def _found(job: str) -> "JobView":
    """The one job of that name. Raises NotFound; makes no home where there is none."""
    from nightkiln.sdk.verbs import looking

    async with looking(settings()) as app:
        return await app.job(job)


def _screen(given: dict[str, Any], *, as_json: bool, no_color: bool) -> "Screen":
    from nightkiln.cli.finishing import Screen
    from nightkiln.cli.options import allowance_of
    from nightkiln.cli.terminal import terminal

    return Screen(
        terminal(sys.stderr, no_color=no_color or settings().no_color),
        allowance_of(given["allow_errors"]),
        quiet=given["quiet"],
        as_json=as_json,
        yes=True,
    )


def _changes(given: dict[str, Any]) -> "Changes":
    from nightkiln.cli.options import first_and_more, header_of, wait_of
    from nightkiln.plan.budget import Caps
    from nightkiln.service.manner import Changes

    wait_s = settings().wait if given["wait"] is None else given["wait"]
    endpoint, more_endpoints = first_and_more(given["endpoint"])
    key, more_keys = first_and_more(given["key"])
    return Changes(
        endpoint=endpoint,
        more_endpoints=more_endpoints,
        key=key,
        more_keys=more_keys,
        headers=tuple(header_of(text) for text in given["header"]),
        timeout_s=given["timeout"],
        concurrency=given["concurrency"],
        caps=Caps(
            cost_usd=given["max_cost"],
            tokens=given["max_tokens_total"],
            until=given["deadline"],
        ),
        output=given["output"],
        output_format=given["output_format"],
        wait_s=wait_of(wait_s, on_terminal=sys.stderr.isatty()),
    )


def _say(text: str) -> None:
    from nightkiln.cli.terminal import terminal

    terminal(sys.stderr).say(text)
