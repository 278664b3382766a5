"""/api/v1/jobs/ID: its rows in pages, its faults, and its results as files."""

import asyncio
import re
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from nightkiln.core.errors import UsageError
from nightkiln.http.access import Reader
from nightkiln.http.answers import json_answer
from nightkiln.http.native.bodies import beside, made
from nightkiln.http.native.described import gives, gives_bytes
from nightkiln.http.native.jobs import Limit
from nightkiln.service import badrows
from nightkiln.service.api import BadRows
from nightkiln.service.faultreport import FaultReport, Wish, faults_of
from nightkiln.service.naming import find_job
from nightkiln.service.results import export
from nightkiln.service.rowpages import RowPage, RowsWanted, rows_of
from nightkiln.service.selection import Selection, fault_classes, where_of
from nightkiln.service.tabled import write_answers, write_inputs

router: Final = APIRouter(tags=["rows"])
_STATUSES: Final = ("ok", "error", "pending")
_FAILURES: Final = "batch-errors"  # of a job over batch lines: those that have no reply
_LINES: Final = ("batch", _FAILURES)
_TYPES: Final = {
    "jsonl": "application/x-ndjson",
    "batch": "application/x-ndjson",
    _FAILURES: "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_ARROW: Final = "application/vnd.apache.arrow.stream"
_SHOWN: Final = 1000  # rows with a fault, where inputs are shown: they are answered in one piece
_FINISH: Final = re.compile(r"[\w.-]{1,100}")
Texts = Annotated[tuple[str, ...], Query(max_length=20)]
Partial = Annotated[bool, Query(description="of a job that is not over: what is committed")]


@router.get("/jobs/{job_id}/rows", **gives(RowPage))
async def list_rows(  # noqa: PLR0913 - one for each filter
    job_id: str,
    caller: Reader,
    start: Annotated[int, Query(ge=0, description="the row to begin at")] = 0,
    limit: Limit = 100,
    status: Texts = (),
    fault: Texts = (),
    finish_reason: Texts = (),
) -> Response:
    """List rows with their answers, in order; `next` says where the next page begins.

    A page may be empty and still have more: filters are looked up in pieces.
    """
    if unknown := [one for one in status if one not in _STATUSES]:
        raise UsageError(f"no status is {unknown[0]!r}", hint=f"there are: {', '.join(_STATUSES)}")
    if unknown := [one for one in finish_reason if not _FINISH.fullmatch(one)]:
        raise UsageError(f"no finish_reason is {unknown[0]!r}")
    wanted = RowsWanted(
        start=start,
        limit=limit,
        status=frozenset(status),
        fault=fault_classes(fault),
        finish_reason=frozenset(finish_reason),
    )
    job = await find_job(caller.context, job_id)
    return json_answer(await rows_of(caller.context, job, wanted))


@router.get("/jobs/{job_id}/faults", **gives(FaultReport))
async def list_faults(
    job_id: str,
    caller: Reader,
    rows: Annotated[int, Query(ge=0, le=100_000, description="how many to list one by one")] = 0,
    fault: Texts = (),
    show_input: Annotated[
        bool, Query(description="with what was asked, clipped: 1,000 rows")
    ] = False,
) -> Response:
    """Sum up what went wrong, by class, with a sample of each."""
    if show_input and rows > _SHOWN:
        raise UsageError(
            f"with inputs no more than {_SHOWN} rows are listed",
            hint="list fewer, or without inputs, or download the table",
        )
    job = await find_job(caller.context, job_id)
    wish = Wish(rows=rows, classes=fault_classes(fault), show_input=show_input)
    return json_answer(await faults_of(caller.context, job, wish))


@router.get("/jobs/{job_id}/bad-rows", **gives(BadRows))
async def count_bad_rows(job_id: str, caller: Reader) -> Response:
    """Count the rows that could not be read, and so are never asked."""
    job = await find_job(caller.context, job_id)
    found = await asyncio.to_thread(badrows.count, caller.context.files(job.id))
    return json_answer(BadRows(count=found))


@router.get("/jobs/{job_id}/bad-rows/lines", **gives_bytes(_TYPES["jsonl"]))
async def get_bad_rows(job_id: str, caller: Reader) -> Response:
    """Download these rows as JSON lines: row, line, reason, and the text as it was."""
    job, context = await find_job(caller.context, job_id), caller.context

    async def make(path: Path) -> int:
        return await asyncio.to_thread(badrows.write, context.files(job.id), str(path))

    name = f"{job.id}.bad-rows.jsonl"
    return await made(context, make, media_type=_TYPES["jsonl"], name=name, suffix=".jsonl")


@router.get("/jobs/{job_id}/results", **gives_bytes(*_TYPES.values()))
async def get_results(  # noqa: PLR0913 - what is written, and how
    job_id: str,
    caller: Reader,
    format: Annotated[str, Query(json_schema_extra={"enum": list(_TYPES)})] = "jsonl",  # noqa: A002
    partial: Partial = False,
    where: Texts = (),
    limit: Annotated[int | None, Query(ge=1, description="the first so many of these")] = None,
    excel_safe: Annotated[bool, Query(description="no cell begins like a formula")] = False,
) -> Response:
    """Download the table: the input's columns, then the answers, in row order."""
    if format not in _TYPES:
        raise UsageError(f"no format is {format!r}", hint=f"there are: {', '.join(_TYPES)}")
    wanted = Selection(partial=partial, where=where_of(where), limit=limit)
    job, context = await find_job(caller.context, job_id), caller.context

    async def make(path: Path) -> int:
        said = "batch" if format == _FAILURES else format
        rows = await export(context, job, str(path), said, excel_safe=excel_safe, wanted=wanted)
        others = await asyncio.to_thread(beside, path)
        if format == _FAILURES:
            await asyncio.to_thread(_take, others, path)
        elif others and format != "batch":
            raise UsageError(
                "some cells are too long for a workbook", hint="download parquet, jsonl or csv"
            )
        return rows

    suffix = ".jsonl" if format in _LINES else f".{format}"
    return await made(context, make, media_type=_TYPES[format], name=job.id + suffix, suffix=suffix)


def _take(failures: list[Path], path: Path) -> None:
    """Give the failures of an export instead of its replies; where there are none, nothing."""
    path.unlink()
    for one in failures:
        one.rename(path)


@router.get("/jobs/{job_id}/answers", **gives_bytes(_ARROW))
async def get_answers(job_id: str, caller: Reader, partial: Partial = False) -> Response:
    """Download the answers alone, one for each row, as an Arrow stream."""
    job, context = await find_job(caller.context, job_id), caller.context

    async def make(path: Path) -> None:
        await write_answers(context, job, path, partial=partial)

    return await made(context, make, media_type=_ARROW, name=f"{job.id}.arrows")


@router.get("/jobs/{job_id}/inputs", **gives_bytes(_ARROW))
async def get_inputs(job_id: str, caller: Reader, partial: Partial = False) -> Response:
    """Download the rows alone, in the types they came in, as an Arrow stream."""
    job, context = await find_job(caller.context, job_id), caller.context

    async def make(path: Path) -> None:
        await write_inputs(context, job, path, partial=partial)

    return await made(context, make, media_type=_ARROW, name=f"{job.id}.inputs.arrows")
