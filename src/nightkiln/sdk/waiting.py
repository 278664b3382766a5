"""One wait for a job: when it is over, and which error its end is.

The loops around it differ (one blocks a thread, one awaits); what a look means
does not. An end without all results is always an error, never None.
"""

import time
from typing import Final

from nightkiln.core.errors import (
    JobCancelled,
    JobExpired,
    JobFailed,
    JobStopped,
    JobTimeout,
    NightkilnError,
)
from nightkiln.core.events import JobView, Progressed
from nightkiln.core.job import JobState
from nightkiln.sdk.base import Following

STEP_S: Final = 1.0  # between looks, when nothing is told
_IDLE_LOOKS: Final = 3  # at a job that nobody runs, before that counts


class Wait:
    """A wait that has begun. Ask `wait_s` for each look and hand the look to `is_over`."""

    def __init__(self, job: str, timeout_s: float | None) -> None:
        self._job = job
        self._timeout_s = timeout_s
        self._until = None if timeout_s is None else time.monotonic() + timeout_s
        self._idle = 0
        self.seen: Progressed | None = None

    @property
    def wait_s(self) -> float:
        """How long the next look may take."""
        if self._until is None:
            return STEP_S
        return min(STEP_S, max(0.0, self._until - time.monotonic()))

    def is_over(self, found: Following) -> bool:
        """True when the job is. Raises JobTimeout, JobStopped, or what ended its run."""
        self.seen = found.progress
        if found.view.job.state.is_terminal and not found.active:  # else it is being continued
            return True
        self._idle = 0 if found.active else self._idle + 1
        if not found.active and found.trouble is not None:
            raise found.trouble
        if self._idle >= _IDLE_LOOKS:
            raise stopped(found.view)
        if self._until is not None and time.monotonic() >= self._until:
            raise timed_out(found, self._timeout_s)
        return False


def timed_out(found: Following, after_s: float | None) -> JobTimeout:
    """The wait was too short."""
    job, totals = found.view.job, found.progress.live.totals
    return JobTimeout(
        f"job {job.id} was not over after {after_s:g} s: {totals.answered:,} of {job.rows:,} rows"
        " are answered, and it goes on",
        hint=f'wait again: await_job_results("{job.id}", timeout=...)',
    )


def stopped(view: JobView) -> JobStopped:
    """Nobody works on the job."""
    why = f" ({view.job.reason})" if view.job.reason else ""
    return JobStopped(
        f"job {view.job.id} is {view.standing}{why} and nobody works on it; its answers are kept",
        hint=f'submit the same rows again, or job("{view.job.id}").resume()',
    )


def check_complete(view: JobView) -> None:
    """Raise the error of a job that ended without asking all of its rows."""
    if (error := _error_of(view)) is not None:
        raise error


def _error_of(view: JobView) -> NightkilnError | None:
    job = view.job
    kept = f'get_job_results("{job.id}") gives the {job.totals.answered:,} answers there are'
    match job.state:
        case JobState.CANCELLED:
            return JobCancelled(f"job {job.id} was cancelled", hint=kept)
        case JobState.EXPIRED:
            return JobExpired(f"the deadline of job {job.id} came first", hint=kept)
        case JobState.FAILED:
            return JobFailed(f"job {job.id} failed: {job.reason}", hint="mend the input, ask again")
    return None
