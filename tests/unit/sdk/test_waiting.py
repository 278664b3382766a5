"""What a look at a job means for whoever waits."""

import msgspec
import pytest

from nightkiln.core.errors import (
    AuthError,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobStopped,
    JobTimeout,
    NightkilnError,
)
from nightkiln.core.events import JobView, Progressed
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job, JobSpec, JobState, Live, PromptSpec, SourceSpec
from nightkiln.core.usage import Totals
from nightkiln.sdk.base import Following
from nightkiln.sdk.waiting import Wait, check_complete

SOURCE = SourceSpec(kind="text", path="/x", name="x", size_bytes=1, sha256="0")
SPEC = JobSpec(source=SOURCE, prompt=PromptSpec(), model="m")
JOB = Job(id=JobId("job_1"), spec=SPEC, idempotency_key="k", created_at=0.0, rows=9)
LIVE = Progressed(job=JOB.id, phase="running", rows=9, live=Live(at=0.0, totals=Totals(ok=4)))


def look(state: JobState, *, active: bool, trouble: NightkilnError | None = None) -> Following:
    job = msgspec.structs.replace(JOB, state=state)
    view = JobView(job=job, running=active)
    return Following(view=view, progress=LIVE, active=active, trouble=trouble)


def test_a_job_that_is_over_ends_the_wait() -> None:
    assert Wait("job_1", 60).is_over(look(JobState.SUCCEEDED, active=False))
    assert not Wait("job_1", 60).is_over(look(JobState.RUNNING, active=True))


def test_the_error_of_a_wait_that_was_too_short_is_a_timeout_error_and_names_the_job() -> None:
    with pytest.raises(TimeoutError, match=r"job_1.*4 of 9 rows") as caught:
        Wait("job_1", 0).is_over(look(JobState.RUNNING, active=True))
    assert isinstance(caught.value, JobTimeout)


def test_nobody_at_work_counts_only_after_a_few_looks() -> None:
    wait, idle = Wait("job_1", None), look(JobState.RUNNING, active=False)
    assert not wait.is_over(idle)
    assert not wait.is_over(idle)
    assert not wait.is_over(look(JobState.RUNNING, active=True))
    assert not wait.is_over(idle)
    assert not wait.is_over(idle)
    with pytest.raises(JobStopped, match="interrupted"):
        wait.is_over(idle)


def test_what_ended_the_run_here_is_raised() -> None:
    found = look(JobState.PAUSED, active=False, trouble=AuthError("refused"))
    with pytest.raises(AuthError):
        Wait("job_1", None).is_over(found)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (JobState.CANCELLED, JobCancelled),
        (JobState.EXPIRED, JobExpired),
        (JobState.FAILED, JobFailed),
    ],
)
def test_an_end_without_all_answers_is_an_error(
    state: JobState, error: type[NightkilnError]
) -> None:
    with pytest.raises(error, match="job_1"):
        check_complete(look(state, active=False).view)


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.COMPLETED_WITH_ERRORS])
def test_row_errors_are_no_error_of_the_job(state: JobState) -> None:
    check_complete(look(state, active=False).view)
