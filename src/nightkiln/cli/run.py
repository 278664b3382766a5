"""`nightkiln run`: one table through one model, attached and repeatable.

The options are declared here and checked in `options`; what happens with the
job is the business of `nightkiln.app`.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from nightkiln.cli.runoptions import MODEL, PACE, PROMPT, TABLES, RunCommand
from nightkiln.cli.setting import (
    home,
    home_option,
    json_option,
    no_color_option,
    print_json,
    run_async,
    typed_arguments,
)

if TYPE_CHECKING:
    from nightkiln.cli.options import Allowance
    from nightkiln.cli.terminal import Terminal
    from nightkiln.core.events import Ended, Planned
    from nightkiln.service.orders import Order


@click.command(cls=RunCommand)
@click.argument("input_name", metavar="INPUT")
@click.option(
    "-o",
    "--output",
    metavar="OUTPUT",
    help="A file (.csv, .jsonl), a folder with / at its end (Parquet), or - for standard"
    " output.  [default: results stay in the home]",
)
@MODEL.options
@PROMPT.options
@PACE.options
@TABLES.options
@click.option("--dry-run", is_flag=True, help="Show the plan; send nothing, spend nothing.")
@click.option("--new", is_flag=True, help="A new job, even where the same one exists.")
@click.option("--allow-errors", metavar="N|P%", help="Row errors that still count as success.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@json_option
@no_color_option
@home_option
def run(
    *,
    dry_run: bool,
    allow_errors: str | None,
    quiet: bool,
    as_json: bool,
    no_color: bool,
    **asked: Any,
) -> int:
    """Answer every row of INPUT (a CSV, JSONL or text file, or - for standard input).

    Without --prompt, --column or --messages the table must have one column.

    Run the same command again after a crash, Ctrl-C or a pause: the job goes
    on where it was, and rows with an answer are not asked again.
    """
    from nightkiln.cli.options import Asked, allowance_of, order_of
    from nightkiln.cli.terminal import terminal

    allowance = allowance_of(allow_errors)
    shown = terminal(sys.stderr, no_color=no_color)
    order = order_of(Asked(**asked), on_terminal=sys.stderr.isatty())
    if dry_run:
        return _planned(order, as_json=as_json)
    return _ran(order, allowance, shown, quiet=quiet, as_json=as_json)


def again_of(arguments: Sequence[str]) -> str:
    """The command to repeat: what was typed, without --new and without the values of headers."""
    kept: list[str] = []
    for argument in arguments:
        if argument == "--new":
            continue  # it would begin another job
        if kept and kept[-1] == "--header":
            kept.append(_without_value(argument))
        elif argument.startswith("--header="):
            kept.append("--header=" + _without_value(argument.removeprefix("--header=")))
        else:
            kept.append(argument)
    return shlex.join(["nightkiln", *kept])


def _without_value(header: str) -> str:
    return header.partition("=")[0] + "=..."


def _ran(
    order: "Order", allowance: "Allowance", shown: "Terminal", *, quiet: bool, as_json: bool
) -> int:
    from nightkiln.cli.attached import Attached
    from nightkiln.cli.summary import exit_code_of, report_of, summary_of

    again = again_of(typed_arguments())
    attached = Attached(shown, quiet=quiet or as_json)
    ended: Ended = run_async(attached.run(order, home(), environ=os.environ))
    code = exit_code_of(ended, allowance, signal_code=attached.signal_code)
    if as_json:
        print_json(report_of(ended, exit_code=code), to_stderr=order.output == "-")
    elif not quiet:
        shown.say(summary_of(ended, model=order.model or "the pilot", again=again))
    return code


def _planned(order: "Order", *, as_json: bool) -> int:
    from nightkiln.app import open_embedded
    from nightkiln.cli.summary import plan_of

    async def plan() -> "Planned":
        async with open_embedded(home(), environ=os.environ) as app:
            return await app.plan(order)

    planned = run_async(plan())
    if as_json:
        print_json(planned)
    else:
        print(plan_of(planned))
    return 0
