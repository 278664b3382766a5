"""What the SDK needs of whoever keeps the jobs: a home on this machine, or one day a server.

Clients, jobs and results are written against `Kiln` alone. `local.LocalKiln`
implements it over a home; a server behind HTTP is a second implementation and
changes nothing above. Nothing here does any work.
"""

from typing import Protocol

import msgspec

from nightkiln.core.errors import NightkilnError
from nightkiln.core.events import JobView, Opening, Planned, Progressed
from nightkiln.service.framing import Answered
from nightkiln.service.manner import Changes
from nightkiln.service.orders import Order, Staged
from nightkiln.tables.frames import Frame


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A submission that is durable from here on."""

    job: str
    how: Opening
    rows: int  # 0 while they are not counted
    reused: int  # rows answered before
    notices: tuple[str, ...] = ()


class Following(msgspec.Struct, frozen=True, kw_only=True):
    """How a job stands at one look."""

    view: JobView
    progress: Progressed
    active: bool  # somebody works on it
    trouble: NightkilnError | None = None  # what ended its run here early


class Kiln(Protocol):
    """Keeps jobs. Every coroutine runs on the SDK's own loop; a job is named by its id.

    A verb that returned is durable. `submit` may be repeated: the same rows and
    questions are the same job while it is unfinished.
    """

    def stage(self, frame: Frame) -> Staged:
        """Make a frame's rows durable, in the caller's thread. Raises InputError, UsageError."""
        ...

    def unstage(self, staged: Staged) -> None:
        """Let go of rows that nothing will be submitted with."""
        ...

    async def head(self, order: Order) -> tuple[str, ...]:
        """The columns of an order's input file. Raises InputError, UsageError."""
        ...

    async def plan(self, order: Order) -> Planned:
        """What `submit` would do; nothing is sent."""
        ...

    async def submit(self, order: Order) -> Accepted:
        """Accept a job and work on it. Raises what keeps it from being accepted."""
        ...

    async def view(self, name: str) -> JobView:
        """A job by its id, the beginning of one, or `last`. Raises NotFound."""
        ...

    async def jobs(self, *, limit: int) -> list[JobView]:
        """The newest jobs, newest first."""
        ...

    async def follow(self, job: str, *, seen: Progressed | None, wait_s: float) -> Following:
        """How a job stands, as soon as that differs from `seen`, or after a while."""
        ...

    async def answered(self, job: str, *, partial: bool = False) -> Answered:
        """The rows and answers of an ended job; before that NotFound, or `partial` ones."""
        ...

    async def cancel(self, job: str) -> JobView:
        """End a job early; its answers are kept."""
        ...

    async def pause(self, job: str) -> JobView:
        """Let a job rest until it is resumed."""
        ...

    async def resume(self, job: str, changes: Changes) -> Accepted:
        """Work on a job that is not over, here, as it was run last but for the changes."""
        ...

    async def retry(self, job: str, *, classes: tuple[str, ...], changes: Changes) -> Accepted:
        """Open the rows without a result again, of these fault classes, and work on them."""
        ...

    async def aclose(self) -> tuple[str, ...]:
        """Stop working, keep every answer; a line for each job that is not over."""
        ...
