"""Whatever workers do, a job's sums are the sums of its chunks."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from nightkiln.core.chunk import Chunk, ChunkState, Lease, Sealed
from nightkiln.core.errors import Fenced
from nightkiln.core.ids import DEFAULT_PROJECT, JobId, RunId
from nightkiln.core.job import Job, JobSpec, JobState, PromptSpec, SourceSpec
from nightkiln.core.usage import Totals, summed
from nightkiln.store import chunks, jobs, ledger
from nightkiln.store.database import Database
from nightkiln.store.tx import Tx

JOB = JobId("job_1")
CHUNKS, ROWS = 3, 4
RUNS = (RunId("run_a"), RunId("run_b"))

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("lease"), st.sampled_from(RUNS), st.integers(1, 2)),
        st.tuples(st.just("commit"), st.integers(0, 9), st.integers(0, ROWS)),
        st.tuples(st.just("release"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("raise"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("adopt"), st.sampled_from(RUNS), st.just(0)),
        st.tuples(st.just("retry"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


class History:
    """Plays steps against a database and remembers what was accepted."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.leases: list[Lease] = []
        self.parts: dict[tuple[int, int], Sealed] = {}
        self.requests = 0
        self.generation = 1

    async def begin(self) -> None:
        source = SourceSpec(kind="csv", path="/i", name="i", size_bytes=1, sha256="0")
        spec = JobSpec(source=source, prompt=PromptSpec(columns=("a",)), model="m")
        job = Job(
            id=JOB, spec=spec, idempotency_key="k", state=JobState.RUNNING, created_at=0.0, rows=12
        )

        async def record(tx: Tx) -> None:
            await jobs.insert(tx, job)
            await chunks.insert_many(
                tx,
                [
                    Chunk(job=JOB, number=n, first_row=0, rows=ROWS, segment=0, row_group=n)
                    for n in range(CHUNKS)
                ],
            )

        await self.database.write(record)

    async def play(self, step: tuple[str, object, object]) -> None:
        verb, who, count = step
        if verb == "lease":
            self.requests += 1
            self.leases += await self.database.write(
                lambda tx: chunks.lease(
                    tx,
                    JOB,
                    run=RunId(str(who)),
                    want=int(str(count)),
                    request_id=f"r{self.requests}",
                )
            )
        elif verb == "adopt":
            await self.database.write(lambda tx: chunks.adopt(tx, JOB, run=RunId(str(who))))
        elif verb == "retry":
            self.generation += 1
            await self.database.write(
                lambda tx: chunks.reopen(tx, JOB, classes=None, generation=self.generation)
            )
        elif self.leases:
            await self.with_lease(verb, self.leases[int(str(who)) % len(self.leases)], count)

    async def with_lease(self, verb: str, lease: Lease, count: object) -> None:
        try:
            if verb == "release":
                await self.database.write(lambda tx: chunks.release(tx, lease))
            elif verb == "raise":
                self.leases.append(
                    await self.database.write(lambda tx: chunks.raise_epoch(tx, lease))
                )
            else:
                part = part_of(lease, ok=int(str(count)))
                await self.database.write(lambda tx: chunks.commit(tx, lease, part, now=0.0))
                self.parts[lease.chunk.number, lease.chunk.epoch] = part
        except Fenced:
            pass

    async def check(self) -> None:
        job = await self.database.read(lambda tx: jobs.get(tx, JOB, project=DEFAULT_PROJECT))
        found = await self.database.read(lambda tx: chunks.all_chunks(tx, JOB))
        booked = await self.database.read(
            lambda tx: ledger.by_day(tx, project=DEFAULT_PROJECT, first="", last="9")
        )
        assert job.totals == summed(chunk.totals for chunk in found)
        assert job.spent == summed(part.spent for part in self.parts.values())
        assert summed(entry.totals for entry in booked) == job.spent
        seqs = {chunk.commit_seq for chunk in found} - {None}
        assert max((seq for seq in seqs if seq), default=0) == len(self.parts)
        assert len(seqs) == sum(chunk.commit_seq is not None for chunk in found)
        for chunk in found:
            if chunk.committed_epoch is None:
                assert chunk.state is not ChunkState.COMMITTED
                continue
            real = self.parts[chunk.number, chunk.committed_epoch]
            reopened = chunk.state is not ChunkState.COMMITTED
            counted = replace(real.totals, failed=0, faults={}) if reopened else real.totals
            assert (chunk.sha256, chunk.totals) == (real.sha256, counted)
            assert chunk.committed_epoch <= chunk.epoch


def part_of(lease: Lease, *, ok: int) -> Sealed:
    totals = Totals(ok=ok, failed=ROWS - ok, faults={"timeout": ROWS - ok} if ok < ROWS else {})
    name = f"{lease.chunk.number}.{lease.chunk.epoch}.{ok}"
    return Sealed(sha256=name, size_bytes=1, totals=totals, spent=Totals(attempts=ROWS + ok))


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_counts_never_drift(steps: list[tuple[str, object, object]]) -> None:
    async def scenario(folder: Path) -> None:
        database = await Database.open(folder / "store.db")
        try:
            history = History(database)
            await history.begin()
            for step in steps:
                await history.play(step)
                await history.check()
        finally:
            await database.aclose()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder)))
