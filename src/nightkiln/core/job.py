"""A job, what it asks for, and the moves it may make.

Pure data: nothing here reads a clock, a disk or a socket. Nobody assigns a
state; `moved` consults the one table of legal moves.
"""

import enum
from typing import Final

import msgspec

from nightkiln.core.errors import IllegalMove
from nightkiln.core.ids import DEFAULT_PROJECT, JobId, ProjectId
from nightkiln.core.usage import Totals


class JobState(enum.StrEnum):
    """Where a job stands. The value is what users, SQL and wires see."""

    VALIDATING = "validating"  # its rows stream into input segments
    QUEUED = "queued"  # every row is known; nobody works on it
    RUNNING = "running"  # a worker leases its chunks
    PAUSED = "paused"  # waits for a person, and says why
    FINALIZING = "finalizing"  # every answer is there; results are being published
    CANCELLING = "cancelling"  # answers at hand are being kept and published
    SUCCEEDED = "succeeded"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"  # its input could not be taken
    DELETING = "deleting"  # a tombstone: files go, then the row

    @property
    def is_terminal(self) -> bool:
        """True when results are downloadable and only a retry or delete can follow."""
        return self in TERMINAL


_S = JobState
MOVES: Final[dict[JobState, frozenset[JobState]]] = {
    _S.VALIDATING: frozenset({_S.QUEUED, _S.FAILED, _S.CANCELLING, _S.DELETING}),
    _S.QUEUED: frozenset({_S.RUNNING, _S.PAUSED, _S.CANCELLING, _S.FINALIZING, _S.DELETING}),
    _S.RUNNING: frozenset({_S.QUEUED, _S.PAUSED, _S.FINALIZING, _S.CANCELLING, _S.DELETING}),
    _S.PAUSED: frozenset({_S.QUEUED, _S.RUNNING, _S.CANCELLING, _S.FINALIZING, _S.DELETING}),
    _S.FINALIZING: frozenset(
        {_S.SUCCEEDED, _S.COMPLETED_WITH_ERRORS, _S.EXPIRED, _S.PAUSED, _S.DELETING}
    ),
    _S.CANCELLING: frozenset({_S.CANCELLED, _S.PAUSED, _S.DELETING}),
    _S.SUCCEEDED: frozenset({_S.DELETING}),
    _S.COMPLETED_WITH_ERRORS: frozenset({_S.QUEUED, _S.DELETING}),  # queued: a retry
    # A retry; of a job that was cancelled before its rows were known, from the beginning.
    _S.CANCELLED: frozenset({_S.QUEUED, _S.VALIDATING, _S.DELETING}),
    _S.EXPIRED: frozenset({_S.QUEUED, _S.DELETING}),
    _S.FAILED: frozenset({_S.DELETING}),
    _S.DELETING: frozenset(),
}
TERMINAL: Final = frozenset(
    {_S.SUCCEEDED, _S.COMPLETED_WITH_ERRORS, _S.CANCELLED, _S.EXPIRED, _S.FAILED}
)


class Wanted(enum.StrEnum):
    """What somebody asked of the runner; it polls this and obeys."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class Task(enum.StrEnum):
    """What kind of answer a job asks for: one kind of endpoint for all of its rows."""

    CHAT = "chat"  # messages in, a message out
    COMPLETION = "completion"  # a text goes on
    EMBEDDING = "embedding"  # a text becomes a vector
    RESPONSE = "response"  # OpenAI's Responses


class BatchHead(msgspec.Struct, frozen=True, kw_only=True):
    """What all lines of a batch file have in common; its first good line says it."""

    url: str = ""  # where its requests go, as OpenAI writes it; empty: no line is good
    model: str | None = None  # None: lines may name any, for it is replaced
    unserved: bool = False  # True: nobody here answers for that model, so every line is bad
    supported: tuple[str, ...] = ()  # the first models that could be named instead of it
    translated: bool = False  # True: we wrote the lines ourselves, from another dialect's requests


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the rows come from and how to read them."""

    kind: str  # a name in tables.FORMATS: csv, jsonl, parquet and so on
    path: str  # absolute; of stdin and URLs the spooled copy; a folder or pattern of Parquet files
    name: str  # what the user called it, for screens
    size_bytes: int
    sha256: str  # of the raw bytes; a source that changed is refused
    spooled: bool = False  # True: the file is ours and goes with the job
    framed: bool = False  # True: it came from Python, and goes back there under other names
    delimiter: str = ","
    id_column: str | None = None  # a column whose values are the rows' custom ids
    limit: int | None = None  # take only the first rows
    batch: BatchHead | None = None  # of a file of OpenAI's batch lines
    sheet: str | None = None  # of a workbook; None: the first
    encoding: str | None = None  # of the text; None: UTF-8, anything else is refused
    compression: str | None = None  # gzip or zstd; None: the file is as it reads
    on_bad_row: str = "error"  # what becomes of a row that cannot be read: error, fail or skip


class PromptSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a row becomes a prompt: one of columns, template, jinja or a messages column."""

    columns: tuple[str, ...] = ()
    separator: str = "\n"
    template: str | None = None
    jinja: str | None = None  # the text of a Jinja template
    messages_column: str | None = None
    system: str | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked of the model; `extra` goes into the request as given."""

    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    extra: dict[str, msgspec.Raw] = {}


class Label(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What people call a job and how urgent it is. No part of the job's identity."""

    name: str = ""
    description: str = ""
    priority: int = 0  # 0: somebody waits for it; 1: it has time
    output_column: str = ""  # what the SDK calls the answers; empty: its usual name
    key: str = ""  # the id of the API key that submitted it; empty: nobody had to be known


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What was submitted. Never changes; the identity of a job derives from it."""

    source: SourceSpec
    prompt: PromptSpec
    model: str
    task: Task = Task.CHAT
    sampling: Sampling = Sampling()
    output_schema: str | None = None  # the JSON text of a schema that every answer has to fit
    keep_bodies: bool = False  # record raw replies (wire jobs always do)
    label: Label = Label()


class Live(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a runner last said about a job, from answers already safe on disk."""

    at: float  # epoch seconds
    totals: Totals
    rows_per_s: float = 0.0
    tokens_per_s: float = 0.0
    in_flight: int = 0
    slots: int = 0
    waiting: str = ""  # why nothing moves, if nothing does
    backends: int = 1  # that the rows go to
    down: int = 0  # of them, those that take none now


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A submission and how far it has come."""

    id: JobId
    project: ProjectId = DEFAULT_PROJECT
    spec: JobSpec
    idempotency_key: str
    state: JobState = JobState.VALIDATING
    wanted: Wanted = Wanted.RUN
    reason: str = ""  # why it is paused, failed or waiting
    generation: int = 1
    retry_classes: tuple[str, ...] = ()  # faults this generation asks again; empty: every class
    created_at: float  # epoch seconds
    started_at: float | None = None
    ended_at: float | None = None
    rows: int = 0  # 0 until validated
    columns: tuple[str, ...] = ()  # of the input, in order
    totals: Totals = Totals()  # of committed chunks
    spent: Totals = Totals()  # accumulates over generations
    live: Live | None = None  # the runner's last word

    def moved(self, to: JobState) -> "Job":
        """The job in its next state. Raises IllegalMove."""
        if to not in MOVES[self.state]:
            raise IllegalMove(self.id, str(self.state), str(to))
        return msgspec.structs.replace(self, state=to)
