"""What a run tells whoever watches it, and what a face shows of a job."""

import enum

import msgspec

from nightkiln.core.forecast import Trial
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job, JobState, Live
from nightkiln.core.usage import Totals


class Opening(enum.StrEnum):
    """How a submission met what was already there."""

    NEW = "new"  # a new job
    ATTACHED = "attached"  # an unfinished job goes on
    FINISHED = "finished"  # it succeeded before: nothing is asked, nothing is paid
    WITH_ERRORS = "with_errors"  # it ended with row errors before: retry is a verb of its own
    CONTINUED = "continued"  # it was cancelled or had expired: its next generation
    WATCHING = "watching"  # another process runs it


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """The job is known and durable from here on."""

    job: JobId
    how: Opening
    state: JobState
    rows: int  # 0 while not validated
    reused: int  # rows answered before this run


class Progressed(msgspec.Struct, frozen=True, kw_only=True):
    """A step forward, or a second gone by."""

    job: JobId
    phase: str  # validating, running, finalizing, cancelling, exporting
    rows: int  # of the job; rows read so far while validating
    live: Live  # `live.totals` counts from row 0, reused rows included


class Noticed(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence the user should read once."""

    text: str


class FaultSample(msgspec.Struct, frozen=True, kw_only=True):
    """One class of row errors: how many, one of them, and what helps."""

    fault: str
    count: int
    row: int
    message: str
    fix: str


class BackendShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one backend of several did for a job."""

    backend: str
    rows: int
    cost_usd: float | None  # None: no price is known


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended; what the summary prints."""

    job: JobId
    state: JobState
    reason: str  # why it is paused or failed, or empty
    rows: int
    reused: int  # rows this run did not ask: answered before, or by an identical request's answer
    totals: Totals  # of the whole job
    spent: Totals  # over all generations
    elapsed_s: float
    rows_per_s: float
    tokens_per_s: float
    cost_usd: float | None  # None: no price is known
    faults: tuple[FaultSample, ...]
    output: str | None  # where the table was written
    bad: int = 0  # rows that could not be read, so they were not asked
    bad_rows: str | None = None  # the file that was to have them, and has
    skipped: int = 0  # of those, the ones that outputs leave out
    capped: bool = False  # a cap on what the job may use stopped it
    trial: Trial | None = None  # some rows were tried, and the rest waits for a word
    shares: tuple[BackendShare, ...] = ()  # where the rows went to several backends
    answered_by: tuple[str, ...] = ()  # models that answered this run and were not asked
    model: str = ""
    backend: str = ""  # all of them, where there are several
    why: str = ""  # this model and backend
    is_local: bool = False  # nobody can have charged anything
    engine_deaths: int = 0  # of an engine here, in this run: it was started again


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as a face shows it."""

    job: Job
    running: bool  # some process works on it now
    shares: tuple[BackendShare, ...] = ()  # where the rows went to several backends
    parked: bool = False  # whoever runs jobs cannot run it, and waits for somebody's word

    @property
    def standing(self) -> str:
        """The state in a word; `interrupted` when it should run and nobody runs it."""
        if self.job.state in (JobState.RUNNING, JobState.VALIDATING) and not self.running:
            return "interrupted"
        return str(self.job.state)


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would do (`--dry-run`); nothing was sent."""

    input_name: str
    format: str
    rows: int
    bad: int = 0  # of the rows: they will not be asked
    bad_rows: tuple[str, ...] = ()  # the first of them, in words
    columns: tuple[str, ...]
    model: str
    backend: str
    why: str = ""  # this model and backend
    concurrency: int
    opening: Opening
    job: JobId | None  # the job it would attach to
    reused: int
    prompt_sample: str  # the first row, rendered; cut to 500 characters
    output: str | None
    notices: tuple[str, ...] = ()  # what `run` would say of the input
