"""`jobs results` and `jobs export`: a job's table, to read now or to keep as files."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nightkiln.cli.runoptions import EXCEL_SAFE, PUT
from nightkiln.cli.setting import home_option, json_option, print_json, run_async, settings
from nightkiln.tables.formats import WRITTEN

if TYPE_CHECKING:
    from nightkiln.core.job import Job
    from nightkiln.service.selection import Selection

STDOUT = "-"

PARTIAL = click.option(
    "--partial",
    is_flag=True,
    help="Of a job that is not over: its rows from the first to the last committed one.",
)
WHERE = click.option(
    "--where",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Only rows with status=error, fault=transient, finish_reason=length or backend=NAME."
    " Repeatable: values of one field are alternatives, all fields have to hold.",
)


@click.command()
@click.argument("job", default="last")
@click.option("-o", "--output", default=STDOUT, show_default=True, help="As for `nightkiln run`.")
@click.option("--output-format", type=click.Choice(PUT), metavar="|".join(WRITTEN))
@PARTIAL
@WHERE
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N rows of these.")
@EXCEL_SAFE
@json_option
@home_option
def results(
    job: str,
    output: str,
    output_format: str | None,
    partial: bool,
    where: tuple[str, ...],
    limit: int | None,
    excel_safe: bool,
    as_json: bool,
) -> int:
    """Write the table of a job, or some of its rows, to standard output or a file."""
    from nightkiln.service.selection import Selection, where_of

    wanted = Selection(partial=partial, where=where_of(where), limit=limit)
    found, rows = run_async(_written(job, output, output_format, wanted, excel_safe=excel_safe))
    is_over = found.state.is_terminal
    if as_json:
        record = {
            "job": found.id,
            "state": str(found.state),
            "output": output,
            "rows": rows,
            "of": found.rows,
            "partial": partial and not is_over,
        }
        print_json(record, to_stderr=output == STDOUT)
    elif output != STDOUT or (partial and not is_over):
        _say(_line(found, rows, output, wanted))
    return 0


@click.command()
@click.argument("job")
@click.argument("outputs", metavar="OUT...", nargs=-1, required=True)
@PARTIAL
@WHERE
@EXCEL_SAFE
@json_option
@home_option
def export(
    job: str,
    outputs: tuple[str, ...],
    partial: bool,
    where: tuple[str, ...],
    excel_safe: bool,
    as_json: bool,
) -> int:
    """Write the table of a job to one or more files, each in the format of its name.

    CSV, TSV, JSONL, Parquet, XLSX, or a folder of Parquet (a name that ends in /).
    """
    from nightkiln.core.errors import UsageError
    from nightkiln.service.selection import Selection, where_of

    if STDOUT in outputs:
        raise UsageError("`jobs export` writes files", hint=f"nightkiln jobs results {job}")
    wanted = Selection(partial=partial, where=where_of(where))
    files = []
    for output in outputs:
        found, rows = run_async(_written(job, output, None, wanted, excel_safe=excel_safe))
        if not as_json:
            _say(_line(found, rows, output, wanted))
        size = _size(Path(output).expanduser())
        files.append({"output": output, "rows": rows, "of": found.rows, "bytes": size})
    if as_json:
        print_json({"job": found.id, "state": str(found.state), "files": files})
    return 0


async def _written(
    job: str, output: str, output_format: str | None, wanted: "Selection", *, excel_safe: bool
) -> "tuple[Job, int]":
    """The job as it was when its table was written, and how many rows that were."""
    from nightkiln.sdk.verbs import looking

    async with looking(settings()) as app:
        found = (await app.job(job)).job
        rows = await app.export(
            found.id, output, output_format, excel_safe=excel_safe, wanted=wanted, notice=_say
        )
    return found, rows


def _line(job: "Job", rows: int, output: str, wanted: "Selection") -> str:
    from nightkiln.cli.numbers import count

    where = "on standard output" if output == STDOUT else f"in {output}"
    if wanted.partial and not job.state.is_terminal:
        so_far = f"{count(rows)} rows are {where}, from what is committed so far"
        return f"{so_far} of {count(job.rows)}"
    return f"{count(rows)} rows are {where}"


def _size(path: Path) -> int:
    """The bytes of a file, or of a folder's files."""
    if path.is_dir():
        return sum(one.stat().st_size for one in os.scandir(path) if one.is_file())
    return path.stat().st_size


def _say(text: str) -> None:
    from nightkiln.cli.terminal import terminal

    terminal(sys.stderr).say(text)
