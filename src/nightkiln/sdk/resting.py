"""Which jobs wait at a server for somebody's word; they go on by themselves no more. Pure.

A job that waits for a backend or for its turn is not among them: nobody has to do
anything about that one.
"""

from nightkiln.app.duties import is_capped, is_tried
from nightkiln.core.events import JobView
from nightkiln.core.job import JobState, Wanted


def rests(view: JobView) -> bool:
    """True for a job that goes on only when somebody says so."""
    job = view.job
    if view.parked:
        return True
    if job.state is not JobState.PAUSED:
        return False
    return job.wanted is Wanted.PAUSE or is_tried(job) or is_capped(job)
