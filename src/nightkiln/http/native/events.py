"""/api/v1/jobs/ID/events: every commit in its order, and how the job changes meanwhile.

An event's id is the number of its commit, so a client that was cut off goes on with
`Last-Event-ID` and misses none. A retry commits chunks anew, under new numbers.
What webhooks were told comes after the end of the job's batch, so a stream, which ends
with the job, shows only what is there by then; whoever asks later sees how it went on.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from nightkiln.core.errors import NotFound
from nightkiln.core.job import Job
from nightkiln.http.access import Reader, Serving
from nightkiln.http.answers import json_answer
from nightkiln.http.native.described import gives, gives_events
from nightkiln.http.native.jobs import Limit
from nightkiln.http.parts import Phase
from nightkiln.http.streams import AGAIN_S, Counted, is_still_good
from nightkiln.service import webhooks
from nightkiln.service.api import CommitEvent, Events, JobObject, WebhookTold, job_object
from nightkiln.service.context import Context
from nightkiln.service.naming import find_job
from nightkiln.service.viewing import seen
from nightkiln.store import chunks

router: Final = APIRouter(tags=["events"])
_LOOK_S: Final = 0.5
_QUIET_S: Final = 15.0  # then a comment, so that nobody in between thinks it dead
_LONGEST_S: Final = 3600.0  # of one stream; clients connect again by themselves
_AT_ONCE: Final = 500
_MOST_SEQ: Final = 1 << 53
_DIGITS: Final = 16
Seq = Annotated[int, Query(ge=0, le=_MOST_SEQ, description="the last commit that is known")]


@router.get("/jobs/{job_id}/events", **gives(Events))
async def list_events(
    job_id: str,
    caller: Reader,
    after: Seq = 0,
    limit: Limit = 500,
    wait_s: Annotated[float, Query(ge=0, le=30, description="for something to happen")] = 0.0,
) -> Response:
    """List what happened after a commit, as soon as there is something, or after a while."""
    context, loop = caller.context, asyncio.get_running_loop()
    job = await find_job(context, job_id)
    until, before = loop.time() + wait_s, job.state
    while True:
        data = await _commits(context, job, after, limit=limit)
        job = await find_job(context, job.id)
        over = job.state.is_terminal or job.state is not before or loop.time() >= until
        if data or over:
            break
        await asyncio.sleep(_LOOK_S)
    last = data[-1].seq if data else after
    shown, told = job_object(await seen(context, job)), await _told(context, job)
    return json_answer(Events(data=data, last=last, job=shown, webhooks=told))


async def _known(job_id: str, caller: Reader) -> Job:
    """The job of a stream, before the stream begins: afterwards it is too late for a 404."""
    return await find_job(caller.context, job_id)


@router.get(
    "/jobs/{job_id}/events/stream",
    response_class=EventSourceResponse,
    **gives_events(),
)
async def stream_events(
    job: Annotated[Job, Depends(_known)],
    caller: Reader,
    parts: Serving,
    _counted: Counted,
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stream commits and changes of the job until it is over, as server-sent events."""
    context, loop = caller.context, asyncio.get_running_loop()
    seq = _seq_of(last_event_id)
    until, spoke, told = loop.time() + _LONGEST_S, loop.time(), None
    good_until = loop.time() + AGAIN_S
    while loop.time() < until and parts.standing.phase is not Phase.DRAINING:
        if loop.time() >= good_until:
            if not await is_still_good(parts, caller):
                return
            good_until = loop.time() + AGAIN_S
        try:
            found = await find_job(context, job.id)
        except NotFound:
            return  # deleted meanwhile
        commits = await _commits(context, job, seq, limit=_AT_ONCE)
        for one in commits:
            seq, spoke = one.seq, loop.time()
            yield _event("commit", one, seq)
        shown = job_object(await seen(context, found))
        if shown != told:
            told, spoke = shown, loop.time()
            yield _event("job", shown, None)
        if found.state.is_terminal and not commits:
            for sent in await _told(context, found):
                yield _event("webhook", sent, None)
            return
        if loop.time() - spoke > _QUIET_S:
            spoke = loop.time()
            yield ServerSentEvent(comment="still here")
        await asyncio.sleep(_LOOK_S)


def _seq_of(said: str | None) -> int:
    """The commit that a client saw last; what we never said counts as none."""
    return min(int(said), _MOST_SEQ) if said and len(said) <= _DIGITS and said.isdecimal() else 0


def _event(
    name: str, what: CommitEvent | JobObject | WebhookTold, seq: int | None
) -> ServerSentEvent:
    text = msgspec.json.encode(what).decode()
    return ServerSentEvent(event=name, raw_data=text, id=None if seq is None else str(seq))


async def _commits(
    context: Context, job: Job, after: int, *, limit: int
) -> tuple[CommitEvent, ...]:
    found = await context.store.read(
        lambda tx: chunks.committed_after(tx, job.id, after, limit=limit)
    )
    return tuple(
        CommitEvent(
            seq=chunk.commit_seq or 0,
            first_row=chunk.first_row,
            rows=chunk.rows,
            totals=chunk.totals,
        )
        for chunk in found
    )


async def _told(context: Context, job: Job) -> tuple[WebhookTold, ...]:
    """What webhooks were told of the job's batch: nothing while the job goes on."""
    if not job.state.is_terminal:
        return ()
    found = await webhooks.of_job(context, job.id)
    return tuple(msgspec.convert(one, WebhookTold, from_attributes=True) for one in found)
