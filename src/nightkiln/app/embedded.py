"""Working in a home from this process: submit, run, resume, cancel, delete.

An embedded process runs only the jobs it names. It holds the home's lock
shared and each job's lock alone; whoever does not get a job's lock watches, and
takes over when the lock drops.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

from nightkiln.app import parts
from nightkiln.app.batchorder import batch_order, may_name_its_model
from nightkiln.app.finishing import finish_cancel
from nightkiln.app.forecasting import estimate
from nightkiln.app.jobrun import JobRun
from nightkiln.app.parts import Crew
from nightkiln.app.reading import Reading, progress_of
from nightkiln.app.resuming import going_on
from nightkiln.app.settings import load_settings
from nightkiln.config import Settings
from nightkiln.core.errors import HomeBusy, IllegalMove
from nightkiln.core.events import Ended, JobView, Noticed, Opened, Opening, Planned, Progressed
from nightkiln.core.forecast import Assumed, Estimate
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job, JobSpec, JobState, SourceSpec, Wanted
from nightkiln.dispatch.turns import Turnstiles
from nightkiln.service import deletion, moves, planning, submit
from nightkiln.service.asking import over_hint
from nightkiln.service.cleaning import Cleaned, OldJob, clean
from nightkiln.service.context import Context
from nightkiln.service.manner import Changes, remember
from nightkiln.service.naming import find_job
from nightkiln.service.orders import Order
from nightkiln.store import jobs
from nightkiln.store.database import Database
from nightkiln.vault.home import Home, Lock
from nightkiln.worker.forms import form_of

Event: TypeAlias = Opened | Progressed | Noticed
Listener: TypeAlias = Callable[[Event], None]

_OVER: Final = (Opening.FINISHED, Opening.WITH_ERRORS)
_POLL_S: Final = 0.2
_OBEY_S: Final = 60.0  # for a runner elsewhere to stop


class Embedded(Reading):
    """A home opened for work."""

    def __init__(
        self,
        context: Context,
        environ: Mapping[str, str],
        settings: Settings,
        *,
        turnstiles: Turnstiles | None = None,
    ) -> None:
        super().__init__(context)
        self._environ = environ
        self._settings = settings
        self._turnstiles = turnstiles or Turnstiles()

    async def plan(self, order: Order) -> Planned:
        """What `run` would do; nothing is sent or made. Raises UsageError, InputError."""
        parts.check_order(order)
        source, order = await self._sourced(order)
        crew = await parts.make_crew(order, self._environ, self._settings)
        order = crew.order
        try:
            spec = submit.spec_of(order, source, model=crew.model)
            return await planning.plan(
                self._context, order, spec, crew.backend, slots=crew.slots, why=crew.why
            )
        finally:
            await crew.aclose()

    async def head(self, order: Order) -> tuple[str, ...]:
        """The columns that the first rows of an order's input show. Raises UsageError."""
        return await planning.head_columns(await submit.source_of(self._context, order))

    async def run(self, order: Order, *, listen: Listener, stop: asyncio.Event) -> Ended:
        """Submit or attach, and work until the job is over, told to stop, or stuck.

        Raises UsageError and InputError before anything is sent, JobFailed,
        AuthError, QuotaError and UnreachableError before the first answer,
        WaitTimeout, DiskError.
        """
        parts.check_order(order)
        if not may_name_its_model(order):
            parts.check_backend(order, self._environ, self._settings)
        source, order = await self._sourced(order)
        crew, said = await parts.make_crew(order, self._environ, self._settings), order
        order = crew.order
        try:
            for notice in crew.notices:
                listen(Noticed(text=notice))
            planning.check_results(order, source)
            spec = submit.spec_of(order, source, model=crew.model)
            form_of(spec, crew.backend)
            for notice in await planning.doubts(source):
                listen(Noticed(text=notice))
            await planning.check_head(spec, reserved=order.reserved)
            job, how = await self._accepted(order, spec, crew, listen=listen, stop=stop)
            run = self._run(order, crew, listen=listen, stop=stop)
            return await self._hold_and_run(job, how, run, said)
        finally:
            await crew.aclose()

    def _run(self, order: Order, crew: Crew, *, listen: Listener, stop: asyncio.Event) -> JobRun:
        turnstiles = self._turnstiles
        return JobRun(self._context, order, crew, listen=listen, stop=stop, turnstiles=turnstiles)

    async def _accepted(
        self, order: Order, spec: JobSpec, crew: Crew, *, listen: Listener, stop: asyncio.Event
    ) -> tuple[Job, Opening]:
        """The job, and its model ready.

        The model comes first, so that one that cannot be loaded leaves no job
        behind; unless whoever submits wants the job's id at once.
        """
        if not order.detached:
            found = await submit.find(self._context, spec)
            if not (submit.serves(found, new=order.new, again=order.again) and _is_over(found)):
                await _make_ready(crew, spec, listen, stop)
            return await submit.accept(self._context, spec, new=order.new, again=order.again)
        job, how = await submit.accept(self._context, spec, new=order.new, again=order.again)
        reused = job.totals.answered
        listen(Opened(job=job.id, how=how, state=job.state, rows=job.rows, reused=reused))
        if how not in _OVER and not stop.is_set():
            await _make_ready(crew, job.spec, listen, stop)
        return job, how

    async def resume(
        self, name: str, changes: Changes, *, listen: Listener, stop: asyncio.Event
    ) -> Ended:
        """Go on with a job here and now, as it was run last; a pause is over.

        Raises what `run` raises, NotFound, and IllegalMove for a job that is over.
        """
        job = await find_job(self._context, name)
        if job.state.is_terminal or job.state is JobState.DELETING:
            raise IllegalMove(job.id, str(job.state), str(JobState.RUNNING), hint=over_hint(job))
        async with going_on(
            self._context,
            job,
            changes,
            self._environ,
            self._settings,
            tell=lambda text: listen(Noticed(text=text)),
        ) as going:
            for notice in going.crew.notices:
                listen(Noticed(text=notice))
            await _make_ready(going.crew, job.spec, listen, stop)
            if job.wanted is Wanted.PAUSE:  # a cancel that waits is not taken back
                await moves.want(self._context, job.id, Wanted.RUN)
            run = self._run(going.crew.order, going.crew, listen=listen, stop=stop)
            return await self._hold_and_run(job, Opening.ATTACHED, run, going.said)

    async def estimate(self, order: Order, assumed: Assumed) -> Estimate:
        """What a table will take; nothing is asked or made. Raises UsageError, InputError."""
        parts.check_order(order)
        source, order = await self._sourced(order)
        try:
            crew = await parts.make_crew(order, self._environ, self._settings)
            try:
                spec = submit.spec_of(crew.order, source, model=crew.model)
                return await estimate(self._context, spec, crew, assumed)
            finally:
                await crew.aclose()
        finally:
            await asyncio.to_thread(submit.drop_spool, source)

    async def _sourced(self, order: Order) -> tuple[SourceSpec, Order]:
        """The source, and the order with the model that a batch file names itself."""
        source = await submit.source_of(self._context, order)
        return batch_order(source, order, self._settings)

    async def _hold_and_run(self, job: Job, how: Opening, run: JobRun, said: Order) -> Ended:
        """Run the job as soon as its lock is ours, and keep how; until then watch."""
        if how in _OVER:
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
            if watching and job.wanted is Wanted.PAUSE:
                return await run.ended(job)  # whoever paused it meant all who would run it
            if not job.state.is_terminal:
                await remember(self._context, job.id, said, backends=run.backends)
            return await run.work(job, submit.opening_of(job) if how is not Opening.NEW else how)
        finally:
            lock.release()

    async def _reread(self, job: JobId) -> Job:
        return await self._context.store.read(
            lambda tx: jobs.get(tx, job, project=self._context.project)
        )

    async def cancel(self, name: str) -> JobView:
        """Cancel a job and return when it is cancelled; its answers are kept and published.

        Raises NotFound, IllegalMove for a job that is over or ends first, HomeBusy
        when the process that runs it does not obey in time.
        """
        job = await find_job(self._context, name)
        if job.state is JobState.CANCELLED:
            return await self.job(job.id)
        _refuse_over(job, JobState.CANCELLED)
        await moves.want(self._context, job.id, Wanted.CANCEL)
        lock = await self._obeyed(job.id, "cancel", lambda found: found.state.is_terminal)
        if lock is not None:
            try:
                await finish_cancel(self._context, job.id)
            finally:
                lock.release()
        view = await self.job(job.id)
        if view.job.state is not JobState.CANCELLED:
            _refuse_over(view.job, JobState.CANCELLED)
        return view

    async def pause(self, name: str) -> JobView:
        """Pause a job and return when nobody asks its rows any more; every answer is kept.

        A run that goes on with it by name ends the pause. Raises as `cancel` does.
        """
        job = await find_job(self._context, name)
        _refuse_over(job, JobState.PAUSED)
        await moves.want(self._context, job.id, Wanted.PAUSE)
        lock = await self._obeyed(
            job.id,
            "pause",
            lambda found: found.state.is_terminal or found.state is JobState.PAUSED,
        )
        if lock is not None:
            try:
                found = await self._reread(job.id)
                _refuse_over(found, JobState.PAUSED)
                await moves.pause(self._context, job.id)
            finally:
                lock.release()
        view = await self.job(job.id)
        _refuse_over(view.job, JobState.PAUSED)
        return view

    async def _obeyed(self, job: JobId, what: str, done: Callable[[Job], bool]) -> Lock | None:
        """The job's lock once nobody runs it, or None once the runner has done it itself."""
        until = asyncio.get_running_loop().time() + _OBEY_S
        while True:
            if (lock := self._context.home.lock_job(job)) is not None:
                return lock
            if done(await self._reread(job)):
                return None
            if asyncio.get_running_loop().time() > until:
                raise HomeBusy(
                    f"the process that runs {job} has not obeyed for {_OBEY_S:.0f} s",
                    hint=f"the {what} stays asked for; look again with jobs show",
                )
            await asyncio.sleep(_POLL_S)

    async def retry(self, name: str, *, classes: AbstractSet[str] = frozenset()) -> JobView:
        """Open the next generation over every row without a result, or of some fault classes.

        Nothing is asked yet: whoever runs the job goes on with it. Raises
        NotFound, UsageError for a job that is not over or has no such row,
        IllegalMove for one that succeeded or failed.
        """
        job = await find_job(self._context, name)
        await moves.retry(self._context, job.id, classes=classes)
        return await self.job(job.id)

    async def delete(self, name: str) -> None:
        """Remove a job, its results and its files. Raises NotFound, HomeBusy."""
        job = await find_job(self._context, name)
        await deletion.delete(self._context, job.id)

    async def clean(self, old: list[OldJob]) -> Cleaned:
        """Remove old jobs; those in use are kept. Raises DiskError."""
        return await clean(self.delete, old)


