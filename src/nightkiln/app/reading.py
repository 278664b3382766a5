"""Looking at a home while others work in it: no lock is taken, nothing is written."""

import asyncio
from collections.abc import AsyncIterator, Callable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from nightkiln.core.errors import NotFound
from nightkiln.core.events import JobView, Progressed
from nightkiln.core.job import Job, JobState
from nightkiln.service import badrows
from nightkiln.service.cleaning import OldJob, old_jobs
from nightkiln.service.context import Context
from nightkiln.service.faultreport import FaultReport, Wish, faults_of
from nightkiln.service.framing import Answered, answered
from nightkiln.service.naming import find_job
from nightkiln.service.results import export
from nightkiln.service.selection import EVERYTHING, Selection
from nightkiln.service.viewing import progress_of, view_of, whole_view
from nightkiln.store import jobs
from nightkiln.store.database import Database
from nightkiln.store.paging import Page
from nightkiln.vault.home import Home

__all__ = ["WATCH_S", "Reading", "open_reading", "progress_of"]

WATCH_S: Final = 0.5


class Reading:
    """The reading verbs of a home."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def jobs(self, *, limit: int = 50) -> list[JobView]:
        """The newest jobs, newest first."""
        page, project = Page(limit=limit), self._context.project
        found, _ = await self._context.store.read(
            lambda tx: jobs.list_jobs(tx, page, project=project)
        )
        return [self._view(job) for job in found]

    async def job(self, name: str) -> JobView:
        """A job by its id, a unique beginning of it, or `last`. Raises NotFound."""
        return await self._whole(await find_job(self._context, name))

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
        """Write a job's table, or what is wanted of it; the number of rows.

        Raises NotFound, UsageError.
        """
        return await export(
            self._context,
            await find_job(self._context, name),
            output,
            output_format,
            excel_safe=excel_safe,
            wanted=wanted,
            notice=notice,
        )

    async def faults(self, name: str, wish: Wish) -> FaultReport:
        """The row errors of a job. Raises NotFound, DamagedError."""
        return await faults_of(self._context, await find_job(self._context, name), wish)

    async def bad_rows(self, name: str) -> int:
        """How many rows of a job are never asked, because they could not be read."""
        job = await find_job(self._context, name)
        return await asyncio.to_thread(badrows.count, self._context.files(job.id))

    async def old_jobs(self, *, states: AbstractSet[JobState], older_than_s: float) -> list[OldJob]:
        """Jobs that ended so in this long, oldest first."""
        return await old_jobs(self._context, states=states, older_than_s=older_than_s)

    async def answered(self, name: str, *, partial: bool = False) -> Answered:
        """A job's rows and answers in memory: all, or so far. Raises NotFound."""
        return await answered(self._context, await find_job(self._context, name), partial=partial)

    async def watch(
        self, name: str, *, listen: Callable[[Progressed], None], stop: asyncio.Event
    ) -> JobView:
        """Follow a job until it is over, nobody runs it, or `stop` is set."""
        view = self._view(await find_job(self._context, name))
        while not (view.job.state.is_terminal or not view.running or stop.is_set()):
            listen(progress_of(view.job, now=self._context.clock()))
            try:
                async with asyncio.timeout(WATCH_S):
                    await stop.wait()
            except TimeoutError:
                pass
            view = self._view(await find_job(self._context, view.job.id))
        listen(progress_of(view.job, now=self._context.clock()))
        return view

    async def _whole(self, job: Job) -> JobView:
        return await whole_view(self._context, job)

    def _view(self, job: Job) -> JobView:
        return view_of(self._context, job)


@asynccontextmanager
async def open_reading(root: Path) -> AsyncIterator[Reading]:
    """Open a home for reading. Raises NotFound when there is none."""
    home = Home(root)
    if not home.database.exists():
        raise NotFound(
            f"there are no jobs in {root}", hint="nightkiln run INPUT -o OUTPUT … makes the first"
        )
    store = await Database.open(home.database, read_only=True)
    try:
        yield Reading(Context(store, home))
    finally:
        await store.aclose()
