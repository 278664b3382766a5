"""A batch as a provider's API knows it, over a job. The job knows how far it is; this the rest."""

import enum
from typing import Final, NewType

import msgspec

from nightkiln.core.files import FileId
from nightkiln.core.ids import JobId, ProjectId
from nightkiln.core.usage import Totals

BatchId = NewType("BatchId", str)
_DAY_S: Final = 86_400.0
ANTHROPIC_KEEPS_S: Final = 29 * _DAY_S  # results, after the creation
OPENAI_KEEPS_S: Final = 30 * _DAY_S  # results, after the end, when nobody says otherwise


class Dialect(enum.StrEnum):
    """Whose batch API it came through."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    PART = "part"  # none: a share of a batch that asks several models


class BatchStatus(enum.StrEnum):
    """Where a batch stands, in OpenAI's words."""

    VALIDATING = "validating"
    FAILED = "failed"  # its input could not be taken
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """True when nothing of the batch changes any more."""
        return self in ENDS


ENDS: Final = (
    BatchStatus.COMPLETED,
    BatchStatus.CANCELLED,
    BatchStatus.EXPIRED,
    BatchStatus.FAILED,
)


class Moments(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a batch first had each status, in epoch seconds; None: it never had it."""

    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None

    @property
    def end(self) -> BatchStatus | None:
        """The terminal status that was reached; nothing follows it."""
        for status in ENDS:
            if getattr(self, f"{status}_at") is not None:
                return status
        return None


class LineFault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is wrong with the input of a batch; a line, or all of it."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None  # from 1; None: the whole file


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, and what only the wire needs to know of it."""

    id: BatchId
    project: ProjectId
    dialect: Dialect
    job: JobId | None  # None: its input could not be had
    endpoint: str  # a path, as the dialect writes it
    window: str = "24h"
    metadata: dict[str, str] | None = None
    input_file: FileId | None = None
    output_file: FileId | None = None
    error_file: FileId | None = None
    outputs_live_s: float | None = None  # how long output files are kept; None: the usual time
    faults: tuple[LineFault, ...] = ()
    created_at: float  # epoch seconds
    expires_at: float
    moments: Moments = Moments()
    ended_at: float | None = None  # its files are there; nothing changes any more
    generation: int = 1  # of the job: the pass that the batch shows
    model: str | None = None  # as its lines name it
    rows: int = 0  # this and `totals` once it has ended: jobs may be retried or deleted
    totals: Totals = Totals()
    caller: str = ""  # who asked for it, and for what: to know a create that is repeated
    digest: str = ""
    idempotency_key: str | None = None
    parts: tuple[BatchId, ...] = ()  # the shares it consists of; `job` is the first one's then
    whole: BatchId | None = None  # what it is a share of
    archived_at: float | None = None  # since when its results are gone

    @property
    def results_until(self) -> float | None:
        """When its results go; None: they are gone, never were, or the batch has not ended."""
        if self.ended_at is None or self.job is None or self.archived_at is not None:
            return None
        match self.dialect:
            case Dialect.ANTHROPIC:
                return self.created_at + ANTHROPIC_KEEPS_S
            case Dialect.OPENAI:
                kept_s = OPENAI_KEEPS_S if self.outputs_live_s is None else self.outputs_live_s
                return self.ended_at + kept_s
            case Dialect.PART:  # with the whole
                return None
