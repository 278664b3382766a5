"""Works on every job of a home that wants to run, of all projects, for as long as a server lives.

One loop looks what there is to do about jobs that are not over (`store/backlog.py`)
and starts an *errand* for each that has none: a run, or a short duty such as
publishing what a cancelled job has. At most so many runs at once, whose turn it is
says `places.py`; of jobs whose model runs in an engine of ours one at a time, for
each engine is a process with the whole model in its memory. The store alone says
what there is to do, so a roster that begins after a kill -9 does what the dead one
would have done.

A run that ends early because its backend is away is begun again after a growing
delay; a bug, or an order that cannot be carried out as it is configured, parks its
job until somebody resumes it or the server starts anew. Either way the job says why.
Nothing that happens to one job stops another, or the roster.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from nightkiln.app.duties import AWAY, Delays, Duty, duty_of
from nightkiln.app.errands import Errand, Errands
from nightkiln.app.places import Places
from nightkiln.app.tending import Tended, told
from nightkiln.config import Settings
from nightkiln.core.backendnow import BackendNow
from nightkiln.core.errors import DiskError, HomeBusy, NightkilnError, NotFound
from nightkiln.core.ids import JobId, ProjectId
from nightkiln.service import moves
from nightkiln.service.context import Context
from nightkiln.store import backlog
from nightkiln.store.backlog import Queue, Waiting

AT_ONCE: Final = 16
_SHORT_AT_ONCE: Final = 8  # errands that ask no backend
_LOOK_S: Final = 5.0
_PAUSE_S: Final = 0.05  # at least
_AGAIN_S: Final = 1.0  # after a look that failed
_FORGET_S: Final = 60.0
_LEAVE_S: Final = 20.0  # runs drain 10 s and then make their journals safe

_log: Final = logging.getLogger(__name__)


class RosterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a roster works."""

    at_once: int = AT_ONCE  # runs; 0: no row is asked, but what asks no backend is done
    delays: Delays = Delays()
    look_s: float = _LOOK_S  # at most between two looks
    page: int = backlog.PAGE  # jobs that are looked at together
    wait_s: float = 120.0  # for a backend that takes nothing, before another job has the place


