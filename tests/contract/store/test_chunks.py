"""Leases, fences, commits and retries, in every store."""

from collections.abc import Callable

import msgspec
import pytest

from nightkiln.core.chunk import Chunk, ChunkState, Lease, Sealed
from nightkiln.core.errors import Fenced, NotFound
from nightkiln.core.ids import DEFAULT_PROJECT, JobId, RunId
from nightkiln.core.job import Job, JobState
from nightkiln.core.usage import Totals
from nightkiln.store import chunks, jobs, ledger
from nightkiln.store.base import ControlPlane

ME, OTHER = RunId("run_me"), RunId("run_other")
NOW = 86_400.0


def sealed(name: str = "aa", *, ok: int = 10, **faults: int) -> Sealed:
    failed = sum(faults.values())
    totals = Totals(ok=ok, failed=failed, faults=faults)
    return Sealed(sha256=name, size_bytes=1, totals=totals, spent=Totals(attempts=ok + failed))


async def take(
    database: ControlPlane, job: Job, *, run: RunId = ME, want: int = 1, request: str = "r1"
) -> list[Lease]:
    return await database.write(
        lambda tx: chunks.lease(tx, job.id, run=run, want=want, request_id=request)
    )


async def commit(database: ControlPlane, lease: Lease, part: Sealed) -> Chunk:
    return await database.write(lambda tx: chunks.commit(tx, lease, part, now=NOW, backend="b"))


async def look(database: ControlPlane, job: Job) -> tuple[Job, list[Chunk]]:
    found = await database.read(lambda tx: jobs.get(tx, job.id, project=DEFAULT_PROJECT))
    return found, await database.read(lambda tx: chunks.all_chunks(tx, job.id))


async def finish(database: ControlPlane, job: Job, parts: list[Sealed]) -> None:
    for lease, part in zip(await take(database, job, want=9), parts, strict=True):
        await commit(database, lease, part)


async def test_chunks_are_leased_in_row_order_under_a_new_epoch(
    database: ControlPlane, running: Job
) -> None:
    first = await take(database, running, want=2, request="r1")
    rest = await take(database, running, want=9, request="r2")
    assert [lease.chunk.number for lease in first + rest] == [0, 1, 2, 3, 4]
    assert {(lease.chunk.epoch, lease.chunk.state) for lease in first} == {(1, ChunkState.LEASED)}
    assert await take(database, running, want=9, request="r3") == []


async def test_a_lease_may_ask_among_some_chunks_only(database: ControlPlane, running: Job) -> None:
    await take(database, running, want=2)
    leases = await database.write(
        lambda tx: chunks.lease(tx, running.id, run=ME, want=2, request_id="r2", among=[4, 1, 3, 2])
    )
    assert [lease.chunk.number for lease in leases] == [2, 3]
    none: list[int] = []
    assert (
        await database.write(
            lambda tx: chunks.lease(tx, running.id, run=ME, want=2, request_id="r3", among=none)
        )
        == []
    )


async def test_the_same_request_again_gives_the_same_leases(
    database: ControlPlane, running: Job
) -> None:
    first = await take(database, running, want=2)
    assert await take(database, running, want=2) == first
    others = await take(database, running, run=OTHER, want=2)
    assert [lease.chunk.number for lease in others] == [2, 3]


async def test_a_job_that_is_over_or_gone_gives_no_leases(
    database: ControlPlane, job: Callable[..., Job], running: Job
) -> None:
    await database.write(lambda tx: jobs.save(tx, running.moved(JobState.DELETING)))
    assert await take(database, running) == []
    assert await take(database, job("job_none")) == []


async def test_a_raised_epoch_fences_the_lease_before_it(
    database: ControlPlane, running: Job
) -> None:
    (old,) = await take(database, running)
    new = await database.write(lambda tx: chunks.raise_epoch(tx, old))
    assert new.chunk.epoch == old.chunk.epoch + 1
    with pytest.raises(Fenced, match="chunk 0 of job job_1 under epoch 1"):
        await commit(database, old, sealed())
    with pytest.raises(Fenced):
        await database.write(lambda tx: chunks.raise_epoch(tx, old))
    await commit(database, new, sealed())


async def test_a_released_chunk_is_leased_again_and_an_old_release_is_ignored(
    database: ControlPlane, running: Job
) -> None:
    (old,) = await take(database, running)
    await database.write(lambda tx: chunks.release(tx, old))
    (new,) = await take(database, running, run=OTHER)
    await database.write(lambda tx: chunks.release(tx, old))
    assert new.chunk.number == 0
    assert new.chunk.epoch == 2
    await commit(database, new, sealed())


async def test_adopting_opens_what_dead_runs_held_and_fences_them(
    database: ControlPlane, running: Job
) -> None:
    dead = await take(database, running, run=OTHER, want=2)
    (mine,) = await take(database, running)
    assert await database.write(lambda tx: chunks.adopt(tx, running.id, run=ME)) == 2
    with pytest.raises(Fenced):
        await commit(database, dead[0], sealed())
    assert [one.chunk.number for one in await take(database, running, request="r2", want=2)] == [
        0,
        1,
    ]
    await commit(database, mine, sealed())


