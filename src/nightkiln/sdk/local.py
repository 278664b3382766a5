"""A home on this machine as the SDK's keeper of jobs: several may run at once, here.

Everything but `stage` runs on the SDK's loop. The home is open, and its lock
held, only while something uses it: an idle notebook keeps nobody out. A job that
another process runs is watched, and taken over when that process is gone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from nightkiln.app import Embedded, Reading, open_embedded, open_reading
from nightkiln.app.reading import progress_of
from nightkiln.core.errors import NightkilnError
from nightkiln.core.events import (
    Ended,
    JobView,
    Noticed,
    Opened,
    Opening,
    Planned,
    Progressed,
)
from nightkiln.dispatch.turns import Turnstiles
from nightkiln.sdk.base import Accepted, Following
from nightkiln.service.framing import Answered
from nightkiln.service.manner import Changes
from nightkiln.service.orders import Order, Staged
from nightkiln.service.staging import stage
from nightkiln.tables.frames import Frame
from nightkiln.vault.home import Home

POLL_S: Final = 0.3  # between looks at a job that another process runs

Working = Callable[[Embedded, "Run"], Awaitable[Ended]]


class Run:
    """One job worked on here: what it told last, and how to stop it."""

    def __init__(self, on_opened: "Callable[[Run, Opened], None]") -> None:
        self.stop = asyncio.Event()
        self.is_twin = False  # another run here works on the same job
        self._on_opened = on_opened
        self.opened: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
        self.notices: list[str] = []
        self.latest: Progressed | None = None
        self.trouble: NightkilnError | None = None
        self.task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @property
    def is_active(self) -> bool:
        """True until the work has come to its end."""
        return self.task is not None and not self.task.done()

    def hear(self, event: Opened | Progressed | Noticed) -> None:
        """Take what the run tells."""
        if isinstance(event, Noticed):
            self.notices.append(event.text)
        elif isinstance(event, Opened):
            if not self.opened.done():
                self._on_opened(self, event)
                self.opened.set_result(event)
        else:
            self.latest = event
            self.tell()

    def ended(self, task: asyncio.Task[None]) -> None:
        """The work is over; whoever still waits for the job's id hears why there is none."""
        bug = None if task.cancelled() else task.exception()
        why = self.trouble or bug
        if not self.opened.done():
            if why is None:
                self.opened.cancel()
            else:
                self.opened.set_exception(why)
        self.tell()

    def tell(self) -> None:
        """Wake whoever waits for news."""
        self._news.set()
        self._news = asyncio.Event()

    async def news(self, wait_s: float) -> None:
        """Wait for something new, or for a while."""
        try:
            async with asyncio.timeout(wait_s):
                await self._news.wait()
        except TimeoutError:
            pass


