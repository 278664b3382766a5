"""`jobs errors`: the row errors of a job by class, and row by row if asked."""

from typing import TYPE_CHECKING

import click

from nightkiln.cli.setting import home_option, json_option, print_json, run_async, settings

if TYPE_CHECKING:
    from nightkiln.service.faultreport import FaultReport, FaultRow, FaultSummary

_LABEL = 10


@click.command()
@click.argument("job", default="last")
@click.option(
    "--rows", type=click.IntRange(0, 100_000), default=0, metavar="N", help="List N rows."
)
@click.option("--class", "classes", multiple=True, metavar="FAULT", help="Only this fault.")
@click.option("--show-input", is_flag=True, help="With --rows: what their columns hold, clipped.")
@json_option
@home_option
def errors(job: str, rows: int, classes: tuple[str, ...], show_input: bool, as_json: bool) -> int:
    """What went wrong with a job's rows: how often, why, and what helps.

    Of a running job as far as its rows are committed. Never shows what was
    asked, unless --show-input says so.
    """
    from nightkiln.sdk.verbs import looking
    from nightkiln.service.faultreport import Wish
    from nightkiln.service.selection import fault_classes

    wish = Wish(rows=rows, classes=fault_classes(classes), show_input=show_input)

    async def read() -> "FaultReport":
        async with looking(settings()) as app:
            return await app.faults(job, wish)

    report = run_async(read())
    if as_json:
        print_json(report)
    else:
        print(report_text(report, classes))
    return 0


def report_text(report: "FaultReport", classes: tuple[str, ...]) -> str:
    """What `jobs errors` prints; `classes` are those that were asked for, none for all."""
    from nightkiln.cli.numbers import count

    head = f"job {report.job} is {report.state.replace('_', ' ')}"
    if not report.faults:
        asked = f" of class {' or '.join(classes)}" if classes else ""
        return f"{head}: no row has a fault{asked}"
    lines = [f"{head}: {count(report.failed)} of {count(report.rows)} rows have a fault"]
    for one in report.faults:
        lines += _class(one)
    for row in report.listed:
        lines += _row(row)
    if not report.listed:
        lines.append(f"next: nightkiln jobs errors {report.job} --rows 20")
    return "\n".join(lines)


def _class(one: "FaultSummary") -> list[str]:
    from nightkiln.cli.numbers import count

    codes = ", ".join(f"{count(number)} {code}" for code, number in one.codes.items())
    return [
        f"{count(one.count)} {one.fault} ({codes})",
        _line("e.g.", f"row {one.row}: {one.message}"),
        _line("cause", one.cause),
        _line("fix", one.action),
    ]


def _row(row: "FaultRow") -> list[str]:
    name = f" ({row.custom_id})" if row.custom_id else ""
    lines = [f"row {row.row}{name}: {row.fault}: {row.message}"]
    return lines + [_line(key, value) for key, value in (row.input or {}).items()]


def _line(label: str, text: str) -> str:
    return f"  {label:<{_LABEL - 2}} {text}"
