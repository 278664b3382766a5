"""/api/v1/jobs: submit, look, and say what is to become of them."""

import asyncio
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from nightkiln.core.access import Scope
from nightkiln.core.errors import MissingExtra, UsageError
from nightkiln.core.events import Opening, Planned
from nightkiln.core.forecast import Estimate
from nightkiln.core.job import Job, JobState
from nightkiln.http.access import Reader, Serving, Writer
from nightkiln.http.answers import json_answer
from nightkiln.http.native.bodies import body_of
from nightkiln.http.native.described import gives, takes
from nightkiln.http.parts import Parts, Taking
from nightkiln.http.visit import Caller
from nightkiln.service import asking, deletion, keys
from nightkiln.service.api import (
    Deleted,
    Going,
    JobObject,
    NewJob,
    Page,
    Retrying,
    Submitted,
    job_object,
    order_of,
)
from nightkiln.service.arriving import FromRows
from nightkiln.service.context import Context
from nightkiln.service.manner import Changes
from nightkiln.service.naming import find_job
from nightkiln.service.selection import fault_classes
from nightkiln.service.viewing import view_of, whole_view
from nightkiln.store import jobs, paging

router: Final = APIRouter(tags=["jobs"])
_NAME: Final = 200  # letters of a name that is looked for
_KEY: Final = 255

Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=_KEY,
        description="the same submission with the same key is the same job",
    ),
]


@router.post("/jobs", status_code=201, openapi_extra=takes(NewJob), **gives(Submitted, status=201))
async def create_job(
    request: Request, caller: Writer, parts: Serving, idempotency_key: IdempotencyKey = None
) -> Response:
    """Submit a job: 201 for a new one, 200 for one that is the same and goes on."""
    new = await body_of(request, NewJob)
    rows = len(new.input.rows) if isinstance(new.input, FromRows) else 0
    await keys.check_caps(caller.context, caller.key, rows=rows)
    taken = await _taking(parts).submit(
        caller.context,
        order_of(new, key=caller.key.id),
        new.input,
        free=caller.key.may(Scope.ADMIN),
        key=idempotency_key,
    )
    if parts.roster is not None and taken.how not in (Opening.FINISHED, Opening.WITH_ERRORS):
        parts.roster.resumed(taken.job.id)
    said = Submitted(
        how=taken.how,
        reused=taken.job.totals.answered,
        notices=taken.notices,
        job=job_object(view_of(caller.context, taken.job)),
    )
    return json_answer(said, status=201 if taken.how is Opening.NEW else 200)


@router.post("/jobs/plan", openapi_extra=takes(NewJob), **gives(Planned))
async def plan_job(request: Request, caller: Writer, parts: Serving) -> Response:
    """Say what a submission would do; nothing is made or sent."""
    new = await body_of(request, NewJob)
    order, free = order_of(new, key=caller.key.id), caller.key.may(Scope.ADMIN)
    return json_answer(await _taking(parts).plan(caller.context, order, new.input, free=free))


@router.post("/jobs/estimate", openapi_extra=takes(NewJob), **gives(Estimate))
async def estimate_job(request: Request, caller: Writer, parts: Serving) -> Response:
    """Say what a submission would take, as intervals; nothing is made or sent."""
    new = await body_of(request, NewJob)
    order, free = order_of(new, key=caller.key.id), caller.key.may(Scope.ADMIN)
    return json_answer(await _taking(parts).estimate(caller.context, order, new.input, free=free))


@router.get("/jobs", **gives(Page[JobObject]))
async def list_jobs(
    caller: Reader,
    limit: Limit = 50,
    after: Annotated[str | None, Query(description="the last job of the page before")] = None,
    state: Annotated[tuple[JobState, ...], Query(description="any of these states")] = (),
    name: Annotated[str | None, Query(max_length=_NAME, description="this exact name")] = None,
) -> Response:
    """List jobs, the newest first."""
    context = caller.context
    page = paging.Page(limit=limit, after=after)
    found, more = await context.store.read(
        lambda tx: jobs.list_jobs(
            tx, page, project=context.project, states=frozenset(state), name=name
        )
    )
    shown = await asyncio.to_thread(
        lambda: tuple(job_object(view_of(context, job)) for job in found)
    )
    return json_answer(
        Page(data=shown, has_more=more, after=shown[-1].id if more and shown else None)
    )


@router.get("/jobs/{job_id}", **gives(JobObject))
async def get_job(job_id: str, caller: Reader) -> Response:
    """Show a job, by its id, the beginning of one, or `last`."""
    job = await find_job(caller.context, job_id)
    return json_answer(job_object(await whole_view(caller.context, job)))


@router.delete("/jobs/{job_id}", **gives(Deleted))
async def delete_job(job_id: str, caller: Writer, parts: Serving) -> Response:
    """Remove a job with its answers and files. What was spent stays on record."""
    job = await find_job(caller.context, job_id)
    await deletion.delete(caller.context, job.id)
    _wake(parts)
    return json_answer(Deleted(id=job.id))


@router.post("/jobs/{job_id}/cancel", **gives(JobObject))
async def cancel_job(job_id: str, caller: Writer, parts: Serving) -> Response:
    """Ask for an early end; the answers at hand are kept. It has ended when its state says so."""
    job = await asking.cancel(caller.context, job_id)
    _wake(parts)
    return await _shown(caller.context, job)


@router.post("/jobs/{job_id}/pause", **gives(JobObject))
async def pause_job(job_id: str, caller: Writer, parts: Serving) -> Response:
    """Ask for a rest; requests in flight still end."""
    job = await asking.pause(caller.context, job_id)
    _wake(parts)
    return await _shown(caller.context, job)


@router.post(
    "/jobs/{job_id}/resume", openapi_extra=takes(Going, required=False), **gives(JobObject)
)
async def resume_job(job_id: str, request: Request, caller: Writer, parts: Serving) -> Response:
    """Let a job go on, as it was run last but for what is said anew."""
    changes = _changes(await body_of(request, Going, empty=Going()), caller)
    job = await asking.resume(caller.context, job_id, changes)
    _resumed(parts, job)
    return await _shown(caller.context, job)


@router.post(
    "/jobs/{job_id}/retry", openapi_extra=takes(Retrying, required=False), **gives(JobObject)
)
async def retry_job(job_id: str, request: Request, caller: Writer, parts: Serving) -> Response:
    """Ask the rows without a result again, of these fault classes or of all."""
    wanted = await body_of(request, Retrying, empty=Retrying())
    classes = fault_classes(wanted.classes)
    job = await asking.retry(caller.context, job_id, classes=classes, changes=Changes())
    _resumed(parts, job)
    return await _shown(caller.context, job)


def _changes(said: Going, caller: Caller) -> Changes:
    """What is said anew. Raises UsageError for what only an admin may say."""
    if not caller.key.may(Scope.ADMIN) and (said.endpoint or said.key):
        raise UsageError("only a key of scope admin may name another endpoint or credential")
    return msgspec.convert(said, Changes, from_attributes=True)


async def _shown(context: Context, job: Job) -> Response:
    return json_answer(job_object(view_of(context, await find_job(context, job.id))))


def _taking(parts: Parts) -> Taking:
    if parts.taking is None:
        raise MissingExtra("this server takes no jobs in")
    return parts.taking


def _wake(parts: Parts) -> None:
    if parts.roster is not None:
        parts.roster.wake()


def _resumed(parts: Parts, job: Job) -> None:
    if parts.roster is not None:
        parts.roster.resumed(job.id)
