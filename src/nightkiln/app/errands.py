"""What is done about one job: run it, cancel it, pause it, publish it, end its batch.

Each holds the job's lock for as long as it works, reads the job anew under it, and
may be cut short anywhere: whoever looks at the job next sees what is left to do.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from nightkiln.app.duties import Duty, duty_of
from nightkiln.app.finishing import finish_cancel, finish_now
from nightkiln.app.fleetnow import fleet_now
from nightkiln.app.jobrun import JobRun
from nightkiln.app.parts import Crew
from nightkiln.app.resuming import Going, going_on, nobodys
from nightkiln.app.servedmodels import is_on_this_machine
from nightkiln.config import Settings
from nightkiln.core.backendnow import BackendNow
from nightkiln.core.errors import HomeBusy, InputError, JobFailed, NotFound, UsageError
from nightkiln.core.events import Noticed, Opened, Opening, Progressed
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job, JobState, Wanted
from nightkiln.dispatch.turns import Turnstiles
from nightkiln.service import moves
from nightkiln.service.context import Context
from nightkiln.service.manner import Changes, order_again, remember
from nightkiln.service.wirebatches_end import settle
from nightkiln.store import batches, jobs
from nightkiln.vault.home import Lock

_LOCK_LOOKS: Final = 40
_LOCK_LOOK_S: Final = 0.05


class Errand:
    """One thing that is done about one job."""

    def __init__(self, *, job: JobId, duty: Duty, local: bool = False, why: str = "") -> None:
        self.job = job
        self.duty = duty
        self.local = local  # its model runs in an engine of ours
        self.why = why  # what an EXPLAIN says
        self.stop = asyncio.Event()


class Errands:
    """Carries errands out, with the parts that settings and environment name."""

    def __init__(self, environ: Mapping[str, str], settings: Settings, *, wait_s: float) -> None:
        self._environ = environ
        self._settings = settings
        self._changes = Changes(wait_s=wait_s)
        self._turnstiles = Turnstiles()  # all jobs go through the same ones

    def fleet(self, now: float) -> tuple[BackendNow, ...]:
        """Every backend as it stands."""
        return fleet_now(self._settings, self._turnstiles, now=now)

    async def is_local(self, context: Context, name: JobId) -> bool:
        """True for a job whose model runs in an engine of ours."""
        job = await _job(context, name)
        if not job.spec.model:
            return False
        try:
            order = await order_again(context, job, self._changes, tell=_unsaid)
            return is_on_this_machine(order, self._settings)
        except UsageError:
            return False  # running it will say so

    async def do(self, context: Context, errand: Errand) -> bool:
        """Do it; True when the job is to be left alone until somebody says otherwise.

        Raises NotFound for a job that is gone, and what a run raises.
        """
        if errand.duty is Duty.SETTLE:
            await settle(context, errand.job)
            return False
        if errand.duty is Duty.EXPLAIN:
            await moves.explain(context, errand.job, errand.why)
            return True
        lock = await _lock(context, errand.job)
        try:
            parks = await self._locked(context, errand)
        finally:
            lock.release()
        await settle(context, errand.job)
        return parks

    async def _locked(self, context: Context, errand: Errand) -> bool:
        """What the job wants now that nobody else works on it."""
        job = await _job(context, errand.job)
        batch = await context.store.read(lambda tx: batches.of_job(tx, job.id))
        deadline = None if batch is None or batch.ended_at is not None else batch.expires_at
        match duty_of(job, deadline=deadline, now=context.clock()):
            case Duty.CANCEL:
                await finish_cancel(context, job.id)
            case Duty.PAUSE:
                await moves.pause(context, job.id)
            case Duty.FINISH:
                await self._finish(context, job, errand)
            case Duty.RUN if errand.duty is Duty.RUN:
                return await self._run(context, job, errand)
            case _:
                pass
        return False

    async def _finish(self, context: Context, job: Job, errand: Errand) -> None:
        """Publish what there is; rows that nobody has read yet are read first, and not asked."""
        if job.state is JobState.VALIDATING:
            crew = nobodys(job)
            run = self._job_run(context, crew, errand)
            job = msgspec.structs.replace(job, wanted=Wanted.RUN)  # the pause is over, unasked
            try:
                job = await run.prepare(job, Opening.ATTACHED)
            except InputError:
                return  # it has failed
        if job.state is not JobState.VALIDATING:  # or it was told to stop
            await finish_now(context, job.id)

    async def _run(self, context: Context, job: Job, errand: Errand) -> bool:
        """Run the job; True when a cap on what it may use has stopped it."""
        async with self._crew(context, job) as going:
            crew = going.crew
            await crew.start(job.spec)
            run = self._job_run(context, crew, errand)
            if job.spec.model:
                await remember(context, job.id, going.said, backends=run.backends)
            try:
                ended = await run.work(job, Opening.ATTACHED)
            except (JobFailed, InputError):
                found = await _job(context, job.id)
                if not found.state.is_terminal:
                    raise
                return False
        return ended.capped

    def _job_run(self, context: Context, crew: Crew, errand: Errand) -> JobRun:
        return JobRun(
            context,
            crew.order,
            crew,
            listen=_unheard,
            stop=errand.stop,
            turnstiles=self._turnstiles,
        )

    @asynccontextmanager
    async def _crew(self, context: Context, job: Job) -> AsyncIterator[Going]:
        if job.spec.model:
            async with going_on(
                context, job, self._changes, self._environ, self._settings, tell=_unsaid
            ) as going:
                yield going
            return
        crew: Crew = nobodys(job)
        async with contextlib.aclosing(crew):
            yield Going(said=crew.order, crew=crew)


def _unsaid(_: str) -> None:
    """What is left out when a job goes on; the job says what it waits for."""


async def _job(context: Context, job: JobId) -> Job:
    return await context.store.read(lambda tx: jobs.get(tx, job, project=context.project))


async def _lock(context: Context, job: JobId) -> Lock:
    """The job's lock. Who looks whether somebody has it has it himself for a moment."""
    for _ in range(_LOCK_LOOKS):
        if (lock := context.home.lock_job(job)) is not None:
            return lock
        if not context.files(job).root.exists():
            raise NotFound(f"job {job} is gone")
        await asyncio.sleep(_LOCK_LOOK_S)
    raise HomeBusy(f"somebody else works on job {job}")


def _unheard(_: Opened | Progressed | Noticed) -> None:
    """The store says how a job stands; nobody listens to single events."""
