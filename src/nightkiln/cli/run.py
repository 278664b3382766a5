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

from nightkiln.cli.runoptions import MODEL, PACE, PROMPT, REUSE, TABLES, RunCommand
from nightkiln.cli.setting import (
    home_option,
    json_option,
    no_color_option,
    print_json,
    run_async,
    settings,
    typed_arguments,
)

if TYPE_CHECKING:
    from nightkiln.cli.finishing import Screen
    from nightkiln.core.events import Ended, Planned
    from nightkiln.service.manner import Changes
    from nightkiln.service.orders import Order


@click.command(cls=RunCommand)
@click.argument("input_name", metavar="INPUT")
@click.option(
    "-o",
    "--output",
    metavar="OUTPUT",
    help="A file (.csv, .tsv, .jsonl, .parquet, .xlsx; of text also .gz, .zst), a folder with / at"
    " its end (Parquet), or - for standard output.  [default: results stay in the home]",
)
@MODEL.options
@PROMPT.options
@PACE.options
@REUSE.options
@TABLES.options
@click.option("--dry-run", is_flag=True, help="Show the plan; send nothing, spend nothing.")
@click.option("--new", is_flag=True, help="A new job, even where the same one exists.")
@click.option(
    "--try",
    "try_rows",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Ask N rows first, chosen by chance; show them and what all would take; then ask you.",
)
@click.option("--yes", "-y", is_flag=True, help="After --try go on without a question.")
@click.option("--allow-errors", metavar="N|P%", help="Row errors that still count as success.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@json_option
@no_color_option
@home_option
def run(
    *,
    dry_run: bool,
    try_rows: int | None,
    yes: bool,
    allow_errors: str | None,
    quiet: bool,
    as_json: bool,
    no_color: bool,
    **asked: Any,
) -> int:
    """Answer every row of INPUT: CSV, TSV, JSONL, text, Parquet, XLSX, a URL, or - for stdin.

    Without --prompt, --column, --template or --messages the table must have one
    column.

    Run the same command again after a crash, Ctrl-C or a pause: the job goes
    on where it was, and rows with an answer are not asked again.
    """
    import msgspec

    from nightkiln.cli.finishing import Screen
    from nightkiln.cli.options import allowance_of, asked_of, flags_of, order_of
    from nightkiln.cli.terminal import terminal

    allowance = allowance_of(allow_errors)
    options = asked_of(**asked)
    chosen = settings({**flags_of(options), "no_color": no_color or None})
    shown = terminal(sys.stderr, no_color=chosen.no_color)
    order = order_of(options, chosen, on_terminal=sys.stderr.isatty())
    if dry_run:
        return _planned(order, as_json=as_json)
    order = msgspec.structs.replace(order, try_rows=try_rows)
    return _ran(order, Screen(shown, allowance, quiet=quiet, as_json=as_json, yes=yes))


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


def _ran(order: "Order", screen: "Screen") -> int:
    attached = screen.attached()
    ended: Ended = run_async(attached.run(order, settings(), environ=os.environ))
    model, to_stderr = model_for_screens(order), order.output == "-"
    if ended.trial is not None:
        if not screen.goes_on(ended.trial, to_stderr=to_stderr):
            return 0
        changes = _said_again(order, elsewhere=attached.is_elsewhere)
        paid = sum(not one.reused for one in ended.trial.tried)
        return screen.resume(ended.job, changes, model=model, to_stderr=to_stderr, paid=paid)
    return screen.finish(
        ended,
        signal_code=attached.signal_code,
        again=again_of(typed_arguments()),
        model=model,
        to_stderr=to_stderr,
    )


def _said_again(order: "Order", *, elsewhere: bool) -> "Changes":
    """What a job does not keep: a secret in an address or a header; at a server the output."""
    import msgspec

    from nightkiln.service.manner import Changes

    going = Changes(
        output=order.output,
        output_format=order.output_format,
        excel_safe=order.excel_safe,
        wait_s=order.wait_s,
    )
    places = (order.endpoint or "", *order.more_endpoints)
    if elsewhere and not any("://" in place for place in places):
        return going  # names are kept, and only an admin may say another one
    return msgspec.structs.replace(
        going,
        endpoint=order.endpoint,
        more_endpoints=order.more_endpoints,
        key=order.key,
        more_keys=order.more_keys,
        headers=order.headers,
    )


def model_for_screens(order: "Order") -> str:
    """What a summary calls the model; a batch file names it in its own lines."""
    return order.model or ("the pilot" if order.endpoint is None else "this model")


def _planned(order: "Order", *, as_json: bool) -> int:
    import msgspec

    from nightkiln.cli.summary import plan_of
    from nightkiln.sdk.verbs import doing

    async def plan() -> "Planned":
        async with doing(settings(), os.environ) as app:
            return await app.plan(order)

    planned = run_async(plan())
    if planned.bad and order.bad_rows is not None:
        note = f"--dry-run writes nothing, so no {order.bad_rows}; the run itself does"
        planned = msgspec.structs.replace(planned, notices=(*planned.notices, note))
    if as_json:
        print_json(planned)
    else:
        print(plan_of(planned))
    return 0
