"""What the command line does with jobs, wherever they are kept: at home, or at a server.

`app.Embedded` and `app.Reading` are the first implementation, `distant.Distant` the
second. Commands are written against these two protocols and open one of them here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Final, Protocol

from nightkiln.config import Settings, Source
from nightkiln.core.errors import HomeBusy
from nightkiln.core.events import Ended, JobView, Noticed, Opened, Planned, Progressed
from nightkiln.core.forecast import Assumed, Estimate
from nightkiln.core.job import JobState
from nightkiln.sdk.connection import Server
from nightkiln.service.cleaning import Cleaned, OldJob
from nightkiln.service.faultreport import FaultReport, Wish
from nightkiln.service.manner import Changes
from nightkiln.service.orders import Order
from nightkiln.service.selection import EVERYTHING, Selection

Listener = Callable[[Opened | Progressed | Noticed], None]

_AT_A_SERVER: Final = "nightkiln.sdk.distant"


class Looking(Protocol):
    """Verbs that change nothing."""

    async def jobs(self, *, limit: int = 50) -> list[JobView]:
        """The newest jobs, newest first."""
        ...

    async def job(self, name: str) -> JobView:
        """A job by its id, a unique beginning of it, or `last`. Raises NotFound."""
        ...

    async def export(
        self,
        name: str,
        output: str,
        output_format: str | None,
        *,
        excel_safe: bool = False,
        wanted: Selection = EVERYTHING,
        notice: Callable[[str], None] | None = None,
    ) -> int:
        """Write a job's table, or what is wanted of it, on this machine; the number of rows."""
        ...

    async def faults(self, name: str, wish: Wish) -> FaultReport:
        """The row errors of a job."""
        ...

    async def bad_rows(self, name: str) -> int:
        """How many rows of a job are never asked, because they could not be read."""
        ...

    async def old_jobs(self, *, states: AbstractSet[JobState], older_than_s: float) -> list[OldJob]:
        """Jobs that ended so in this long, oldest first."""
        ...

    async def watch(
        self, name: str, *, listen: Callable[[Progressed], None], stop: asyncio.Event
    ) -> JobView:
        """Follow a job until it is over, nobody runs it, or `stop` is set."""
        ...


class Doing(Looking, Protocol):
    """Verbs that change something."""

    async def plan(self, order: Order) -> Planned:
        """What `run` would do; nothing is sent or made."""
        ...

    async def estimate(self, order: Order, assumed: Assumed) -> Estimate:
        """What an order will take; nothing is asked or made."""
        ...

    async def run(self, order: Order, *, listen: Listener, stop: asyncio.Event) -> Ended:
        """Submit or attach, and stay until the job is over, or `stop` is set."""
        ...

    async def resume(
        self, name: str, changes: Changes, *, listen: Listener, stop: asyncio.Event
    ) -> Ended:
        """Go on with a job, as it was run last but for the changes."""
        ...

    async def cancel(self, name: str) -> JobView:
        """Cancel a job and return when it is cancelled; its answers are kept."""
        ...

    async def pause(self, name: str) -> JobView:
        """Pause a job and return when nobody asks its rows any more."""
        ...

    async def retry(self, name: str, *, classes: AbstractSet[str] = frozenset()) -> JobView:
        """Open the next generation over rows without a result."""
        ...

    async def delete(self, name: str) -> None:
        """Remove a job, its results and its files."""
        ...

    async def clean(self, old: list[OldJob]) -> Cleaned:
        """Remove old jobs; those in use are kept."""
        ...


@asynccontextmanager
async def looking(settings: Settings) -> AsyncIterator[Looking]:
    """Where jobs are kept, for a look. Raises NotFound for a home that is not there."""
    server = _server_for_a_look(settings)
    if server is not None:
        from nightkiln.sdk.distant import Distant

        yield Distant(server)
        return
    from nightkiln.app import open_reading

    async with open_reading(settings.home) as app:
        yield app


@asynccontextmanager
async def doing(settings: Settings, environ: Mapping[str, str]) -> AsyncIterator[Doing]:
    """Where jobs are kept, for work. Raises HomeBusy, AuthError."""
    server = server_named(settings)
    if server is not None:
        from nightkiln.sdk.distant import Distant

        yield Distant(server)
        return
    from nightkiln.app import open_embedded

    async with open_embedded(settings.home, environ=environ, settings=settings) as app:
        yield app


def is_elsewhere(verbs: Looking) -> bool:
    """True where jobs go on when this process leaves."""
    return type(verbs).__module__ == _AT_A_SERVER


def server_named(settings: Settings) -> Server | None:
    """The server to work at, if any: a home named for this command outweighs NIGHTKILN_URL."""
    from nightkiln.sdk.finding import server_of

    if settings.origin("home").source is Source.FLAG:
        import msgspec

        settings = msgspec.structs.replace(settings, url=None)
    return server_of(settings)


def _server_for_a_look(settings: Settings) -> Server | None:
    """As `server_named`; a home can be looked into though its server cannot be asked."""
    try:
        return server_named(settings)
    except HomeBusy:
        return None
