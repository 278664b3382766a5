"""Which jobs wait at a server for somebody's word; they go on by themselves no more. Pure.

A job that waits for a backend or for its turn is not among them: nobody has to do
anything about that one.
"""

from nightkiln.app.jobrun import CAPPED, TRIED
from nightkiln.core.events import JobView
from nightkiln.core.job import Job, JobState, Wanted


def rests(view: JobView) -> bool:
    """True for a job that goes on only when somebody says so."""
    job = view.job
    if view.parked:
        return True
    if job.state is not JobState.PAUSED:
        return False
    return job.wanted is Wanted.PAUSE or is_tried(job) or is_capped(job)


def is_tried(job: Job) -> bool:
    """True for a job of which some rows were tried."""
    return job.state is JobState.PAUSED and job.reason.endswith(TRIED)


def is_capped(job: Job) -> bool:
    """True for a job that a cap on what it may use has stopped."""
    return job.state is JobState.PAUSED and job.reason.endswith(CAPPED)
