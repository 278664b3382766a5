"""The nouns of our own HTTP API, for the server that writes them and the client that reads them.

What is the same inside is the same here: totals, caps, sampling and the like are
the structs of the layers below. Left out is what is nobody's business outside:
paths of this machine, and the key under which content is the same.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec

from nightkiln.core.access import ApiKey, KeyCaps, KeyId, Scope
from nightkiln.core.backendnow import Door
from nightkiln.core.errors import UsageError
from nightkiln.core.events import BackendShare, JobView, Opening
from nightkiln.core.files import StoredFile
from nightkiln.core.ids import JobId, ProjectId
from nightkiln.core.job import (
    Job,
    JobSpec,
    JobState,
    Label,
    Live,
    PromptSpec,
    Sampling,
    Task,
    Wanted,
)
from nightkiln.core.reuse import CacheUse, Dedupe
from nightkiln.core.usage import Totals
from nightkiln.plan.budget import Caps
from nightkiln.service.arriving import FromFile, FromJob, FromRows, FromUrl
from nightkiln.service.cleaning import OldJob
from nightkiln.service.orders import Order
from nightkiln.store.ledger import Entry

T = TypeVar("T")

PROJECT_HEADER: Final = "x-nightkiln-project"  # whose, where a key of scope admin asks
ROWS_HEADER: Final = "x-nightkiln-rows"  # how many rows a download has


class NewJob(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A job that is asked for. What is left out is as the server's settings say."""

    input: FromRows | FromFile | FromUrl | FromJob
    input_format: str | None = None
    prompt: PromptSpec = PromptSpec()
    model: str | None = None
    task: Task = Task.CHAT
    sampling: Sampling = Sampling()
    output_schema: Any = None  # a JSON schema
    endpoint: str | None = None
    more_endpoints: tuple[str, ...] = ()
    key: str | None = None  # a reference, as env:NAME, looked up by the server
    more_keys: tuple[str, ...] = ()
    timeout_s: float = 600.0
    concurrency: int | None = None
    rpm: float | None = None
    tpm: float | None = None
    caps: Caps = Caps()
    kv_cache_gb: int = 1
    precision: str = "auto"
    limit: int | None = None
    delimiter: str = ","
    id_column: str | None = None
    sheet: str | None = None
    encoding: str | None = None
    on_bad_row: str = "error"
    dedupe: Dedupe = Dedupe.AUTO
    cache: CacheUse = CacheUse.AUTO
    new: bool = False
    again: bool = False
    reserved: tuple[str, ...] = ()
    label: Label = Label()
    try_rows: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None  # then it waits for a word


_SAME: Final = tuple(
    name
    for name in NewJob.__struct_fields__
    if name in Order.__struct_fields__ and name not in ("input", "output_schema")
)  # fields that mean the same in an order


def order_of(new: NewJob, *, key: KeyId) -> Order:
    """The order for a job that is asked for with an API key. Its input is named later."""
    schema = None if new.output_schema is None else msgspec.json.encode(new.output_schema)
    order = Order(input="", output=None, prompt=new.prompt, model=new.model)
    same = {name: getattr(new, name) for name in _SAME}
    same["label"] = msgspec.structs.replace(new.label, key=key)
    return msgspec.structs.replace(order, output_schema=schema, **same)


def asked_for(order: Order, rows: FromRows | FromFile | FromUrl | FromJob) -> NewJob:
    """An order as a server takes it. Raises UsageError for what cannot be said to one."""
    if order.headers:
        names = ", ".join(name for name, _ in order.headers)
        raise UsageError(
            f"a server keeps no values of headers, and so takes none: {names}",
            hint="configure them at the server, under [endpoints.NAME.headers]",
        )
    same = {name: getattr(order, name) for name in _SAME}
    schema = None if order.output_schema is None else msgspec.json.decode(order.output_schema)
    return NewJob(input=rows, output_schema=schema, **same)


