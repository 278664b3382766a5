"""Working in a home from this process: submit, run, resume, cancel, delete.

An embedded process runs only the jobs it names. It holds the home's lock
shared and each job's lock alone; whoever does not get a job's lock watches, and
takes over when the lock drops.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

from nightkiln.app import parts
from nightkiln.app.jobrun import JobRun
from nightkiln.app.reading import Reading, progress_of
from nightkiln.core.errors import HomeBusy
from nightkiln.core.events import Ended, JobView, Noticed, Opened, Opening, Planned, Progressed
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job, JobState, Wanted
from nightkiln.service import deletion, moves, planning, submit
from nightkiln.service.context import Context
from nightkiln.service.naming import find_job
from nightkiln.service.orders import Order
from nightkiln.service.results import check_output
from nightkiln.store import jobs
from nightkiln.store.database import Database
from nightkiln.vault.home import Home, Lock

Event: TypeAlias = Opened | Progressed | Noticed
Listener: TypeAlias = Callable[[Event], None]

_POLL_S: Final = 0.2
_CANCEL_S: Final = 60.0  # for a runner elsewhere to obey


class Embedded(Reading):
    """A home opened for work."""

    def __init__(self, context: Context, environ: Mapping[str, str]) -> None:
        super().__init__(context)
        self._environ = environ

    async def plan(self, order: Order) -> Planned:
        """What `run` would do; nothing is sent or made. Raises UsageError, InputError."""
        parts.check_order(order)
        source = await submit.source_of(self._context, order)
        crew = await parts.make_crew(order, self._environ)
        try:
            spec = submit.spec_of(order, source, model=crew.model)
            return await planning.plan(self._context, order, spec, crew.backend, slots=crew.slots)
        finally:
            await crew.backend.aclose()

    async def run(self, order: Order, *, listen: Listener, stop: asyncio.Event) -> Ended:
        """Submit or attach, and work until the job is over, told to stop, or stuck.

        Raises UsageError and InputError before anything is sent, JobFailed,
        AuthError, QuotaError and UnreachableError before the first answer,
        WaitTimeout, DiskError.
        """
        parts.check_order(order)
        crew = await parts.make_crew(order, self._environ)
        try:
            for notice in crew.notices:
                listen(Noticed(text=notice))
            source = await submit.source_of(self._context, order)
            if order.output is not None:
                check_output(
                    order.output, order.output_format, source=source.kind, source_path=source.path
                )
            spec = submit.spec_of(order, source, model=crew.model)
            crew.backend.encoder(spec)
            await planning.check_head(spec)
            job, how = await submit.accept(self._context, spec, new=order.new)
            run = JobRun(self._context, order, crew, listen=listen, stop=stop)
            return await self._hold_and_run(job, how, run)
        finally:
            await crew.backend.aclose()

    async def _hold_and_run(self, job: Job, how: Opening, run: JobRun) -> Ended:
        """Run the job as soon as its lock is ours; until then watch."""
        if how in (Opening.FINISHED, Opening.WITH_ERRORS):
            return await run.already_over(job, how)
        watching = False
        while (lock := self._context.home.lock_job(job.id)) is None:
            if not watching:
                watching = True
                run.opened(job, Opening.WATCHING)
            job = await self._reread(job.id)
            if job.state.is_terminal:
                return await run.already_over(job, submit.opening_of(job))
            run.listen(progress_of(job, now=self._context.clock()))
            if await run.told_to_stop(_POLL_S):
                return await run.ended(job)
        try:
            job = await self._reread(job.id)
            return await run.work(job, submit.opening_of(job) if how is not Opening.NEW else how)
        finally:
            lock.release()

    async def _reread(self, job: JobId) -> Job:
        return await self._context.store.read(
            lambda tx: jobs.get(tx, job, project=self._context.project)
        )

    async def cancel(self, name: str) -> JobView:
        """Cancel a job and return when it is cancelled; its answers are kept and published.

        Raises NotFound, IllegalMove for a job that is over, HomeBusy when the
        process that runs it does not obey in time.
        """
        job = await find_job(self._context, name)
        if job.state is JobState.CANCELLED:
            return await self.job(job.id)
        if job.state.is_terminal:
            job.moved(JobState.CANCELLING)
        await moves.want(self._context, job.id, Wanted.CANCEL)
        lock = await self._lock_or_over(job.id)
        if lock is not None:
            try:
                await JobRun.finish_cancel(self._context, job.id)
            finally:
                lock.release()
        return await self.job(job.id)

    async def _lock_or_over(self, job: JobId) -> Lock | None:
        """The job's lock once nobody runs it, or None once the job is over."""
        until = asyncio.get_running_loop().time() + _CANCEL_S
        while True:
            if (lock := self._context.home.lock_job(job)) is not None:
                return lock
            if (await self._reread(job)).state.is_terminal:
                return None
            if asyncio.get_running_loop().time() > until:
                raise HomeBusy(
                    f"the process that runs {job} has not obeyed for {_CANCEL_S:.0f} s",
                    hint="the cancel stays asked for; look again with jobs show",
                )
            await asyncio.sleep(_POLL_S)

    async def retry(self, name: str) -> JobView:
        """Open the next generation over every row without a result.

        Nothing is asked yet: whoever runs the job goes on with it. Raises
        NotFound, UsageError for a job that is not over, IllegalMove for one that
        succeeded or failed.
        """
        job = await find_job(self._context, name)
        await moves.retry(self._context, job.id)
        return await self.job(job.id)

    async def delete(self, name: str) -> None:
        """Remove a job, its results and its files. Raises NotFound, HomeBusy."""
        job = await find_job(self._context, name)
        await deletion.delete(self._context, job.id)


@asynccontextmanager
async def open_embedded(root: Path, *, environ: Mapping[str, str]) -> AsyncIterator[Embedded]:
    """Open a home for work, making it where needed. Raises HomeBusy, UsageError, DiskError."""
    parts.arm_crash_point(environ)
    home = Home(root)
    home.hold()
    try:
        store = await Database.open(home.database)
        try:
            context = Context(store, home)
            await deletion.collect_garbage(context)
            yield Embedded(context, environ)
        finally:
            await store.aclose()
    finally:
        home.release()
