"""/api/v1/jobs: submit, look, and say what is to become of them."""

import asyncio
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from nightkiln.core.access import Scope
from nightkiln.core.errors import IllegalMove, MissingExtra, NotFound, UsageError
from nightkiln.core.events import Opening, Planned
from nightkiln.core.forecast import Assumed, Estimate, Trial
from nightkiln.core.job import TERMINAL, Job, JobState
from nightkiln.http.access import Reader, Serving, Writer
from nightkiln.http.answers import json_answer
from nightkiln.http.errors import Refuse
from nightkiln.http.native.bodies import body_of
from nightkiln.http.native.described import gives, takes
from nightkiln.http.parts import Parts, Taking
from nightkiln.http.shapes import Problem
from nightkiln.http.visit import Caller
from nightkiln.service import asking, deletion, trials
from nightkiln.service.api import (
    Deleted,
    Going,
    JobObject,
    NewJob,
    OldJobs,
    Page,
    Retrying,
    Submitted,
    job_object,
    order_of,
)
from nightkiln.service.cleaning import old_jobs
from nightkiln.service.context import Context
from nightkiln.service.manner import Changes
from nightkiln.service.naming import find_job
from nightkiln.service.selection import fault_classes
from nightkiln.service.viewing import seen, view_of, whole_view
from nightkiln.store import jobs, paging

router: Final = APIRouter(tags=["jobs"])
_NAME: Final = 200  # letters of a name that is looked for
_KEY: Final = 255
_MOST: Final = 1e9  # dollars, or tokens
_LEAST: Final = 1e-6  # what is divided by less than this is no number any more
_LONG_S: Final = 1e10  # 300 years

_KEY_REUSED: Final = Problem(
    status=409,
    code="idempotency_key_reused",
    message="this Idempotency-Key came before with another submission",
    hint="give every submission a key of its own",
    retry=False,
)

Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
Said = Annotated[
    float | None, Query(ge=_LEAST, le=_MOST, description="of the machine that answers")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=_KEY,
        description="the same submission with the same key is the same job",
    ),
]


@router.post(
    "/jobs",
    status_code=201,
    openapi_extra=takes(NewJob),
    **gives(Submitted, status=201, or_status=200),
)
async def create_job(
    request: Request, caller: Writer, parts: Serving, idempotency_key: IdempotencyKey = None
) -> Response:
    """Submit a job: 201 for a new one, 200 for one that is the same and goes on."""
    new = await body_of(request, NewJob)
    try:
        taken = await _taking(parts).submit(
            caller.context,
            order_of(new, key=caller.key.id),
            new.input,
            by=caller.key,
            key=idempotency_key,
        )
    except IllegalMove as error:
        if idempotency_key is None:
            raise
        raise Refuse(_KEY_REUSED) from error
    if parts.roster is not None and taken.how not in (Opening.FINISHED, Opening.WITH_ERRORS):
        parts.roster.resumed(taken.job.id)
    said = Submitted(
        how=taken.how,
        reused=taken.job.totals.answered,
        notices=taken.notices,
        job=job_object(await seen(caller.context, taken.job)),
    )
    return json_answer(said, status=201 if taken.how is Opening.NEW else 200)


@router.post("/jobs/plan", openapi_extra=takes(NewJob), **gives(Planned))
async def plan_job(request: Request, caller: Writer, parts: Serving) -> Response:
    """Say what a submission would do; nothing is made or sent."""
    new = await body_of(request, NewJob)
    order = order_of(new, key=caller.key.id)
    return json_answer(await _taking(parts).plan(caller.context, order, new.input, by=caller.key))


