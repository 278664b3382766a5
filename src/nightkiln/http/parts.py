"""What routes stand on. Made once by whoever starts the server; nothing here opens anything."""

import enum
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from nightkiln.core.access import ApiKey
from nightkiln.core.backendnow import BackendNow
from nightkiln.core.events import Opening, Planned
from nightkiln.core.forecast import Assumed, Estimate
from nightkiln.core.ids import JobId, ProjectId
from nightkiln.core.job import Job
from nightkiln.core.request import WireBody
from nightkiln.http.sessions import Sessions
from nightkiln.http.settings import ServerSettings
from nightkiln.http.streamcount import Streams
from nightkiln.service.answering import Models, Served
from nightkiln.service.arriving import Wanted as Rows
from nightkiln.service.context import Context
from nightkiln.service.orders import Order
from nightkiln.service.outward import Outward
from nightkiln.service.reaching import Reaching
from nightkiln.service.rowscan import Scans
from nightkiln.store.base import ControlPlane
from nightkiln.vault.home import Home


class Roster(Protocol):
    """Whoever works on the jobs of this home, of all projects. Routes never wait for it."""

    def wake(self) -> None:
        """Look at once whether a job wants to run: one was made, resumed or told to stop."""
        ...

    def resumed(self, job: JobId) -> None:
        """Somebody wants a job to go on: forget why it was left alone, and look at once."""
        ...

    def is_running(self, job: JobId) -> bool:
        """True while this process works on the job."""
        ...

    def is_parked(self, job: JobId) -> bool:
        """True for a job that is left alone until somebody resumes it."""
        ...

    def backends(self) -> tuple[BackendNow, ...]:
        """How every backend stands that the settings name or a job goes to."""
        ...


class Taken(Protocol):
    """A job that was submitted, and how that met what was there."""

    @property
    def job(self) -> Job:
        """The job."""
        ...

    @property
    def how(self) -> Opening:
        """How it was met."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """What the caller should read once."""
        ...


class Taking(Protocol):
    """Whoever takes jobs in. `by`: the key that asks, and what it may name."""

    async def submit(
        self, context: Context, order: Order, rows: Rows, *, by: ApiKey, key: str | None = None
    ) -> Taken:
        """Accept a job or attach to one."""
        ...

    async def plan(self, context: Context, order: Order, rows: Rows, *, by: ApiKey) -> Planned:
        """What `submit` would do."""
        ...

    async def estimate(
        self, context: Context, order: Order, rows: Rows, *, by: ApiKey, assumed: Assumed
    ) -> Estimate:
        """What the rows will take, with what is said of the machine that answers."""
        ...

    async def check_goes_on(self, context: Context, job: Job, *, by: ApiKey) -> None:
        """Refuse to ask more of a job whose model the key may not ask."""
        ...


class Counting(Protocol):
    """Whoever knows how many tokens a chat is, or can guess."""

    async def count(self, context: Context, served: Served, chat: WireBody) -> int:
        """The tokens of a chat for a model that is answered for here. Asks no model."""
        ...


class Tended(Protocol):
    """Work beside requests that goes on for as long as the server lives."""

    @property
    def name(self) -> str:
        """What it is."""
        ...

    @property
    def stumbles(self) -> int:
        """How often an error that nobody foresaw made it begin anew."""
        ...


class Phase(enum.StrEnum):
    """Where a server stands in its life."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"  # requests under way may end; a new one is better sent elsewhere


class Standing:
    """The phase of one server. The only part of it that changes."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of one server."""

    context: Callable[[ProjectId], Context]  # of a project that is known to exist
    store: ControlPlane
    home: Home
    settings: ServerSettings
    models: Models
    standing: Standing
    taking: Taking | None = None  # None: no job can be submitted through our own API
    counting: Counting | None = None  # None: tokens cannot be counted
    reaching: Reaching | None = None  # which webhooks may be registered; None: no event is sent
    outward: Outward | None = None  # threads that look up where those lead
    clock: Callable[[], float] = time.time  # epoch seconds
    entropy: Callable[[int], bytes] = secrets.token_bytes
    roster: Roster | None = None  # None: jobs are taken in, and nobody works on them here
    tended: Sequence[Tended] = ()  # what goes on beside requests
    streams: Streams = msgspec.field(default_factory=Streams)
    sessions: Sessions = msgspec.field(default_factory=Sessions)
    scans: Scans = msgspec.field(default_factory=Scans)  # over rows, under way