class _Standing(msgspec.Struct):
    """What the roster knows of a job that could not go on."""

    failures: int = 0
    not_before: float = 0.0  # loop time
    parked: bool = False


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
        self._places = Places(self._how.at_once)
        self._forgot_at = self._loop.time()
        self._settle_at = self._loop.time()
        self.look = Tended("the roster", self._look_forever)

    # -- from outside

    def start(self) -> None:
        """Begin to look."""
        self.look.start()

    def wake(self) -> None:
        """Look at once: a job was made, or something is wanted of one."""
        self._woken.set()

    def resumed(self, job: JobId) -> None:
        """Somebody wants a job to go on: why it was left alone is forgotten."""
        self._standing.pop(job, None)
        self._local.pop(job, None)  # it may go to another backend now
        self.wake()

    def is_running(self, job: JobId) -> bool:
        """True while this process works on the job."""
        return job in self._busy

    def is_parked(self, job: JobId) -> bool:
        """True for a job that is left alone until somebody resumes it."""
        standing = self._standing.get(job)
        return standing is not None and standing.parked and job not in self._busy

    def backends(self) -> tuple[BackendNow, ...]:
        """How every backend stands that the settings name or a job goes to."""
        return self._errands.fleet(self._loop.time())

    @property
    def running(self) -> int:
        """How many jobs are being run."""
        return sum(errand.duty is Duty.RUN for errand, _ in self._busy.values())

    async def aclose(self) -> None:
        """Stop every run; each drains, keeps its answers and leaves its job to go on with."""
        self._closing = True
        await self.look.aclose()
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
                wait_s = await self._look_once()
            except (DiskError, HomeBusy) as error:
                _log.warning("the store cannot be read: %s", error.message)
            await asyncio.sleep(_PAUSE_S)
            try:
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _look_once(self) -> float:
        """Begin what is to be done; how long nothing new can be due, in seconds."""
        now, store = self._any.clock(), self._any.store
        await self._begin_short(now)
        if self._how.at_once:
            await self._begin_runs()
        await self._forget()
        deadline = await store.read(partial(backlog.next_deadline, now=now))
        begins = [one.not_before - self._loop.time() for one in self._standing.values()]
        later = [] if deadline is None else [deadline - now]
        return max(0.0, min([self._how.look_s, *later, *(wait for wait in begins if wait > 0)]))

    async def _forget(self) -> None:
        """Keep nothing of jobs that want nothing any more."""
        if self._loop.time() < self._forgot_at + _FORGET_S:
            return
        self._forgot_at = self._loop.time()
        names = [*(self._standing.keys() | self._local.keys())]
        left = await self._any.store.read(partial(backlog.remaining, names=names))
        for name in names:
            if name not in left:
                self._standing.pop(name, None)
                self._local.pop(name, None)

    async def _begin_short(self, now: float) -> None:
        """What asks no backend; every page is looked through, for some are told to stop."""
        async for job in self._due(now):
            duty = duty_of(job, deadline=job.deadline, now=now)
            if job.id in self._busy:
                errand, _ = self._busy[job.id]
                if duty is Duty.FINISH and errand.duty is Duty.RUN:
                    errand.stop.set()  # its time is over: it stops, and is finished then
            elif duty not in (Duty.RUN, Duty.NONE):
                self._begin_if_room(job.id, job.project, duty)
        await self._settle()

    async def _settle(self) -> None:
        """End batches whose job is over or gone: what a kill or a deletion left."""
        if self._loop.time() < self._settle_at:
            return  # it looks at every batch that has not ended, and errands settle their own
        after, most = "", self._how.page
        while self._short_room > 0:
            page = await self._any.store.read(partial(backlog.unsettled, after=after, limit=most))
            for one in page:
                self._begin_if_room(one.job, one.project, Duty.SETTLE)
                after = one.batch
            if len(page) < self._how.page and self._short_room > 0:  # else some are left
                self._settle_at = self._loop.time() + self._how.look_s
                return

    async def _due(self, now: float) -> AsyncIterator[Waiting]:
        after, most = "", self._how.page
        while True:
            page = await self._any.store.read(
                partial(backlog.due, now=now, after=after, limit=most)
            )
            for job in page:
                yield job
                after = job.id
            if len(page) < self._how.page:
                return

    @property
    def _short_room(self) -> int:
        return _SHORT_AT_ONCE - (len(self._busy) - self.running)

    def _begin_if_room(self, name: JobId, project: ProjectId, duty: Duty) -> None:
        if self._short_room > 0 and name not in self._busy and self._is_due(name, short=True):
            self._begin(name, project, duty)

    async def _begin_runs(self) -> None:
        """Fill the places; where there is none, somebody may have to make room."""
        if self._places.room <= 0 and self._places.waits_for_room:
            return
        self._places.wanted_by(await self._any.store.read(backlog.queues))
        while self._places.room > 0 and (queue := self._places.next()) is not None:
            job = await self._first(queue)
            if job is None:
                self._places.drop(queue)
                continue
            self._places.takes(queue, job.id)
            self._begin(job.id, job.project, Duty.RUN, local=self._local[job.id])
        if self._places.room > 0:
            return
        for queue in self._places.without():
            if await self._first(queue) is None:
                continue
            if (leaving := self._places.makes_room(queue.project)) is not None:
                errand, _ = self._busy[leaving]
                errand.stop.set()
            return

    async def _first(self, queue: Queue) -> Waiting | None:
        """The first job of a queue that may begin now."""
        after: Waiting | None = None
        most = self._how.page
        while True:
            page = await self._any.store.read(
                partial(backlog.queued, queue=queue, after=after, limit=most)
            )
            for job in page:
                after = job
                if await self._may_begin(job):
                    return job
            if len(page) < self._how.page:
                return None

    async def _may_begin(self, job: Waiting) -> bool:
        wants = duty_of(job, deadline=job.deadline, now=self._any.clock()) is Duty.RUN
        if not wants or job.id in self._busy or not self._is_due(job.id, short=False):
            return False
        local = await self._is_local(job)
        return not local or not any(errand.local for errand, _ in self._busy.values())

    async def _is_local(self, job: Waiting) -> bool:
        """True for a job whose model runs in an engine of ours."""
        if job.id not in self._local:
            asking = self._errands.is_local(self._context(job.project), job.id)
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
        if errand.duty is Duty.RUN:
            self._places.left(errand.job)
        self.wake()
        if done.cancelled() or (bug := done.exception()) is None:
            return
        _log.error("a bug stopped the work on %s: %s", errand.job, told(bug))
        self._park(errand.job)
        if errand.duty is not Duty.EXPLAIN and not self._closing:
            errand = Errand(job=errand.job, duty=Duty.EXPLAIN, why=f"a bug: {type(bug).__name__}")
            task = self._loop.create_task(self._do(self._context(project), errand))
            self._busy[errand.job] = errand, task
            task.add_done_callback(lambda ended: self._ended(errand, project, ended))


async def _explain(context: Context, job: JobId, reason: str) -> None:
    """Let a job say why it waits, if anything can be said at all."""
    try:
        await moves.explain(context, job, reason)
    except (NotFound, DiskError, HomeBusy):
        _log.warning("job %s waits: %s", job, reason)