@router.post("/jobs/estimate", openapi_extra=takes(NewJob), **gives(Estimate))
async def estimate_job(
    request: Request,
    caller: Writer,
    parts: Serving,
    gpu_hour_usd: Annotated[
        float | None, Query(ge=_LEAST, le=_MOST, description="of what answers")
    ] = None,
    tokens_per_s: Annotated[
        float | None, Query(ge=_LEAST, le=_MOST, description="of what answers")
    ] = None,
) -> Response:
    """Say what a submission would take, as intervals; nothing is made or sent."""
    new = await body_of(request, NewJob)
    order = order_of(new, key=caller.key.id)
    assumed = Assumed(gpu_hour_usd=gpu_hour_usd, tokens_per_s=tokens_per_s)
    taking, context = _taking(parts), caller.context
    return json_answer(
        await taking.estimate(context, order, new.input, by=caller.key, assumed=assumed)
    )


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
async def get_job(job_id: str, caller: Reader, parts: Serving) -> Response:
    """Show a job, by its id, the beginning of one, or `last`."""
    job = await find_job(caller.context, job_id)
    view = await whole_view(caller.context, job)
    parked = parts.roster is not None and parts.roster.is_parked(job.id)
    return json_answer(job_object(msgspec.structs.replace(view, parked=parked)))


@router.get("/jobs/{job_id}/trial", **gives(Trial))
async def get_trial(job_id: str, caller: Reader) -> Response:
    """Show what the rows that were tried gave, and what all rows would take."""
    job = await find_job(caller.context, job_id)
    return json_answer(await trials.kept(caller.context, job))


@router.get("/old-jobs", **gives(OldJobs))
async def list_old_jobs(
    caller: Reader,
    older_than_s: Annotated[float, Query(ge=0, le=_LONG_S, description="since they ended")],
    state: Annotated[tuple[JobState, ...], Query(description="any of these; else all")] = (),
) -> Response:
    """List jobs that ended so long ago, the oldest first, with the room that they take."""
    states = frozenset(state) or TERMINAL
    if unended := states - TERMINAL:
        raise UsageError(f"no job that is over is {min(unended)}")
    found = await old_jobs(caller.context, states=states, older_than_s=older_than_s)
    return json_answer(OldJobs(data=tuple(found)))


@router.delete("/jobs/{job_id}", **gives(Deleted))
async def delete_job(job_id: str, caller: Writer, parts: Serving) -> Response:
    """Remove a job, named by its whole id, with all it has. What was spent stays on record."""
    job = await find_job(caller.context, job_id)
    if job.id != job_id:  # a beginning, or `last`, may come to mean another one
        raise NotFound(f"no job {job_id}", hint="a job is deleted by its whole id")
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
    found = await _own_to_ask(caller, job_id, parts)
    job = await asking.resume(caller.context, found.id, changes, by=caller.key.id)
    _resumed(parts, job)
    return await _shown(caller.context, job)


@router.post(
    "/jobs/{job_id}/retry", openapi_extra=takes(Retrying, required=False), **gives(JobObject)
)
async def retry_job(job_id: str, request: Request, caller: Writer, parts: Serving) -> Response:
    """Ask the rows without a result again, of these fault classes or of all."""
    wanted = await body_of(request, Retrying, empty=Retrying())
    classes = fault_classes(wanted.classes)
    found = await _own_to_ask(caller, job_id, parts)
    job = await asking.retry(
        caller.context, found.id, classes=classes, changes=Changes(), by=caller.key.id
    )
    _resumed(parts, job)
    return await _shown(caller.context, job)


async def _own_to_ask(caller: Caller, job_id: str, parts: Parts) -> Job:
    """A job whose model the caller may ask, whoever submitted it. Raises ModelDenied, NotFound."""
    job = await find_job(caller.context, job_id)
    await _taking(parts).check_goes_on(caller.context, job, by=caller.key)
    return job


def _changes(said: Going, caller: Caller) -> Changes:
    """What is said anew. Raises UsageError for what only an admin may say."""
    if not caller.key.may(Scope.ADMIN) and (
        said.endpoint or said.more_endpoints or said.key or said.more_keys
    ):
        raise UsageError("only a key of scope admin may name another endpoint or credential")
    return msgspec.convert(said, Changes, from_attributes=True)


async def _shown(context: Context, job: Job) -> Response:
    return json_answer(job_object(await seen(context, await find_job(context, job.id))))


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