def _refuse_over(job: Job, to: JobState) -> None:
    """Raise IllegalMove for a job that is over, or has all its answers and is about to be."""
    over = job.state.is_terminal or job.state in (JobState.FINALIZING, JobState.DELETING)
    if over and not (to is JobState.CANCELLED and job.state is JobState.FINALIZING):
        hint = f"it was over before; nightkiln jobs results {job.id} -o FILE writes its table"
        raise IllegalMove(job.id, str(job.state), str(to), hint=hint)


async def _make_ready(crew: Crew, spec: JobSpec, listen: Listener, stop: asyncio.Event) -> None:
    """Start the crew, unless told to stop first: then whatever follows sees the stop too."""
    starting = asyncio.ensure_future(crew.start(spec))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        for notice in starting.result() if starting.done() else ():
            listen(Noticed(text=notice))
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)


def _is_over(found: Job | None) -> bool:
    """True when every answer is there, so that no model is needed."""
    return submit.opening_of(found) in _OVER


@asynccontextmanager
async def open_embedded(
    root: Path,
    *,
    environ: Mapping[str, str],
    settings: Settings | None = None,
    turnstiles: Turnstiles | None = None,
) -> AsyncIterator[Embedded]:
    """Open a home for work, making it where needed. Raises HomeBusy, UsageError, DiskError.

    Without `settings` those of the current folder hold. Jobs of several homes that are
    open at once share their backends fairly only with the same `turnstiles`.
    """
    settings = settings or load_settings(environ, Path.cwd(), {})
    parts.arm_crash_point(settings.crash_at)
    home = Home(root)
    home.hold()
    try:
        store = await Database.open(home.database)
        try:
            context = Context(store, home)
            await deletion.collect_garbage(context)
            yield Embedded(context, environ, settings, turnstiles=turnstiles)
        finally:
            await store.aclose()
    finally:
        home.release()
