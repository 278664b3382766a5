"""A job of ours as a batch: every state, every time, and that nothing goes back."""

import json

import openai.types as official
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.batches import BatchStatus, Moments
from nightkiln.core.ids import JobId
from nightkiln.core.job import MOVES, JobState, Wanted
from nightkiln.core.usage import Totals
from nightkiln.wire.openai.faultylines import batch_errors, empty_file
from nightkiln.wire.openai.objects import encode
from nightkiln.wire.openai.status import (
    BatchView,
    advanced,
    batch_id_of,
    batch_of,
    job_id_of,
    stamped,
    status_of,
)

J, B = JobState, BatchStatus
TOTALS = Totals(ok=5, failed=2, input_tokens=70, cached_tokens=20, output_tokens=30)


def view(state: JobState, **changed: object) -> BatchView:
    fields: dict[str, object] = {
        "id": "batch_1",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-1",
        "completion_window": "24h",
        "created_at": 10.9,
        "state": state,
    }
    return BatchView(**{**fields, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (J.VALIDATING, B.VALIDATING),
        (J.QUEUED, B.IN_PROGRESS),
        (J.RUNNING, B.IN_PROGRESS),
        (J.PAUSED, B.IN_PROGRESS),
        (J.FINALIZING, B.FINALIZING),
        (J.CANCELLING, B.CANCELLING),
        (J.SUCCEEDED, B.COMPLETED),
        (J.COMPLETED_WITH_ERRORS, B.COMPLETED),
        (J.CANCELLED, B.CANCELLED),
        (J.EXPIRED, B.EXPIRED),
        (J.FAILED, B.FAILED),
        (J.DELETING, None),
    ],
)
def test_every_state_of_a_job_is_a_status(state: JobState, status: BatchStatus | None) -> None:
    assert status_of(state, Wanted.RUN, Moments()) is status


def test_a_cancel_shows_before_a_worker_has_seen_it() -> None:
    for state in (J.VALIDATING, J.QUEUED, J.RUNNING, J.PAUSED, J.FINALIZING):
        assert status_of(state, Wanted.CANCEL, Moments()) is B.CANCELLING
    assert status_of(J.PAUSED, Wanted.PAUSE, Moments()) is B.IN_PROGRESS


def test_a_job_that_finished_before_it_saw_the_cancel_is_completed() -> None:
    assert status_of(J.SUCCEEDED, Wanted.CANCEL, Moments(cancelling_at=1.0)) is B.COMPLETED


def test_a_batch_that_is_over_stays_so_when_its_job_is_retried() -> None:
    moments = advanced(Moments(), J.COMPLETED_WITH_ERRORS, Wanted.RUN, now=5.0)
    for state in (J.QUEUED, J.RUNNING, J.FINALIZING, J.SUCCEEDED):
        assert status_of(state, Wanted.RUN, moments) is B.COMPLETED
        assert advanced(moments, state, Wanted.CANCEL, now=9.0) == moments


def test_a_pause_while_finalizing_does_not_lead_back() -> None:
    moments = stamped(Moments(in_progress_at=1.0), B.FINALIZING, now=2.0)
    assert status_of(J.PAUSED, Wanted.RUN, moments) is B.FINALIZING


def test_a_status_is_stamped_once() -> None:
    once = stamped(Moments(), B.IN_PROGRESS, now=1.0)
    assert once == Moments(in_progress_at=1.0)
    assert stamped(once, B.IN_PROGRESS, now=2.0) == once
    assert stamped(once, B.VALIDATING, now=2.0) == once


def test_a_status_too_short_to_be_seen_has_a_time_all_the_same() -> None:
    assert stamped(Moments(in_progress_at=1.0), B.COMPLETED, now=2.0) == Moments(
        in_progress_at=1.0, finalizing_at=2.0, completed_at=2.0
    )
    assert stamped(Moments(), B.CANCELLED, now=2.0) == Moments(cancelling_at=2.0, cancelled_at=2.0)
    assert stamped(Moments(), B.FAILED, now=2.0) == Moments(failed_at=2.0)
    assert stamped(Moments(), B.EXPIRED, now=2.0) == Moments(expired_at=2.0)


