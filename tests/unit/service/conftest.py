"""A home with a real store, and jobs in it that are carried to where a test begins."""

from pathlib import Path

import msgspec
import pytest

from nightkiln.core.answer import Attempt
from nightkiln.core.fault import FaultClass
from nightkiln.core.job import Job, JobState, PromptSpec
from nightkiln.dispatch.member import Dice
from nightkiln.dispatch.openchunk import Form, OpenChunk
from nightkiln.dispatch.tally import Tally
from nightkiln.service import moves, submit
from nightkiln.service.context import Context
from nightkiln.service.finalize import finalize
from nightkiln.service.ingest import Ingested, ingest
from nightkiln.service.leases import LocalLeases
from nightkiln.service.orders import Order
from nightkiln.store import jobs
from nightkiln.testing.backends import answer_to, encode_prompt, fault
from nightkiln.worker.base import Desk
from nightkiln.worker.window import Window


@pytest.fixture
def kiln(context: Context, tmp_path: Path) -> "Kilnful":
    return Kilnful(context, tmp_path)


class Kilnful:
    """Carries jobs from state to state the way a run does, without a backend."""

    def __init__(self, context: Context, folder: Path) -> None:
        self.context = context
        self.folder = folder

    def order(self, rows: int = 20, *, name: str = "in.txt", **more: object) -> Order:
        path = self.folder / name
        path.write_text("".join(f"row {row}\n" for row in range(rows)))
        fields = {"output": None, "prompt": PromptSpec(), "model": "m", "endpoint": "http://x/v1"}
        return Order(input=str(path), **{**fields, **more})  # type: ignore[arg-type]

    async def accepted(self, order: Order) -> Job:
        source = await submit.source_of(self.context, order)
        job, _ = await submit.accept(
            self.context, submit.spec_of(order, source, model="m"), new=order.new
        )
        return job

    def taken(self, job: Job, *, stop_at: int | None = None) -> Ingested:
        """Take in the input of an accepted job, or the beginning of it."""
        seen: list[int] = []
        return ingest(
            job,
            self.context.files(job.id),
            on_rows=seen.append,
            stop=lambda: stop_at is not None and bool(seen) and seen[-1] >= stop_at,
        )

    async def queued(self, order: Order) -> Job:
        job = await self.accepted(order)
        return await moves.validated(self.context, job.id, self.taken(job))

    async def window(self, job: Job) -> Window:
        run = self.context.new_run_id()
        desk = Desk(
            job=await moves.begin_run(self.context, job.id, run),
            run=run,
            leases=LocalLeases(self.context),
            files=self.context.files(job.id),
            dice=Dice(clock=self.context.clock, roll=lambda: 0.0),
        )
        return Window(desk, form=Form(encode=encode_prompt), tally=Tally(job.totals))

    async def answered(
        self, job: Job, *, rows: int, failing: frozenset[int] = frozenset(), seal: bool = True
    ) -> None:
        """Answer the first `rows` rows; seal the chunks that have all their answers."""
        window = await self.window(job)
        left = rows
        while left and (opened := await window.lease_more(8)):
            for chunk in opened:
                left -= answer(chunk, left, failing)
        for chunk in list(window.open.values()):
            if seal and not chunk.unanswered:
                await window.seal(chunk, backend="b")
            else:
                await window.leave(chunk)
        await window.aclose()

    async def ended(self, order: Order, *, failing: frozenset[int] = frozenset()) -> Job:
        job = await self.queued(order)
        await self.answered(job, rows=job.rows, failing=failing)
        await moves.move(self.context, job.id, JobState.FINALIZING)
        return await finalize(self.context, job.id)

    async def job(self, job: Job) -> Job:
        return await self.context.store.read(
            lambda tx: jobs.get(tx, job.id, project=self.context.project)
        )


def answer(chunk: OpenChunk, most: int, failing: frozenset[int]) -> int:
    """Answer up to `most` open rows of a chunk; how many that were."""
    bad, done = fault(FaultClass.PERMANENT), 0
    for try_ in list(chunk.tries())[:most]:
        row = try_.row
        end = Attempt(number=try_.number + 1, backend="b", sent_at=1.0, latency_ms=1.0)
        if row in failing:
            chunk.failed(row, msgspec.structs.replace(end, fault=bad), bad)
        else:
            chunk.answered(row, end, answer_to(f"row {row}"))
        done += 1
    return done
