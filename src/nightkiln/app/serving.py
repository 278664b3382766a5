"""A home opened for a server: owned alone, swept, and its jobs at work.

Nothing here knows HTTP. Opening collects what a crash left, then begins with what
was under way; closing stops the work first and lets go of the home last.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from nightkiln.app import announcing, parts
from nightkiln.app.deliverer import Deliverer, Posting
from nightkiln.app.roster import Roster, RosterSettings
from nightkiln.app.servedmodels import ServedModels
from nightkiln.app.taking import Taking
from nightkiln.app.tending import Tended
from nightkiln.app.tokencounting import TokenCounting
from nightkiln.config import Settings
from nightkiln.core.errors import DiskError, HomeBusy, NotFound
from nightkiln.core.ids import DEFAULT_PROJECT, ProjectId
from nightkiln.service import deletion, files, outdated, uploads
from nightkiln.service.context import Context
from nightkiln.service.outward import Outward
from nightkiln.service.reaching import Reaching, is_inside
from nightkiln.store.base import ControlPlane
from nightkiln.store.database import Database
from nightkiln.vault.home import Home

Sweep: TypeAlias = Callable[[Context], Awaitable[object]]
SWEEPS: Final = (outdated.sweep, files.sweep, uploads.sweep, deletion.sweep_spool)
_SWEEP_S: Final = 60.0
_GIB: Final = 1 << 30
_IDLE_LOOK_S: Final = 1.0
_log: Final = logging.getLogger(__name__)


class ServedHome:
    """What a server stands on. Made by `open_server`."""

    def __init__(
        self, store: ControlPlane, home: Home, environ: Mapping[str, str], settings: Settings
    ) -> None:
        self.store = store
        self.home = home
        self.settings = settings
        self.clock: Callable[[], float] = time.time
        self.entropy: Callable[[int], bytes] = secrets.token_bytes
        self.models = ServedModels(settings)
        self.outward = Outward()
        self.taking = Taking(environ, settings, self.outward)
        self.counting = TokenCounting(settings)
        self.reaching = Reaching(allowed=is_inside) if settings.private_webhooks else Reaching()
        self.roster: Roster | None = None  # None: jobs are taken in, and nobody works on them
        self.tended: list[Tended] = []  # what goes on beside requests for as long as it lives

    def announce(self, url: str) -> None:
        """Say where this server is, to whoever looks into the home. Raises DiskError."""
        announcing.announce(self.home.root, url)

    def context(self, project: ProjectId) -> Context:
        """What use cases of a project stand on. The project is known to exist."""
        return Context(
            self.store,
            self.home,
            project=project,
            clock=self.clock,
            entropy=self.entropy,
            reserve_bytes=round(self.settings.disk_reserve_gb * _GIB),
        )


@asynccontextmanager
async def open_server(
    root: Path,
    *,
    environ: Mapping[str, str],
    settings: Settings,
    work: bool = True,
    how: RosterSettings | None = None,
    posting: Posting | None = None,
) -> AsyncIterator[ServedHome]:
    """Own a home, making it where needed. Raises HomeBusy, UsageError, DiskError.

    Credentials are looked up in `environ`. Without `work` jobs are taken in and not run.
    """
    parts.arm_crash_point(settings.crash_at)
    home = Home(root)
    home.hold(exclusive=True)
    try:
        store = await Database.open(home.database)
        try:
            opened = ServedHome(store, home, environ, settings)
            context = opened.context(DEFAULT_PROJECT)
            await _collect(context)
            async with (
                _sweeping(opened),
                _delivering(opened, posting),
                _working(opened, environ, how or RosterSettings(), work=work),
            ):
                yield opened
        finally:
            await store.aclose()
    finally:
        announcing.withdraw(root)
        home.release()


async def _collect(context: Context) -> None:
    """Finish deletions of every project, and remove bytes that nothing names."""
    await deletion.collect_garbage(context, alone=True)
    await files.collect(context)
    await uploads.collect(context)


@asynccontextmanager
async def _working(
    opened: ServedHome, environ: Mapping[str, str], how: RosterSettings, *, work: bool
) -> AsyncIterator[None]:
    """Jobs are run; without `work` they are only cancelled, paused and ended in time."""
    if not work:  # nobody wakes it, so it looks more often
        how = msgspec.structs.replace(how, at_once=0, look_s=_IDLE_LOOK_S)
    roster = Roster(opened.context, environ, opened.settings, how)
    opened.tended.append(roster.look)
    roster.start()
    if work:
        opened.roster = roster
    try:
        yield
    finally:
        await roster.aclose()


@asynccontextmanager
async def _delivering(opened: ServedHome, how: Posting | None) -> AsyncIterator[None]:
    """Events are sent, also where nobody works on jobs: batches may fail at their creation."""
    posting = how or Posting(rules=opened.reaching)
    deliverer = Deliverer(opened.context(DEFAULT_PROJECT), posting)
    opened.tended.append(deliverer.look)
    deliverer.start()
    try:
        yield
    finally:
        await deliverer.aclose()


@asynccontextmanager
async def _sweeping(opened: ServedHome) -> AsyncIterator[None]:
    sweep = Tended("the sweep", partial(_sweep_forever, opened.context(DEFAULT_PROJECT)))
    opened.tended.append(sweep)
    sweep.start()
    try:
        yield
    finally:
        await sweep.aclose()


async def _sweep_forever(context: Context) -> None:
    while True:
        await sweep_all(context)
        await asyncio.sleep(_SWEEP_S)


async def sweep_all(context: Context, sweeps: Sequence[Sweep] = SWEEPS) -> None:
    """Remove what has had its time. What one of them cannot remove stays; the others go on."""
    for sweep in sweeps:
        try:
            await sweep(context)
        except (DiskError, HomeBusy, NotFound) as error:
            _log.warning("what has had its time stays for now: %s", error.message)
