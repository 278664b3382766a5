"""Works on every job of a home that wants to run, of all projects, for as long as a server lives.

One loop looks at all jobs that are not over and starts an *errand* for each that
wants something done and has none: a run, or a short duty such as publishing what a
cancelled job has. At most so many runs at once, prototypes first, then the oldest;
of jobs whose model runs in an engine of ours one at a time, for each engine is a
process with the whole model in its memory. The store alone says what there is to
do, so a roster that begins after a kill -9 does what the dead one would have done.

A run that ends early because its backend is away is begun again after a growing
delay; a bug, or an order that cannot be carried out as it is configured, parks its
job until somebody resumes it or the server starts anew. Either way the job says why.
Nothing that happens to one job stops another, or the roster.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from nightkiln.app.duties import AWAY, Delays, Duty, duty_of
from nightkiln.app.errands import Errand, Errands
from nightkiln.config import Settings
from nightkiln.core.batches import Batch
from nightkiln.core.errors import DiskError, HomeBusy, NightkilnError, NotFound
from nightkiln.core.ids import JobId, ProjectId
from nightkiln.core.job import Job
from nightkiln.service import moves
from nightkiln.service.context import Context
from nightkiln.store import batches, jobs
from nightkiln.store.tx import Tx

AT_ONCE: Final = 16
_SHORT_AT_ONCE: Final = 8  # errands that ask no backend
_LOOK_S: Final = 5.0  # at most between two looks
_PAUSE_S: Final = 0.05  # at least
_AGAIN_S: Final = 1.0  # after a look that failed
_LEAVE_S: Final = 20.0  # runs drain 10 s and then make their journals safe

_log: Final = logging.getLogger(__name__)


class RosterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a roster works."""

    at_once: int = AT_ONCE  # runs
    delays: Delays = Delays()
    wait_s: float = 120.0  # for a backend that takes nothing, before another job has the place