async def test_a_commit_makes_the_part_real_and_moves_every_sum(
    database: ControlPlane, running: Job
) -> None:
    (lease,) = await take(database, running)
    done = await commit(database, lease, sealed("ab", ok=8, invalid=2))
    found, all_chunks = await look(database, running)
    assert all_chunks[0] == done
    assert (done.state, done.committed_epoch, done.sha256) == (ChunkState.COMMITTED, 1, "ab")
    assert found.totals == Totals(ok=8, failed=2, faults={"invalid": 2})
    assert found.spent == Totals(attempts=10)
    assert await database.read(lambda tx: chunks.open_count(tx, running.id)) == 4
    booked = await database.read(
        lambda tx: ledger.by_day(tx, project=DEFAULT_PROJECT, first="1970-01-01", last="1971-01-01")
    )
    assert [(one.day, one.backend, one.model) for one in booked] == [("1970-01-02", "b", "sim")]
    assert booked[0].totals == Totals(attempts=10)


async def test_the_same_commit_again_changes_nothing_and_another_part_is_refused(
    database: ControlPlane, running: Job
) -> None:
    (lease,) = await take(database, running)
    done = await commit(database, lease, sealed())
    before = await look(database, running)
    assert await commit(database, lease, sealed()) == done
    with pytest.raises(Fenced):
        await commit(database, lease, sealed("bb"))
    assert await look(database, running) == before


async def test_commits_are_numbered_without_gaps_in_their_order(
    database: ControlPlane, running: Job
) -> None:
    leases = await take(database, running, want=5)
    order = [3, 0, 4, 2]
    for number in order:
        await commit(database, leases[number], sealed())
    real = await database.read(lambda tx: chunks.committed(tx, running.id))
    assert [chunk.number for chunk in real] == [0, 2, 3, 4]
    by_seq = sorted(real, key=lambda chunk: chunk.commit_seq or 0)
    assert [(chunk.number, chunk.commit_seq) for chunk in by_seq] == [
        (number, seq) for seq, number in enumerate(order, 1)
    ]


@pytest.mark.parametrize("over", [JobState.DELETING, JobState.CANCELLED])
async def test_a_job_that_is_over_takes_no_new_part(
    database: ControlPlane, running: Job, over: JobState
) -> None:
    (lease,) = await take(database, running)
    if over is JobState.CANCELLED:
        await database.write(lambda tx: jobs.save(tx, running.moved(JobState.CANCELLING)))
        cancelling = msgspec.structs.replace(running, state=over)
        await database.write(lambda tx: jobs.save(tx, cancelling))
    else:
        await database.write(lambda tx: jobs.save(tx, running.moved(over)))
    with pytest.raises(Fenced):
        await commit(database, lease, sealed())


async def test_answers_at_hand_are_committed_while_a_job_is_being_cancelled(
    database: ControlPlane, running: Job
) -> None:
    (lease,) = await take(database, running)
    await database.write(lambda tx: jobs.save(tx, running.moved(JobState.CANCELLING)))
    await commit(database, lease, sealed(ok=3))
    assert (await take(database, running, request="r2"))[0].chunk.number == 1


@pytest.mark.parametrize(
    ("classes", "again"),
    [(None, [1, 2, 3, 4]), (frozenset({"timeout"}), [2, 3, 4]), (frozenset(), [3, 4])],
)
async def test_a_retry_opens_the_chunks_it_is_about(
    database: ControlPlane, running: Job, classes: frozenset[str] | None, again: list[int]
) -> None:
    parts = [sealed(), sealed(ok=9, invalid=1), sealed(ok=9, timeout=1), sealed(ok=9)]
    for lease, part in zip(await take(database, running, want=4), parts, strict=True):
        await commit(database, lease, part)
    for expected in (len(again), 0):
        count = await database.write(
            lambda tx: chunks.reopen(tx, running.id, classes=classes, generation=2)
        )
        assert count == expected
    _, found = await look(database, running)
    opened = [chunk for chunk in found if chunk.generation == 2]
    assert [chunk.number for chunk in opened] == again
    assert {chunk.state for chunk in opened} == {ChunkState.OPEN}
    assert found[3].committed_epoch == 1
    assert found[3].totals == parts[3].totals


async def test_a_retry_replaces_counts_and_adds_to_what_was_spent(
    database: ControlPlane, running: Job
) -> None:
    await finish(database, running, [sealed(ok=9, timeout=1)] + [sealed()] * 4)
    await database.write(lambda tx: chunks.reopen(tx, running.id, classes=None, generation=2))
    (lease,) = await take(database, running, request="r2")
    retried = msgspec.structs.replace(sealed("bb"), spent=Totals(attempts=1))
    done = await commit(database, lease, retried)
    found, _ = await look(database, running)
    assert found.totals == Totals(ok=50)
    assert found.spent == Totals(attempts=51)
    assert (done.committed_epoch, done.commit_seq, done.generation) == (2, 6, 2)


async def test_a_chunk_is_found_by_its_number(database: ControlPlane, running: Job) -> None:
    chunk = await database.read(lambda tx: chunks.get(tx, running.id, 3))
    assert (chunk.first_row, chunk.rows, chunk.row_group) == (30, 10, 3)
    with pytest.raises(NotFound):
        await database.read(lambda tx: chunks.get(tx, running.id, 5))


async def test_many_chunks_go_in_at_once(database: ControlPlane, job: Callable[..., Job]) -> None:
    made = job("job_big")
    await database.write(lambda tx: jobs.insert(tx, made))
    await database.write(
        lambda tx: chunks.insert_many(
            tx,
            (
                Chunk(job=JobId("job_big"), number=n, first_row=n, rows=1, segment=0, row_group=n)
                for n in range(4500)
            ),
        )
    )
    assert await database.read(lambda tx: chunks.open_count(tx, made.id)) == 4500
    count = await database.write(
        lambda tx: chunks.reopen(tx, made.id, classes=None, generation=2), deadline_s=60
    )
    assert count == 4500
