"""How a job of ours shows itself as a batch of OpenAI's: its status, times, counts, usage. Pure.

A job may do what a batch never does: wait, be paused while it finalizes, go on
after its end with a retry. So a batch keeps `Moments`, the time of each status it
reached, and those decide where the state of the job would lead backwards. A batch
that is over stays what it was.
"""

from typing import Final

import msgspec

from nightkiln.core.batches import BatchStatus, Moments
from nightkiln.core.ids import JobId
from nightkiln.core.job import JobState, Wanted
from nightkiln.core.usage import Totals
from nightkiln.wire.openai.objects import (
    Batch,
    BatchErrors,
    BatchUsage,
    InputTokensDetails,
    RequestCounts,
)

_ENDS: Final = {
    JobState.SUCCEEDED: BatchStatus.COMPLETED,
    JobState.COMPLETED_WITH_ERRORS: BatchStatus.COMPLETED,  # even if every line failed
    JobState.CANCELLED: BatchStatus.CANCELLED,
    JobState.EXPIRED: BatchStatus.EXPIRED,
    JobState.FAILED: BatchStatus.FAILED,
}
_CUT_SHORT: Final = frozenset({BatchStatus.CANCELLED, BatchStatus.EXPIRED})


_JOB: Final = "job_"
_BATCH: Final = "batch_"


def batch_id_of(job: JobId) -> str:
    """The id of the batch that a job is; the lines of its files carry the same letters."""
    return _BATCH + job.removeprefix(_JOB)


def job_id_of(batch_id: str) -> JobId | None:
    """The job behind a batch; None for an id that no batch of ours has."""
    letters = batch_id.removeprefix(_BATCH)
    return JobId(_JOB + letters) if letters != batch_id and letters.isalnum() else None


_BEFORE: Final = {
    BatchStatus.COMPLETED: (BatchStatus.IN_PROGRESS, BatchStatus.FINALIZING),
    BatchStatus.CANCELLED: (BatchStatus.CANCELLING,),
}


class BatchView(msgspec.Struct, frozen=True, kw_only=True):
    """All that a batch shows, as the server holds it."""

    id: str
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: float
    expires_at: float | None = None
    metadata: dict[str, str] | None = None
    model: str | None = None
    errors: BatchErrors | None = None  # of a validation that failed
    output_file_id: str | None = None  # only if some line has a reply
    error_file_id: str | None = None  # only if some line has none
    state: JobState  # of the job
    wanted: Wanted = Wanted.RUN
    moments: Moments = Moments()
    rows: int = 0  # 0 until validated
    totals: Totals = Totals()  # of the generation that the batch is; `live` while it runs


def status_of(state: JobState, wanted: Wanted, moments: Moments) -> BatchStatus | None:
    """The status of a batch whose job is in `state`; None when it is being deleted.

    A cancel shows at once, before any worker has seen it. A paused job is in
    progress for OpenAI's clients: it waits, and goes on.
    """
    if state is JobState.DELETING:
        return None
    if (end := moments.end or _ENDS.get(state)) is not None:
        return end
    asked = wanted is Wanted.CANCEL or state is JobState.CANCELLING
    if asked or moments.cancelling_at is not None:
        return BatchStatus.CANCELLING
    if state is JobState.FINALIZING or moments.finalizing_at is not None:
        return BatchStatus.FINALIZING
    if state is JobState.VALIDATING and moments.in_progress_at is None:
        return BatchStatus.VALIDATING
    return BatchStatus.IN_PROGRESS


def stamped(moments: Moments, status: BatchStatus, *, now: float) -> Moments:
    """The moments once `status` has been reached. The first time counts; safe to repeat.

    A status that was too short to be seen on the way gets the same time, so a
    completed batch has all of its times. Nothing is stamped after the end.
    """
    if status is BatchStatus.VALIDATING or moments.end is not None:
        return moments
    reached = [*_BEFORE.get(status, ()), status]
    times = {f"{one}_at": now for one in reached if getattr(moments, f"{one}_at") is None}
    return msgspec.structs.replace(moments, **times)


def advanced(moments: Moments, state: JobState, wanted: Wanted, *, now: float) -> Moments:
    """The moments of a batch after its job came into `state`; safe to repeat.

    It has to be called for the end of a job before a retry can open it again.
    """
    status = status_of(state, wanted, moments)
    return moments if status is None else stamped(moments, status, now=now)


def batch_of(view: BatchView) -> Batch | None:
    """The batch as OpenAI's clients read it; None when its job is being deleted."""
    status = status_of(view.state, view.wanted, view.moments)
    if status is None:
        return None
    moments = view.moments
    return Batch(
        id=view.id,
        endpoint=view.endpoint,
        model=view.model,
        errors=view.errors,
        input_file_id=view.input_file_id,
        completion_window=view.completion_window,
        status=status,
        output_file_id=view.output_file_id,
        error_file_id=view.error_file_id,
        created_at=int(view.created_at),
        in_progress_at=_whole(moments.in_progress_at),
        expires_at=_whole(view.expires_at),
        finalizing_at=_whole(moments.finalizing_at),
        completed_at=_whole(moments.completed_at),
        failed_at=_whole(moments.failed_at),
        expired_at=_whole(moments.expired_at),
        cancelling_at=_whole(moments.cancelling_at),
        cancelled_at=_whole(moments.cancelled_at),
        request_counts=_counts(status, view.rows, view.totals),
        usage=_usage(view.totals),
        metadata=view.metadata,
    )


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)


def _counts(status: BatchStatus, rows: int, totals: Totals) -> RequestCounts:
    """Lines by what became of them; those cut short by an end are failures, as in the files."""
    if not rows:
        return RequestCounts()
    failed = rows - totals.ok if status in _CUT_SHORT else totals.failed
    return RequestCounts(total=rows, completed=totals.ok, failed=failed)


def _usage(totals: Totals) -> BatchUsage:
    return BatchUsage(
        input_tokens=totals.input_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=totals.cached_tokens),
        output_tokens=totals.output_tokens,
        total_tokens=totals.input_tokens + totals.output_tokens,
    )