RANK = {
    B.VALIDATING: 0,
    B.IN_PROGRESS: 1,
    B.FINALIZING: 2,
    B.CANCELLING: 3,
    B.FAILED: 4,
    B.COMPLETED: 4,
    B.EXPIRED: 4,
    B.CANCELLED: 4,
}


@given(st.data())
def test_no_walk_of_a_job_leads_its_batch_back(data: st.DataObject) -> None:
    state, moments, seen = J.VALIDATING, Moments(), [B.VALIDATING]
    for now in range(1, 12):
        moments = advanced(moments, state, Wanted.RUN, now=float(now))
        status = status_of(state, Wanted.RUN, moments)
        assert status is not None
        seen.append(status)
        following = sorted(MOVES[state] - {J.DELETING})
        if not following:
            break
        state = data.draw(st.sampled_from(following))
    ranks = [RANK[status] for status in seen]
    assert ranks == sorted(ranks)
    assert len({status for status in seen if status.is_terminal}) <= 1
    if moments.end is not None:
        assert getattr(moments, f"{moments.end}_at") is not None


def test_a_batch_shows_its_counts_usage_and_whole_seconds() -> None:
    moments = Moments(in_progress_at=11.2, finalizing_at=12.9, completed_at=13.0)
    found = batch_of(
        view(
            J.COMPLETED_WITH_ERRORS,
            expires_at=86410.9,
            rows=7,
            totals=TOTALS,
            moments=moments,
            model="m",
            metadata={"a": "b"},
            output_file_id="file-2",
            error_file_id="file-3",
        )
    )
    assert json.loads(encode(found)) == {
        "id": "batch_1",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "model": "m",
        "errors": None,
        "input_file_id": "file-1",
        "completion_window": "24h",
        "status": "completed",
        "output_file_id": "file-2",
        "error_file_id": "file-3",
        "created_at": 10,
        "in_progress_at": 11,
        "expires_at": 86410,
        "finalizing_at": 12,
        "completed_at": 13,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 7, "completed": 5, "failed": 2},
        "usage": {
            "input_tokens": 70,
            "input_tokens_details": {"cached_tokens": 20},
            "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 100,
        },
        "metadata": {"a": "b"},
    }
    official.Batch.model_validate_json(encode(found), strict=True)


def test_counts_are_nothing_until_the_lines_are_known() -> None:
    found = batch_of(view(J.VALIDATING, totals=TOTALS))
    assert found is not None
    assert (found.request_counts.total, found.request_counts.failed) == (0, 0)


def test_lines_cut_short_are_failures_as_in_the_error_file() -> None:
    for state in (J.CANCELLED, J.EXPIRED):
        found = batch_of(view(state, rows=100, totals=TOTALS))
        assert found is not None
        counts = found.request_counts
        assert (counts.total, counts.completed, counts.failed) == (100, 5, 95)


def test_a_failed_batch_shows_its_errors() -> None:
    found = batch_of(view(J.FAILED, errors=batch_errors([empty_file()], most=1)))
    assert found is not None
    parsed = official.Batch.model_validate_json(encode(found), strict=True)
    assert parsed.errors is not None
    assert parsed.errors.data is not None
    assert [error.code for error in parsed.errors.data] == ["empty_file"]


def test_a_batch_that_is_being_deleted_is_none() -> None:
    assert batch_of(view(J.DELETING)) is None
    assert advanced(Moments(), J.DELETING, Wanted.RUN, now=1.0) == Moments()


def test_a_batch_and_its_job_have_the_same_letters() -> None:
    job = JobId("job_01hzx3kq")
    assert batch_id_of(job) == "batch_01hzx3kq"
    assert job_id_of("batch_01hzx3kq") == job
    for other in ("01hzx3kq", "job_01hzx3kq", "batch_", "batch_../x"):
        assert job_id_of(other) is None
