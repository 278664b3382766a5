"""What may happen to jobs: submitting, working by hand or by a runner, ending; each a verb."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from nightkiln.app.finishing import finish_cancel
from nightkiln.core.answer import Attempt, Reply
from nightkiln.core.events import Opening
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import Job, JobState, PromptSpec
from nightkiln.core.request import Request
from nightkiln.core.usage import Usage
from nightkiln.dispatch.fleet import Fleet
from nightkiln.dispatch.member import LaneSettings, Member
from nightkiln.dispatch.openchunk import Form, OpenChunk, Try
from nightkiln.dispatch.tally import Tally
from nightkiln.plan.retry import RetryPolicy
from nightkiln.service import deletion, moves, submit
from nightkiln.service.finalize import finalize
from nightkiln.service.ingest import ingest
from nightkiln.service.leases import LocalLeases
from nightkiln.service.orders import Order
from nightkiln.store import chunks
from nightkiln.testing.backends import ScriptedBackend, answer_to, encode_prompt, fault
from nightkiln.worker.base import Desk
from nightkiln.worker.runner import Ending, Runner, RunSettings
from nightkiln.worker.window import Window

from .homestead import Homestead
from .model import Hands, Life

FINAL = fault(FaultClass.PERMANENT)
STUMBLE = fault(FaultClass.TRANSIENT)
NOW_AND_THEN = 7  # every so manieth row of a scripted run fails for good


class World(Homestead):
    """Everything outside the model. Each verb is one thing that may happen."""

    # -- submitting

    def accept(self, rows: int) -> None:
        self.inputs += 1
        texts = [f"input {self.inputs} row {row}" for row in range(rows)]
        path = self.folder / f"{self.inputs}.txt"
        path.write_text("\n".join(texts) + "\n")
        before = {life.id for life in self.lives}
        self.do(self._accepted(path))
        for job in self._jobs():
            if job.id not in before:
                self.lives.append(Life(job, texts))

    async def _accepted(self, path: Path) -> tuple[Job, Opening]:
        order = Order(
            input=str(path), output=None, prompt=PromptSpec(), model="m", endpoint="http://x/v1"
        )
        source = await submit.source_of(self.context, order)
        return await submit.accept(
            self.context, submit.spec_of(order, source, model="m"), new=False
        )

    def accept_again(self, life: Life) -> None:
        path = self.folder / f"{life.texts[0].split()[1]}.txt"
        if (found := self.do(self._accepted(path))) is not None:
            assert found[0].id == life.id
            assert found[1] is not Opening.NEW

    def ingest(self, life: Life) -> None:
        self.do(self._ingested(life))
        self._reread(life)

    async def _ingested(self, life: Life) -> None:
        job, files = await self._job(life), self.context.files(life.id)
        done = ingest(job, files, on_rows=lambda _: None, stop=lambda: False)
        await moves.validated(self.context, life.id, done)

    # -- working by hand

    def lease(self, life: Life, want: int) -> None:
        self.do(self._leased(life, want))
        self._reread(life)

    async def _leased(self, life: Life, want: int) -> None:
        if life.hands is None:
            desk = await self._desk(life)
            window = Window(desk, form=Form(encode=encode_prompt), tally=Tally(desk.job.totals))
            life.hands = Hands(window)
        for chunk in await life.hands.window.lease_more(want):
            life.recovers(chunk)
            older = self.context.files(life.id).journals_of(chunk.lease.chunk.number)
            self._all_synced(life, [path for _, path in older])
            life.hands.tries[chunk.lease.chunk.number] = list(chunk.tries())

    async def _desk(self, life: Life) -> Desk:
        run = self.context.new_run_id()
        job = await moves.begin_run(self.context, life.id, run)
        return Desk(
            job=job,
            run=run,
            leases=LocalLeases(self.context),
            files=self.context.files(life.id),
            dice=self.dice,
        )

    def answer(self, pick: int, count: int, outcome: str, *, sync: bool) -> None:
        life, hands, chunk = self._pick_chunk(pick)
        tries = hands.tries[chunk.lease.chunk.number][:count]
        self.do(self._answered(life, hands, chunk, tries, outcome=outcome, sync=sync))

    async def _answered(
        self,
        life: Life,
        hands: Hands,
        chunk: OpenChunk,
        tries: list[Try],
        *,
        outcome: str,
        sync: bool,
    ) -> None:
        async with asyncio.timeout(20):
            for try_ in tries:
                await self._tried(life, chunk, try_, outcome)
            left = hands.tries[chunk.lease.chunk.number]
            left[:] = [try_ for try_ in left if try_.row not in life.written]
            if sync:
                await self._synced(life, chunk)

    async def _tried(self, life: Life, chunk: OpenChunk, try_: Try, outcome: str) -> None:
        try_.number += 1
        await chunk.sent(try_.row, try_.number, "by hand")
        if outcome == "unended":
            try_.number -= 1  # a real lane never goes on after this; the next try is its twin
            return
        bad = {"final": FINAL, "stumble": STUMBLE}.get(outcome)
        attempt = self._attempt(try_.number, bad)
        life.ends += 1
        if outcome == "ok":
            reply = answer_to(life.texts[try_.row])
            life.answers(chunk, try_.row, (reply.text, None))
            chunk.answered(try_.row, attempt, reply)
        elif outcome == "final":
            life.answers(chunk, try_.row, (None, str(FINAL.kind)))
            chunk.failed(try_.row, attempt, FINAL)
        else:
            chunk.faulted(try_.row, attempt)

    def _attempt(self, number: int, bad: Fault | None) -> Attempt:
        return Attempt(
            number=number,
            backend="by hand",
            sent_at=self.clock(),
            latency_ms=1.0,
            usage=Usage(output_tokens=1) if bad is None else Usage(),
            fault=bad,
        )

    async def _synced(self, life: Life, chunk: OpenChunk) -> None:
        await chunk.journal.drain()
        path = self._journal(chunk)
        self.sizes[path] = path.stat().st_size
        rows = {row for row in life.rows_of(chunk) if row in life.written}
        life.synced(rows)

    def _all_synced(self, life: Life, paths: Iterable[Path]) -> None:
        """These journals are safe as they stand: whoever opens a chunk syncs them again."""
        self.sizes |= {path: path.stat().st_size for path in paths}

    def _journal(self, chunk: OpenChunk) -> Path:
        real = chunk.lease.chunk
        return self.context.files(real.job).journal_of(real.number, real.epoch)

    def finish_chunk(self, pick: int) -> None:
        life, hands, chunk = self._pick_chunk(pick)
        if chunk.unanswered:
            return
        self.do(self._sealed(life, hands, chunk))
        self._reread(life)

    async def _sealed(self, life: Life, hands: Hands, chunk: OpenChunk) -> None:
        await self._synced(life, chunk)
        await hands.window.seal(chunk, backend="by hand")

    # -- working as the product does

    def run(self, life: Life, *, asks: int, slots: int) -> None:
        self.do(self._ran(life, asks, slots))
        self._reread(life)

    async def _ran(self, life: Life, asks: int, slots: int) -> None:
        await self._drop_hands(life)
        desk, stop = await self._desk(life), asyncio.Event()
        backend = _script(life)
        backend.when_asked = lambda request: self._asked(life, backend, request, asks, stop)
        member = Member(
            backend=backend,
            settings=LaneSettings(slots=slots, policy=RetryPolicy(base_s=0.0)),
            price=lambda _: 0.0,
        )
        seen: list[int] = []
        runner = Runner(
            desk,
            fleet=Fleet([member], dice=self.dice),
            settings=RunSettings(slots=slots, drain_s=5.0),
            on_live=lambda live: seen.append(live.totals.answered),
            stop=stop,
        )
        async with asyncio.timeout(30):
            ending = await runner.run()
        assert seen == sorted(seen), "progress went back"
        assert not life.asked_again, f"{life.asked_again} had safe answers and were asked again"
        life.safe |= life.written
        life.written = {}
        self._all_synced(life, self.context.files(life.id).journal.glob("*.log"))
        to = JobState.FINALIZING if ending is Ending.DONE else JobState.PAUSED
        await moves.move(self.context, life.id, to)
        if ending is Ending.DONE:
            await finalize(self.context, life.id)

    def _asked(
        self, life: Life, backend: ScriptedBackend, request: Request, asks: int, stop: asyncio.Event
    ) -> None:
        row = request.row
        if row in life.safe:
            life.asked_again.add(row)  # an error here would only look like a bad backend
        life.ends += 1
        if backend.asks[row] > _stumbles(row):
            bad = row % NOW_AND_THEN == 0 and life.generation == 1
            text = answer_to(life.texts[row]).text
            life.written[row] = (None, str(FINAL.kind)) if bad else (text, None)
        if backend.asks.total() >= asks:
            stop.set()

    async def _drop_hands(self, life: Life) -> None:
        """The window of this process is left as a runner leaves it."""
        if life.hands is None:
            return
        window = life.hands.window
        for chunk in list(window.open.values()):
            await self._synced(life, chunk)
            await window.leave(chunk)
        await window.aclose()
        life.hands = None

    # -- ending

    def finish(self, life: Life) -> None:
        self.do(self._finished(life))
        self._reread(life)

    async def _finished(self, life: Life) -> None:
        left = await self.context.store.read(lambda tx: chunks.open_count(tx, life.id))
        if left == 0:
            await moves.move(self.context, life.id, JobState.FINALIZING)
            await finalize(self.context, life.id)

    def cancel(self, life: Life) -> None:
        self.do(self._cancelled(life))
        self._reread(life)

    async def _cancelled(self, life: Life) -> None:
        await self._drop_hands(life)
        await finish_cancel(self.context, life.id)

    def retry(self, life: Life) -> None:
        self.do(moves.retry(self.context, life.id))
        self._reread(life)

    def delete(self, life: Life) -> None:
        self.do(self._deleted(life))
        self._reread(life)

    async def _deleted(self, life: Life) -> None:
        await self._drop_hands(life)
        await deletion.delete(self.context, life.id)


def _stumbles(row: int) -> int:
    return row % 3 == 1


def _script(life: Life) -> ScriptedBackend:
    """Some rows stumble once; in the first generation some fail for good."""
    backend = ScriptedBackend(latency_s=0.0)
    for row, text in enumerate(life.texts):
        bad = row % NOW_AND_THEN == 0 and life.generation == 1
        last: Reply | Fault = FINAL if bad else answer_to(text)
        backend.script(text, [STUMBLE] * _stumbles(row) + [last])
    return backend
