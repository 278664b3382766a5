"""A job as faces show it: its record, whether anybody works on it, and how far it is."""

import asyncio
from typing import Final

import msgspec

from nightkiln.core.events import JobView, Progressed
from nightkiln.core.job import Job, JobState, Live
from nightkiln.service.context import Context
from nightkiln.service.manner import went_to_several
from nightkiln.service.shares import shares_of

_RUNNING: Final = frozenset(
    {JobState.VALIDATING, JobState.RUNNING, JobState.FINALIZING, JobState.CANCELLING}
)


async def seen(context: Context, job: Job) -> JobView:
    """The same from an event loop, which must not wait for the disk that is asked."""
    if job.state not in _RUNNING:
        return JobView(job=job, running=False)
    return await asyncio.to_thread(view_of, context, job)


def view_of(context: Context, job: Job) -> JobView:
    """A job, and whether some process works on it now."""
    running = job.state in _RUNNING and context.home.is_running(job.id)
    return JobView(job=job, running=running)


async def whole_view(context: Context, job: Job) -> JobView:
    """A job with what each backend did for it, where there are several."""
    view = await seen(context, job)
    if not await went_to_several(context, job.id):
        return view
    shares = await asyncio.to_thread(shares_of, context.files(job.id), job)
    return msgspec.structs.replace(view, shares=shares)


def progress_of(job: Job, *, now: float) -> Progressed:
    """A job's progress as its runner last told it, never less than what is committed."""
    live = job.live
    if live is None or job.state.is_terminal or live.totals.answered < job.totals.answered:
        live = Live(at=now, totals=job.totals)
    return Progressed(job=job.id, phase=str(job.state), rows=job.rows, live=live)
