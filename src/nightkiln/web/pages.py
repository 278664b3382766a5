"""The list of a project's jobs, and the page of one job, which keeps itself up to date."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from nightkiln.core.errors import NotFound, UsageError
from nightkiln.http.access import Reader, Serving
from nightkiln.http.parts import Parts
from nightkiln.http.visit import Caller
from nightkiln.service.naming import find_job
from nightkiln.service.viewing import seen, whole_view
from nightkiln.store import chunks, jobs, paging
from nightkiln.web.drawing import Frame, drawn
from nightkiln.web.showing import JobPage, line_of, page_of
from nightkiln.web.signing import way_out

router: Final = APIRouter(include_in_schema=False)
_JOBS: Final = 50  # on a page
_COMMITS: Final = 20
_LONGEST: Final = 100  # letters of an id


@router.get("/")
async def list_jobs(
    request: Request,
    caller: Reader,
    parts: Serving,
    after: Annotated[str | None, Query(max_length=_LONGEST)] = None,
) -> Response:
    """The jobs of the caller's project, the newest first."""
    context, now = caller.context, parts.clock()
    page = paging.Page(limit=_JOBS, after=after)
    try:
        found, more = await context.store.read(
            lambda tx: jobs.list_jobs(tx, page, project=context.project)
        )
    except NotFound:
        return _nothing(request, caller, parts)
    lines = [line_of(await seen(context, job), now=now) for job in found]
    older = lines[-1].id if more and lines else None
    return drawn(
        "jobs.html",
        lines=lines,
        older=older,
        first=after is None,
        frame=_frame(request, caller, parts),
    )


@router.get("/jobs/{job_id}")
async def show_job(job_id: str, request: Request, caller: Reader, parts: Serving) -> Response:
    """One job as it stands."""
    try:
        page = await _page(job_id, caller, parts)
    except (NotFound, UsageError):
        return _nothing(request, caller, parts)
    return drawn("job.html", page=page, frame=_frame(request, caller, parts))


@router.get("/jobs/{job_id}/live")
async def refresh_job(job_id: str, caller: Reader, parts: Serving) -> Response:
    """What changes on the page of a job, for the script there. Raises NotFound."""
    return drawn("_job.html", page=await _page(job_id, caller, parts))


async def _page(job_id: str, caller: Caller, parts: Parts) -> JobPage:
    context = caller.context
    job = await find_job(context, job_id[:_LONGEST])
    commits = await context.store.read(lambda tx: chunks.last_committed(tx, job.id, limit=_COMMITS))
    return page_of(await whole_view(context, job), commits, now=parts.clock())


def _frame(request: Request, caller: Caller, parts: Parts) -> Frame:
    return Frame(project=caller.project, way_out=way_out(request, parts))


def _nothing(request: Request, caller: Caller, parts: Parts) -> Response:
    return drawn("nothing.html", status=404, frame=_frame(request, caller, parts))
