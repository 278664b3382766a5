"""The batch object, lists of them, names, counts and errors, to the letter."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.fault import FaultClass
from nightkiln.core.ids import JobId, new_job_id
from nightkiln.core.usage import Totals
from nightkiln.wire.anthropic.batch import (
    WINDOW_S,
    Batch,
    Counts,
    Status,
    batch_id,
    batch_object,
    batch_page,
    counts_at_end,
    counts_so_far,
    deleted_object,
    job_of,
    message_id,
    tokens_object,
)
from nightkiln.wire.anthropic.errors import error_body

JOB = JobId("job_01abc")


def batch(job: JobId = JOB, **fields: object) -> Batch:
    whole: dict[str, object] = {
        "job": job,
        "status": Status.IN_PROGRESS,
        "counts": counts_so_far(5),
        "created_at": 1_700_000_000.25,
        "expires_at": 1_700_000_000.25 + WINDOW_S,
    }
    return Batch(**{**whole, **fields})  # type: ignore[arg-type]


def test_a_batch_in_progress_has_all_its_fields() -> None:
    assert json.loads(batch_object(batch())) == {
        "id": "msgbatch_01abc",
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": {
            "processing": 5,
            "succeeded": 0,
            "errored": 0,
            "canceled": 0,
            "expired": 0,
        },
        "created_at": "2023-11-14T22:13:20.250000Z",
        "expires_at": "2023-11-15T22:13:20.250000Z",
        "ended_at": None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": None,
    }


def test_results_have_an_address_from_the_end_until_they_are_gone() -> None:
    ended = batch(status=Status.ENDED, ended_at=1_700_000_001.0)
    found = json.loads(batch_object(ended))
    assert found["results_url"] == "/v1/messages/batches/msgbatch_01abc/results"
    assert found["ended_at"] == "2023-11-14T22:13:21.000000Z"
    gone = batch(status=Status.ENDED, ended_at=1_700_000_001.0, archived_at=1_800_000_000.0)
    assert json.loads(batch_object(gone))["results_url"] is None
    stopping = batch(status=Status.CANCELING, cancel_initiated_at=1_700_000_000.5)
    assert json.loads(batch_object(stopping))["results_url"] is None


def test_a_page_names_its_first_and_last() -> None:
    found = json.loads(batch_page([batch(), batch(JobId("job_00abc"))], has_more=True))
    assert [one["id"] for one in found["data"]] == ["msgbatch_01abc", "msgbatch_00abc"]
    assert found | {"data": []} == {
        "data": [],
        "has_more": True,
        "first_id": "msgbatch_01abc",
        "last_id": "msgbatch_00abc",
    }
    assert json.loads(batch_page([], has_more=False)) == {
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }


def test_small_objects_are_as_documented() -> None:
    assert json.loads(deleted_object(JOB)) == {
        "id": "msgbatch_01abc",
        "type": "message_batch_deleted",
    }
    assert json.loads(tokens_object(12)) == {"input_tokens": 12}


@given(st.floats(0, 4e9), st.binary(min_size=8, max_size=8), st.integers(0, 99_999))
def test_names_lead_back_to_the_job(now: float, entropy: bytes, row: int) -> None:
    job = new_job_id(now=now, entropy=entropy)
    assert job_of(batch_id(job)) == job
    assert message_id(job, row).startswith("msg_")
    assert message_id(job, row) != message_id(job, row + 1)


@pytest.mark.parametrize("name", ["", "msgbatch_", "job_01", "msgbatch_../x", "msgbatch_a\n"])
def test_what_is_no_name_leads_nowhere(name: str) -> None:
    assert job_of(name) is None


def test_counts_move_at_the_end_and_add_up() -> None:
    assert counts_so_far(9) == Counts(processing=9)
    faults = {"content": 1, "incomplete": 1, "permanent": 2, "cancelled": 1}
    totals = Totals(ok=2, failed=5, faults=faults)
    assert counts_at_end(9, totals, rest=FaultClass.EXPIRED) == Counts(
        succeeded=4, errored=2, canceled=1, expired=2
    )
    assert counts_at_end(9, totals, rest=FaultClass.CANCELLED) == Counts(
        succeeded=4, errored=2, canceled=3
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_an_error_has_the_type_of_its_status(status: int, kind: str) -> None:
    assert json.loads(error_body(status, "words", request_id="req_1")) == {
        "type": "error",
        "error": {"type": kind, "message": "words"},
        "request_id": "req_1",
    }