class LocalKiln:
    """Implements `base.Kiln` over a home. Belongs to one loop thread."""

    def __init__(
        self, root: Path, environ: Mapping[str, str], *, turnstiles: Turnstiles | None = None
    ) -> None:
        self._root = root
        self._environ = environ
        self._turnstiles = turnstiles or Turnstiles()  # for all its jobs, and maybe others'
        self._runs: dict[str, Run] = {}
        self._gate = asyncio.Lock()
        self._stack: AsyncExitStack | None = None
        self._app: Embedded | None = None
        self._users = 0

    # -- submitting

    def stage(self, frame: Frame) -> Staged:
        """Make a frame's rows durable, in the caller's thread."""
        home = Home(self._root)
        home.hold()
        try:
            return stage(home, frame)
        finally:
            home.release()

    def unstage(self, staged: Staged) -> None:
        """Remove staged rows that no job took; where one did, they have moved."""
        Path(staged.path).unlink(missing_ok=True)

    async def head(self, order: Order) -> tuple[str, ...]:
        """The columns of an order's input file."""
        async with self._working() as app:
            return await app.head(order)

    async def plan(self, order: Order) -> Planned:
        """What `submit` would do."""
        try:
            async with self._working() as app:
                return await app.plan(order)
        finally:
            if order.staged is not None:
                self.unstage(order.staged)

    async def submit(self, order: Order) -> Accepted:
        """Accept a job and work on it."""
        try:
            return await self._begin(
                lambda app, run: app.run(order, listen=run.hear, stop=run.stop)
            )
        finally:
            if order.staged is not None:
                self.unstage(order.staged)

    async def resume(self, job: str, changes: Changes) -> Accepted:
        """Work on a job that is not over; one that is worked on here simply goes on."""
        known = self._runs.get(job)
        if known is not None and known.is_active:
            view = await self.view(job)
            reused = view.job.totals.answered
            return Accepted(job=job, how=Opening.ATTACHED, rows=view.job.rows, reused=reused)
        return await self._begin(
            lambda app, run: app.resume(job, changes, listen=run.hear, stop=run.stop)
        )

    async def retry(self, job: str, *, classes: tuple[str, ...], changes: Changes) -> Accepted:
        """Open the rows without a result again and work on them."""
        known = self._runs.get(job)
        if known is not None and (await self.view(job)).job.state.is_terminal:
            assert known.task is not None
            await asyncio.wait([known.task])  # it is only putting its things away
        async with self._working() as app:
            view = await app.retry(job, classes=frozenset(classes))
        return await self.resume(view.job.id, changes)

    async def _begin(self, work: Working) -> Accepted:
        """Start a run and return once its job is durable. Raises what kept it from that."""
        run = Run(self._register)
        run.task = asyncio.create_task(self._carry(work, run), name="a job of the SDK")
        run.task.add_done_callback(run.ended)
        opened = await asyncio.shield(run.opened)
        return Accepted(
            job=opened.job,
            how=Opening.ATTACHED if run.is_twin else opened.how,
            rows=opened.rows,
            reused=opened.reused,
            notices=tuple(run.notices),
        )

    def _register(self, run: Run, opened: Opened) -> None:
        """A run knows its job now; one that comes second stops, before it loads a model."""
        known = self._runs.get(opened.job)
        attached = opened.how in (Opening.ATTACHED, Opening.WATCHING)
        if attached and known is not None and known.is_active:
            run.is_twin = True
            run.stop.set()
        else:
            self._runs[opened.job] = run

    async def _carry(self, work: Working, run: Run) -> None:
        """Carry a job to its end; what ends it early is kept for whoever waits."""
        try:
            async with self._working() as app:
                await work(app, run)
        except NightkilnError as error:
            run.trouble = error

    # -- looking

    async def view(self, name: str) -> JobView:
        """A job by its id, the beginning of one, or `last`."""
        async with self._reading() as app:
            return await app.job(name)

    async def jobs(self, *, limit: int) -> list[JobView]:
        """The newest jobs, newest first."""
        async with self._reading() as app:
            return await app.jobs(limit=limit)

    async def follow(self, job: str, *, seen: Progressed | None, wait_s: float) -> Following:
        """How a job stands, as soon as that differs from `seen`, or after a while."""
        run = self._runs.get(job)
        if run is not None and run.is_active:
            if seen is not None and run.latest == seen:
                await run.news(wait_s)
        elif seen is not None:
            await asyncio.sleep(min(wait_s, POLL_S))
        view = await self.view(job)
        active = run is not None and run.is_active
        told = run.latest if run is not None and active else None
        over = view.job.state.is_terminal and not active
        return Following(
            view=view,
            progress=told if told and not over else progress_of(view.job, now=view.job.created_at),
            active=active or view.running,
            trouble=None if run is None or active else self._trouble_of(run),
        )

    @staticmethod
    def _trouble_of(run: Run) -> NightkilnError | None:
        assert run.task is not None
        if not run.task.cancelled() and (bug := run.task.exception()) is not None:
            raise bug
        return run.trouble

    async def answered(self, job: str, *, partial: bool = False) -> Answered:
        """The rows and answers of an ended job, or what there is of them."""
        async with self._reading() as app:
            return await app.answered(job, partial=partial)

    # -- moving

    async def cancel(self, job: str) -> JobView:
        """End a job early; its answers are kept."""
        async with self._working() as app:
            return await app.cancel(job)

    async def pause(self, job: str) -> JobView:
        """Let a job rest until it is resumed."""
        async with self._working() as app:
            return await app.pause(job)

    # -- the home

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[Embedded]:
        """The home opened for work, shared by whatever uses it at the same time."""
        async with self._gate:
            if self._app is None:
                stack = AsyncExitStack()
                self._app = await stack.enter_async_context(
                    open_embedded(self._root, environ=self._environ, turnstiles=self._turnstiles)
                )
                self._stack = stack
            app = self._app
            self._users += 1
        try:
            yield app
        finally:
            async with self._gate:
                self._users -= 1
                if self._users == 0 and self._stack is not None:
                    stack, self._stack, self._app = self._stack, None, None
                    await stack.aclose()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Reading]:
        """The home as it is open, else opened for a look."""
        if self._app is not None:
            async with self._working() as app:
                yield app
        else:
            async with open_reading(self._root) as app:
                yield app

    async def aclose(self) -> tuple[str, ...]:
        """Stop working, keep every answer; a line for each job that is not over."""
        active = {job: run for job, run in self._runs.items() if run.is_active}
        for run in active.values():
            run.stop.set()
        tasks = [run.task for run in active.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        lines = []
        for job in active:
            view = await self.view(job)
            if not view.job.state.is_terminal:
                lines.append(resume_line(view))
        self._runs.clear()
        return tuple(lines)


def resume_line(view: JobView) -> str:
    """How a job that was left goes on."""
    job = view.job
    done = job.totals.answered if job.live is None else job.live.totals.answered
    said = f"{done:,} of {job.rows:,} rows are answered" if job.rows else "its rows are there"
    return (
        f"job {job.id} stops here; {said} and kept."
        " Run this again to go on: the same rows are the same job"
    )
