"""/api/v1/jobs/ID/rows/scan: rows by a text that they hold, sorted, as a stream while it looks.

The answer is the scan: `service.rowscan` says why. Closing the connection cancels it.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import StringConstraints

from nightkiln.core.errors import NightkilnError
from nightkiln.core.job import Job
from nightkiln.http.access import Reader, Serving
from nightkiln.http.described import schema_of
from nightkiln.http.errors import Refuse
from nightkiln.http.native.described import gives_events
from nightkiln.http.parts import Phase
from nightkiln.http.shapes import Problem
from nightkiln.service.naming import find_job
from nightkiln.service.rowpages import RowsWanted
from nightkiln.service.rowscan import (
    EACH,
    HITS,
    Hit,
    ScanEnd,
    ScanProgress,
    ScanWanted,
    check,
    scan,
)
from nightkiln.service.selection import fault_classes

router: Final = APIRouter(tags=["rows"])
_RETRY_S: Final = 2.0
_TOO_MANY: Final = Problem(
    status=429,
    code="too_many_scans",
    message=f"this project has {EACH} scans under way",
    hint="wait for one to end, or close one",
    retry_after_s=_RETRY_S,
)
_NAMES: Final[dict[type[msgspec.Struct], str]] = {
    ScanProgress: "progress",
    Hit: "hit",
    ScanEnd: "end",
}
_EVENTS: Final = {name: schema_of(kind) for kind, name in _NAMES.items()}
_Word = Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,100}$")]
_Name = Annotated[str | None, Query(min_length=1, max_length=1000)]
_Statuses = Annotated[tuple[Literal["ok", "error", "pending"], ...], Query(max_length=3)]
_Words = Annotated[tuple[_Word, ...], Query(max_length=20)]


def _wanted(  # noqa: PLR0913 - one for each filter
    text: Annotated[str, Query(max_length=1000, description="letters, in either case")] = "",
    column: _Name = None,
    sort: _Name = None,
    order: Literal["asc", "desc"] = "asc",
    start: Annotated[int, Query(ge=0, le=1 << 53, description="the row to begin at")] = 0,
    limit: Annotated[int, Query(ge=1, le=HITS, description="how many hits at most")] = HITS,
    status: _Statuses = (),
    fault: _Words = (),
    finish_reason: _Words = (),
) -> ScanWanted:
    """What is looked for, as the query says it."""
    rows = RowsWanted(
        start=start,
        limit=limit,
        status=frozenset(status),
        fault=fault_classes(fault),
        finish_reason=frozenset(finish_reason),
    )
    return ScanWanted(rows=rows, text=text, column=column, sort=sort, descending=order == "desc")


Wanted = Annotated[ScanWanted, Depends(_wanted)]


async def _known(job_id: str, caller: Reader, wanted: Wanted) -> Job:
    """The job, before the stream begins: afterwards it is too late for a 404 or a 400."""
    job = await find_job(caller.context, job_id)
    check(job, wanted)
    return job


async def _counted(caller: Reader, parts: Serving) -> AsyncIterator[None]:
    """A place among the scans of the project, until the answer is over."""
    if not parts.scans.begin(caller.project):
        raise Refuse(_TOO_MANY)
    try:
        yield
    finally:
        parts.scans.end(caller.project)


@router.get(
    "/jobs/{job_id}/rows/scan",
    response_class=EventSourceResponse,
    openapi_extra={"x-nightkiln-events": _EVENTS},
    **gives_events(),
)
async def scan_rows(
    job: Annotated[Job, Depends(_known)],
    wanted: Wanted,
    caller: Reader,
    parts: Serving,
    _place: Annotated[None, Depends(_counted)],
) -> AsyncIterator[ServerSentEvent]:
    """Look through rows for a text, or for the first ones by a column, as server-sent events.

    `progress` says how many rows are behind it; `hit` is a row, with long texts clipped; `end`
    says why it ended (`complete`, `enough`, `deadline`) and which row to go on from. With `sort`
    the hits come at the end, in that order; without, in row order as they are found. A
    closed connection cancels the scan. `error` ends one whose files cannot be read.
    """
    async with aclosing(scan(caller.context, job, wanted, parts.scans)) as events:
        try:
            async for one in events:
                if parts.standing.phase is Phase.DRAINING:
                    return
                yield _event(_NAMES[type(one)], one)
        except NightkilnError as error:  # the status was sent long ago
            yield _event("error", _Trouble(code=error.code, message=error.message))


class _Trouble(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    message: str


def _event(name: str, what: msgspec.Struct) -> ServerSentEvent:
    return ServerSentEvent(event=name, raw_data=msgspec.json.encode(what).decode())