class JobObject(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it stands."""

    id: str
    project: str
    state: JobState
    standing: str  # the state in a word; `interrupted` when nobody runs it though it should be run
    running: bool
    wanted: Wanted
    reason: str  # why it waits, is paused or failed
    generation: int
    retry_classes: tuple[str, ...]
    created_at: float
    started_at: float | None
    ended_at: float | None
    rows: int  # 0 until they are counted
    columns: tuple[str, ...]
    totals: Totals  # of committed chunks
    spent: Totals  # over all generations
    live: Live | None  # what the runner said last
    spec: JobSpec
    shares: tuple[BackendShare, ...] = ()
    parked: bool = False  # it cannot be run as it is, says why in `reason`, and waits for a word


def job_object(view: JobView) -> JobObject:
    """A job as it is shown."""
    job = view.job
    source = msgspec.structs.replace(job.spec.source, path="")
    return JobObject(
        id=job.id,
        project=job.project,
        state=job.state,
        standing=view.standing,
        running=view.running,
        wanted=job.wanted,
        reason=job.reason,
        generation=job.generation,
        retry_classes=job.retry_classes,
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        rows=job.rows,
        columns=job.columns,
        totals=job.totals,
        spent=job.spent,
        live=job.live,
        spec=msgspec.structs.replace(job.spec, source=source),
        shares=view.shares,
        parked=view.parked,
    )


def view_of(shown: JobObject) -> JobView:
    """A job as faces on this side take it."""
    job = Job(
        id=JobId(shown.id),
        project=ProjectId(shown.project),
        spec=shown.spec,
        idempotency_key="",
        state=shown.state,
        wanted=shown.wanted,
        reason=shown.reason,
        generation=shown.generation,
        retry_classes=shown.retry_classes,
        created_at=shown.created_at,
        started_at=shown.started_at,
        ended_at=shown.ended_at,
        rows=shown.rows,
        columns=shown.columns,
        totals=shown.totals,
        spent=shown.spent,
        live=shown.live,
    )
    return JobView(job=job, running=shown.running, shares=shown.shares, parked=shown.parked)


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """How a submission met what was there, and the job."""

    how: Opening
    reused: int  # rows answered before
    notices: tuple[str, ...]
    job: JobObject


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A piece of a list; `after` names where the next one begins."""

    data: tuple[T, ...]
    has_more: bool
    after: str | None = None


class Retrying(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows are asked again."""

    classes: tuple[str, ...] = ()  # of faults; none: every row without a result


class Going(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """What is said anew when a job goes on."""

    endpoint: str | None = None
    more_endpoints: tuple[str, ...] = ()
    key: str | None = None
    more_keys: tuple[str, ...] = ()
    timeout_s: float | None = None
    concurrency: int | None = None
    caps: Caps = Caps()


class FileObject(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a project."""

    id: str
    name: str
    purpose: str
    size_bytes: int
    sha256: str
    created_at: float
    expires_at: float | None
    job: str | None  # whose output it is


def file_object(file: StoredFile) -> FileObject:
    """A file as it is shown."""
    return msgspec.convert(file, FileObject, from_attributes=True)


class UsageEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent on a day at a backend with a model."""

    day: str
    backend: str
    model: str
    totals: Totals


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent, from a day to a day, both included; days are those of UTC."""

    first: str
    last: str
    data: tuple[UsageEntry, ...]


def usage_object(first: str, last: str, entries: Sequence[Entry]) -> Usage:
    """The ledger as it is shown."""
    data = tuple(msgspec.convert(one, UsageEntry, from_attributes=True) for one in entries)
    return Usage(first=first, last=last, data=data)


class BackendObject(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint with a model, and all that goes there now, of every project together."""

    name: str
    model: str  # as it is called there
    slots: int  # requests in flight at most
    limit: int  # of them what it is believed to bear now
    in_flight: int
    breaker: Door
    waits_s: float  # until the next request may go


class FleetObject(msgspec.Struct, frozen=True, kw_only=True):
    """The models that are configured, and what goes on now."""

    models: tuple[str, ...]
    working: bool  # False: jobs are taken in, and nobody works on them here
    jobs: dict[str, int]  # of the project, by state
    in_flight: int  # of the project
    slots: int
    backends: tuple[BackendObject, ...]


class KeyWanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that is asked for."""

    name: str = ""
    scope: Scope = Scope.WRITE
    lives_s: float | None = None  # None: until it is revoked
    caps: KeyCaps = KeyCaps()
    project: ProjectId | None = None  # None: the one that the request is about


class Rotating(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a key is replaced."""

    overlap_s: float = 0.0  # for which the old one is still good


class KeyObject(msgspec.Struct, frozen=True, kw_only=True):
    """A key; its text is shown once, when it is made."""

    id: str
    project: str
    name: str
    start: str
    scope: Scope
    created_at: float
    expires_at: float | None
    used_at: float | None
    revoked_at: float | None
    caps: KeyCaps
    text: str | None = None


class SignInLink(msgspec.Struct, frozen=True, kw_only=True):
    """A way to the pages that is good once."""

    path: str  # after the address of the server
    lives_s: float


def key_object(key: ApiKey, text: str | None = None) -> KeyObject:
    """A key as it is shown."""
    shown = msgspec.convert(key, KeyObject, from_attributes=True)
    return msgspec.structs.replace(shown, text=text)


class CommitEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="commit"):
    """A chunk whose answers are there; `seq` counts commits without a gap."""

    seq: int
    first_row: int
    rows: int
    totals: Totals


class JobEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="job"):
    """The job has changed."""

    job: JobObject


class WebhookTold(msgspec.Struct, frozen=True, kw_only=True):
    """What became of telling a webhook that the job's batch ended."""

    id: str  # of the event, and the `webhook-id` of every try
    webhook: str  # its id
    event: str
    state: str  # pending, delivered, given_up
    tries: int
    status: int | None  # of the last answer


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """What happened after a commit: those that came later, and the job as it stands."""

    data: tuple[CommitEvent, ...]
    last: int  # what to ask for next time
    job: JobObject
    webhooks: tuple[WebhookTold, ...] = ()  # all of them, at every time


class BadRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that could not be read, and so are never asked."""

    count: int


class OldJobs(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that are over and may go, the oldest first."""

    data: tuple[OldJob, ...]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused, as far as a client of ours reads the problem."""

    code: str
    detail: str
    hint: str = ""


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """It is gone."""

    id: str
    deleted: bool = True