class _Standing(msgspec.Struct):
    """What the roster knows of a job that could not go on."""

    failures: int = 0
    not_before: float = 0.0  # loop time
    parked: bool = False


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the store."""

    jobs: list[Job]  # that are not over
    unended: list[Batch]
    over: list[Batch]  # of those, the ones whose job is over or gone


class Roster:
    """The jobs of a home at work. `start` once, `aclose` once; on one event loop."""

    def __init__(
        self,
        context: Callable[[ProjectId], Context],
        environ: Mapping[str, str],
        settings: Settings,
        how: RosterSettings | None = None,
    ) -> None:
        self._how = how or RosterSettings()
        self._context = context
        self._any = context(ProjectId(""))  # for what is of all projects
        self._errands = Errands(environ, settings, wait_s=self._how.wait_s)
        self._loop = asyncio.get_running_loop()
        self._busy: dict[JobId, tuple[Errand, asyncio.Task[None]]] = {}
        self._standing: dict[JobId, _Standing] = {}
        self._local: dict[JobId, bool] = {}
        self._woken = asyncio.Event()
        self._closing = False
        self._watch: asyncio.Task[None] | None = None

    # -- from outside

    def start(self) -> None:
        """Begin to look."""
        self._watch = self._loop.create_task(self._look_forever(), name="roster")
        self._watch.add_done_callback(self._look_again)

    def wake(self) -> None:
        """Look at once: a job was made, or something is wanted of one."""
        self._woken.set()

    def resumed(self, job: JobId) -> None:
        """Somebody wants a job to go on: why it was left alone is forgotten."""
        self._standing.pop(job, None)
        self.wake()

    def is_running(self, job: JobId) -> bool:
        """True while this process works on the job."""
        return job in self._busy

    @property
    def running(self) -> int:
        """How many jobs are being run."""
        return sum(errand.duty is Duty.RUN for errand, _ in self._busy.values())

    async def aclose(self) -> None:
        """Stop every run; each drains, keeps its answers and leaves its job to go on with."""
        self._closing = True
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        for errand, _ in self._busy.values():
            errand.stop.set()
        tasks = [task for _, task in self._busy.values()]
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=_LEAVE_S)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    # -- looking

    async def _look_forever(self) -> None:
        while True:
            self._woken.clear()
            wait_s = _AGAIN_S
            try:
                wait_s = await self._look()
            except (DiskError, HomeBusy) as error:
                _log.warning("the store cannot be read: %s", error.message)
            await asyncio.sleep(_PAUSE_S)
            try:
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            except TimeoutError:
                pass

    def _look_again(self, ended: asyncio.Task[None]) -> None:
        """A bug in looking is told and outlived."""
        if ended.cancelled() or self._closing:
            return
        _log.error("the roster stumbled", exc_info=ended.exception())
        self._loop.call_later(_AGAIN_S, lambda: None if self._closing else self.start())

    async def _look(self) -> float:
        """Begin what is to be done; how long nothing new can be due, in seconds."""
        seen = await self._any.store.read(_seen)
        self._forget(seen)
        deadlines = {batch.job: batch.expires_at for batch in seen.unended}
        now, ready, short = self._any.clock(), [], []
        for job in seen.jobs:
            duty = duty_of(job, deadline=deadlines.get(job.id), now=now)
            if job.id in self._busy:
                errand, _ = self._busy[job.id]
                if duty is Duty.FINISH and errand.duty is Duty.RUN:
                    errand.stop.set()  # its time is over: it stops, and is finished then
            elif duty is Duty.RUN:
                ready.append(job)
            elif duty is not Duty.NONE:
                short.append((job.id, job.project, duty))
        short += [(one.job, one.project, Duty.SETTLE) for one in seen.over if one.job is not None]
        self._begin_short(short)
        await self._begin_runs(ready)
        return self._wait_s(seen.unended, now)

    def _forget(self, seen: "_Seen") -> None:
        """Keep nothing of jobs that want nothing any more."""
        known = {job.id for job in seen.jobs} | {batch.job for batch in seen.over}
        for name in [*self._standing.keys() - known]:
            del self._standing[name]
        for name in [*self._local.keys() - known]:
            del self._local[name]

    def _wait_s(self, unended: Sequence[Batch], now: float) -> float:
        later = [batch.expires_at - now for batch in unended if batch.expires_at > now]
        begins = [one.not_before - self._loop.time() for one in self._standing.values()]
        return max(0.0, min([_LOOK_S, *later, *(wait for wait in begins if wait > 0)]))

    def _begin_short(self, wanted: Sequence[tuple[JobId, ProjectId, Duty]]) -> None:
        room = _SHORT_AT_ONCE - (len(self._busy) - self.running)
        for name, project, duty in wanted:
            if room <= 0:
                return
            if name not in self._busy and self._is_due(name, short=True):
                self._begin(name, project, duty)
                room -= 1

    async def _begin_runs(self, ready: list[Job]) -> None:
        """Fill the places: prototypes first, then the oldest; engines one at a time."""
        ready.sort(key=lambda job: (job.spec.label.priority, job.created_at, job.id))
        for job in ready:
            if self.running >= self._how.at_once:
                return
            if not self._is_due(job.id, short=False):
                continue
            local = await self._is_local(job)
            if not local or not any(errand.local for errand, _ in self._busy.values()):
                self._begin(job.id, job.project, Duty.RUN, local=local)

    async def _is_local(self, job: Job) -> bool:
        """True for a job whose model runs in an engine of ours."""
        if job.id not in self._local:
            asking = self._errands.is_local(self._context(job.project), job)
            [found] = await asyncio.gather(asking, return_exceptions=True)
            self._local[job.id] = found is True  # whatever is wrong with it, its run will say
        return self._local[job.id]

    def _is_due(self, job: JobId, *, short: bool) -> bool:
        """True unless the job waits; one that is parked may still be cancelled or expire."""
        standing = self._standing.get(job)
        if standing is None:
            return True
        return (short or not standing.parked) and standing.not_before <= self._loop.time()

    # -- errands

    def _begin(self, job: JobId, project: ProjectId, duty: Duty, *, local: bool = False) -> None:
        errand = Errand(job=job, duty=duty, local=local)
        task = self._loop.create_task(
            self._do(self._context(project), errand), name=f"{duty} {job}"
        )
        self._busy[job] = errand, task
        task.add_done_callback(lambda done: self._ended(errand, project, done))

    async def _do(self, context: Context, errand: Errand) -> None:
        """Carry an errand out. What it comes to is seen in the store; bugs go up."""
        try:
            parks = await self._errands.do(context, errand)
        except NotFound:
            self._standing.pop(errand.job, None)  # deleted meanwhile
        except AWAY as error:
            self._later(errand.job)
            await _explain(context, errand.job, error.message)
        except NightkilnError as error:
            self._park(errand.job)
            await _explain(context, errand.job, error.message)
        else:
            self._standing.pop(errand.job, None)
            if parks:
                self._park(errand.job)

    def _later(self, job: JobId) -> None:
        standing = self._standing.setdefault(job, _Standing())
        standing.failures += 1
        standing.not_before = self._loop.time() + self._how.delays.after(standing.failures)

    def _park(self, job: JobId) -> None:
        self._later(job)
        self._standing[job].parked = True

    def _ended(self, errand: Errand, project: ProjectId, done: asyncio.Task[None]) -> None:
        self._busy.pop(errand.job, None)
        self.wake()
        if done.cancelled() or (bug := done.exception()) is None:
            return
        _log.error("a bug stopped the work on %s", errand.job, exc_info=bug)
        self._park(errand.job)
        if errand.duty is not Duty.EXPLAIN and not self._closing:
            errand = Errand(job=errand.job, duty=Duty.EXPLAIN, why=f"a bug: {type(bug).__name__}")
            task = self._loop.create_task(self._do(self._context(project), errand))
            self._busy[errand.job] = errand, task
            task.add_done_callback(lambda ended: self._ended(errand, project, ended))


async def _seen(tx: Tx) -> _Seen:
    found, unended = await jobs.unended(tx), await batches.unended(tx)
    known = {job.id for job in found}
    over = []
    for batch in unended:
        if batch.job is not None and batch.job not in known:
            job = await jobs.find(tx, batch.job)
            if job is None or job.state.is_terminal:
                over.append(batch)
    return _Seen(jobs=found, unended=unended, over=over)


async def _explain(context: Context, job: JobId, reason: str) -> None:
    """Let a job say why it waits, if anything can be said at all."""
    try:
        await moves.explain(context, job, reason)
    except (NotFound, DiskError, HomeBusy):
        _log.warning("job %s waits: %s", job, reason)
