"""A home on a real disk, the process that has it open, and the checks against the model."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from nightkiln.app.finishing import finish_cancel
from nightkiln.core import crashpoints
from nightkiln.core.chunk import ChunkState
from nightkiln.core.errors import NotFound
from nightkiln.core.job import Job, JobState
from nightkiln.core.usage import Totals, summed
from nightkiln.dispatch.member import Dice
from nightkiln.dispatch.openchunk import OpenChunk
from nightkiln.service import deletion
from nightkiln.service.context import Context
from nightkiln.service.results import export
from nightkiln.store import chunks, jobs
from nightkiln.store.database import Database
from nightkiln.store.paging import Page
from nightkiln.testing.clock import FakeClock
from nightkiln.vault.home import Home

from .model import Hands, Life, Said

T = TypeVar("T")
POINTS = [
    "job.accepted", "ingest.finished", "chunk.leased", "part.written", "part.renamed",
    "part.committed", "journal.removed", "publish.linked", "publish.manifest", "job.ended",
    "delete.tombstone", "delete.files", "retry.opened",
]  # fmt: skip
WORKABLE = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)
UNFINISHED = (JobState.VALIDATING, *WORKABLE)
TO_RETRY = (JobState.COMPLETED_WITH_ERRORS, JobState.CANCELLED)


class Crash(BaseException):
    """The process is gone at this point."""


def _crash() -> None:
    raise Crash


class Homestead:
    """A home, the process that has it open, the jobs in it, and what is checked of them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nightkiln-life-"))
        self.clock = FakeClock()
        self.dice = Dice(clock=self.clock, roll=lambda: 0.0)
        self.lives: list[Life] = []
        self.inputs = 0
        self.sizes: dict[Path, int] = {}  # of journals, as far as they were synced
        self._loops = asyncio.Runner()
        self._start()

    def _start(self) -> None:
        """A new process opens the home."""
        self.home = Home(self.folder / "home")
        self.home.hold()

        async def opened() -> Context:
            store = await Database.open(self.home.database)
            context = Context(store, self.home, clock=self.clock)
            await deletion.collect_garbage(context)
            return context

        self.context = self._loops.run(opened())

    def do(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Let the process do something; None when it crashed on the way."""
        self.clock.advance(1.0)
        try:
            return self._loops.run(work)
        except Crash:
            self.crash(power=False, keep=1.0)
            return None

    def arm(self, point: str) -> None:
        crashpoints.arm(point, nth=1, action=_crash)

    def close(self) -> None:
        crashpoints.disarm()
        self._end()
        self._loops.close()
        shutil.rmtree(self.folder)

    def _end(self) -> None:
        """The process ends as kill -9 would end it: nothing is flushed, locks drop."""

        async def end() -> None:
            for life in self.lives:
                if life.hands is not None:
                    await life.hands.window.aclose()
                    life.hands = None
            await self.context.store.aclose()

        self._loops.run(end())
        self.home.release()

    def crash(self, *, power: bool, keep: float) -> None:
        crashpoints.disarm()
        self._end()
        if power:
            for path in (self.folder / "home" / "jobs").glob("*/journal/*.log"):
                size, synced = path.stat().st_size, self.sizes.get(path, 0)
                os.truncate(path, max(synced, synced + int((size - synced) * keep)))
            for life in self.lives:
                life.torn = True
        self._start()
        for life in list(self.lives):
            self._reread(life)

    # -- choosing

    def pick(self, number: int, *states: JobState) -> Life:
        found = [life for life in self.lives if not states or life.state in states]
        return found[number % len(found)]

    def any_in(self, *states: JobState) -> bool:
        return any(life.state in states for life in self.lives)

    def any_workable(self) -> bool:
        return self.any_in(*WORKABLE)

    def pick_workable(self, number: int) -> Life:
        return self.pick(number, *WORKABLE)

    def any_unfinished(self) -> bool:
        return self.any_in(*UNFINISHED)

    def pick_unfinished(self, number: int) -> Life:
        return self.pick(number, *UNFINISHED)

    def any_to_retry(self) -> bool:
        return self.any_in(*TO_RETRY)

    def pick_to_retry(self, number: int) -> Life:
        return self.pick(number, *TO_RETRY)

    def any_open(self) -> bool:
        return any(life.hands and life.hands.window.open for life in self.lives)

    def _pick_chunk(self, number: int) -> tuple[Life, Hands, OpenChunk]:
        found = [
            (life, life.hands, chunk)
            for life in self.lives
            if life.hands is not None
            for chunk in life.hands.window.open.values()
        ]
        return found[number % len(found)]

    # -- looking

    def _jobs(self) -> list[Job]:
        page, project = Page(limit=100), self.context.project
        found, more = self._loops.run(
            self.context.store.read(lambda tx: jobs.list_jobs(tx, page, project=project))
        )
        assert not more
        return found

    async def _job(self, life: Life) -> Job:
        return await self.context.store.read(
            lambda tx: jobs.get(tx, life.id, project=self.context.project)
        )

    def _reread(self, life: Life) -> None:
        """Go on from what the store says; a job that was being deleted may be gone."""
        try:
            job = self._loops.run(self._job(life))
        except NotFound:
            job = None
        if job is None or job.state is JobState.DELETING:
            if job is None:
                assert not self.context.files(life.id).root.exists()
            self.lives = [other for other in self.lives if other is not life]
            return
        if job.generation != life.generation:
            life.retries(job)
        life.state = job.state
        if job.state in (JobState.FINALIZING, JobState.CANCELLING):  # a crash came between
            self.do(finish_cancel(self.context, life.id))
            life.state = self._loops.run(self._job(life)).state

    def check(self) -> None:
        for life in self.lives:
            self._loops.run(self._checked(life))

    async def _checked(self, life: Life) -> None:
        job = await self._job(life)
        known = await self.context.store.read(lambda tx: chunks.all_chunks(tx, life.id))
        assert job.state is life.state
        assert job.totals == summed(chunk.totals for chunk in known), "counts do not add up"
        assert job.totals.answered >= life.committed, "progress went back"
        life.committed = job.totals.answered
        committed = [chunk.commit_seq for chunk in known if chunk.commit_seq is not None]
        assert len(set(committed)) == len(committed)
        for chunk in known:
            if chunk.state is ChunkState.COMMITTED:
                part = self.context.files(life.id).part(chunk.number, chunk.committed_epoch or 0)
                assert part.exists(), "a committed chunk without its part"
        if job.state.is_terminal and life.checked != (job.generation, job.state):
            life.checked = (job.generation, job.state)
            life.compare(await self._results(job), job)

    async def _results(self, job: Job) -> list[Said]:
        """What a user downloads; a job that was cancelled before its rows were known has none."""
        if not job.rows:
            assert job.totals == Totals()
            return []
        out = self.folder / "out.jsonl"
        assert await export(self.context, job, str(out), None) == job.rows
        rows = [msgspec.json.decode(line) for line in out.read_bytes().splitlines()]
        return [(row["answer"], row["fault"]) for row in rows]
