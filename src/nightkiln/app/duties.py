"""What a job wants done about it now, and when a run that ended early is begun again. Pure.

The roster asks this of every job that is not over, again and again; so nothing of
it has to be remembered over a death of the process.
"""

import enum
from typing import Final, Protocol

import msgspec

from nightkiln.app.jobrun import CAPPED, TRIED
from nightkiln.core.errors import (
    AuthError,
    DiskError,
    HomeBusy,
    QuotaError,
    UnreachableError,
    WaitTimeout,
)
from nightkiln.core.job import JobState, Wanted

AWAY: Final = (UnreachableError, AuthError, QuotaError, WaitTimeout, DiskError, HomeBusy)
"""What time or somebody else mends: the job waits, and is begun again."""


class Duty(enum.StrEnum):
    """What is to be done about a job."""

    CANCEL = "cancel"  # keep and publish what is answered
    PAUSE = "pause"  # say that it is paused: nobody runs it
    FINISH = "finish"  # publish: every answer is there, or its time is over
    RUN = "run"  # read its rows, ask them, publish
    SETTLE = "settle"  # end the batch over a job that is over
    EXPLAIN = "explain"  # say why it is left alone
    NONE = "none"


class Stands(Protocol):
    """A job, as far as what it wants done follows from it."""

    @property
    def state(self) -> JobState:
        """Where it stands."""
        ...

    @property
    def wanted(self) -> Wanted:
        """What somebody asked of its runner."""
        ...

    @property
    def reason(self) -> str:
        """Why it waits."""
        ...


def duty_of(job: Stands, *, deadline: float | None, now: float) -> Duty:
    """What a job that nobody works on wants done. `deadline` is when it expires."""
    state = job.state
    if state.is_terminal or state is JobState.DELETING:
        return Duty.SETTLE if state.is_terminal else Duty.NONE
    if state is JobState.CANCELLING or job.wanted is Wanted.CANCEL:
        return Duty.CANCEL
    if state is JobState.FINALIZING or (deadline is not None and now >= deadline):
        return Duty.FINISH
    if job.wanted is Wanted.PAUSE:
        obeyed = state in (JobState.PAUSED, JobState.VALIDATING)
        return Duty.NONE if obeyed else Duty.PAUSE
    return Duty.NONE if is_tried(job) else Duty.RUN


def is_tried(job: Stands) -> bool:
    """True for a job of which some rows were tried; the rest waits for somebody's word."""
    return job.state is JobState.PAUSED and job.reason.endswith(TRIED)


def is_capped(job: Stands) -> bool:
    """True for a job that a cap on what it may use has stopped."""
    return job.state is JobState.PAUSED and job.reason.endswith(CAPPED)


class Delays(msgspec.Struct, frozen=True, kw_only=True):
    """How long a job waits that could not go on: longer every time, up to a bound."""

    first_s: float = 2.0
    most_s: float = 300.0

    def after(self, failures: int) -> float:
        """The wait after so many runs in a row that got nowhere, from 1."""
        return min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30))
