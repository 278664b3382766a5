"""A batch of messages as an object, lists of them, and their names. Pure.

A batch is a job under another name, so ids are made from the job's and found
back without a table. Times are epoch seconds here and RFC 3339 there.
"""

import datetime as dt
import enum
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from nightkiln.core.fault import FaultClass
from nightkiln.core.ids import JobId
from nightkiln.core.usage import Totals
from nightkiln.wire.anthropic.results import SUCCEEDED

PATH: Final = "/v1/messages/batches"
WINDOW_S: Final = 24 * 3600.0
RESULTS_S: Final = 29 * 24 * 3600.0
_PREFIX: Final = "msgbatch_"
_JOB: Final = "job_"
_ID: Final = re.compile(r"msgbatch_([0-9a-z]{1,64})")
_encode: Final = msgspec.json.Encoder().encode


class Status(enum.StrEnum):
    """How a batch stands."""

    IN_PROGRESS = "in_progress"
    CANCELING = "canceling"
    ENDED = "ended"


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """A batch's requests by what became of them; they always sum to all of them."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a batch. Times are epoch seconds."""

    job: JobId
    status: Status
    counts: Counts
    created_at: float
    expires_at: float  # created_at + WINDOW_S, where nothing else was asked
    ended_at: float | None = None
    cancel_initiated_at: float | None = None
    archived_at: float | None = None  # since when its results are gone


def batch_id(job: JobId) -> str:
    """The batch's name of a job."""
    return _PREFIX + job.removeprefix(_JOB)


def job_of(name: str) -> JobId | None:
    """The job behind a batch's name; None for what is no such name."""
    found = _ID.fullmatch(name)
    return JobId(_JOB + found[1]) if found else None


def message_id(job: JobId, row: int) -> str:
    """The name of the Message that answers a row."""
    return f"msg_{job.removeprefix(_JOB)}{row:08x}"


def results_path(job: JobId) -> str:
    """Where the results of a batch are, below the address that the client was given."""
    return f"{PATH}/{batch_id(job)}/results"


def counts_so_far(rows: int) -> Counts:
    """The counts of a batch that has not ended: Anthropic moves none of them before."""
    return Counts(processing=rows)


def counts_at_end(rows: int, totals: Totals, *, rest: FaultClass) -> Counts:
    """The counts of a batch that has ended.

    Rows that were never answered are `rest`: cancelled or expired.
    """
    faults = {FaultClass(name): count for name, count in totals.faults.items()}
    unanswered = rows - totals.answered
    faults[rest] = faults.get(rest, 0) + unanswered
    canceled = faults.pop(FaultClass.CANCELLED, 0)
    expired = faults.pop(FaultClass.EXPIRED, 0)
    said = sum(faults.pop(kind, 0) for kind in SUCCEEDED)
    succeeded = totals.ok + said
    return Counts(
        succeeded=succeeded,
        errored=rows - succeeded - canceled - expired,
        canceled=canceled,
        expired=expired,
    )


def batch_object(batch: Batch) -> bytes:
    """A batch, as JSON."""
    return _encode(_fields(batch))


def batch_page(batches: Sequence[Batch], *, has_more: bool) -> bytes:
    """A page of a list of batches, the newest first, as JSON."""
    return _encode(
        {
            "data": [_fields(batch) for batch in batches],
            "has_more": has_more,
            "first_id": batch_id(batches[0].job) if batches else None,
            "last_id": batch_id(batches[-1].job) if batches else None,
        }
    )


def deleted_object(job: JobId) -> bytes:
    """What a deletion replies, as JSON."""
    return _encode({"id": batch_id(job), "type": "message_batch_deleted"})


def tokens_object(input_tokens: int) -> bytes:
    """What counting tokens replies, as JSON."""
    return _encode({"input_tokens": input_tokens})


def _fields(batch: Batch) -> dict[str, object]:
    readable = batch.status is Status.ENDED and batch.archived_at is None
    return {
        "id": batch_id(batch.job),
        "type": "message_batch",
        "processing_status": batch.status,
        "request_counts": batch.counts,
        "created_at": _time(batch.created_at),
        "expires_at": _time(batch.expires_at),
        "ended_at": _time(batch.ended_at),
        "cancel_initiated_at": _time(batch.cancel_initiated_at),
        "archived_at": _time(batch.archived_at),
        "results_url": results_path(batch.job) if readable else None,
    }


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
