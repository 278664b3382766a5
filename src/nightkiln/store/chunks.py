"""Chunks in SQL: who may work on which rows, and which part is real.

The epoch is the fence. Every lease raises it, and a commit counts only while
its epoch is the chunk's current one, so a worker that lost its chunk without
knowing can write files but cannot make them real. The sums of a job move by
new minus previous in the transaction that makes the part real; there is no
other way for them to change, which is why they cannot drift.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)

from nightkiln.core.chunk import Chunk, ChunkState, Lease, Sealed
from nightkiln.core.errors import Fenced, NotFound
from nightkiln.core.ids import JobId, ProjectId, RunId
from nightkiln.core.job import TERMINAL, JobState
from nightkiln.core.usage import Totals, summed
from nightkiln.store import codec, keyuses, ledger
from nightkiln.store.schema import chunks, jobs
from nightkiln.store.tx import Tx

_OPEN: Final = ChunkState.OPEN.value
_LEASED: Final = ChunkState.LEASED.value
_COMMITTED: Final = ChunkState.COMMITTED.value
# A job in these states takes no more work: its results are published or going.
_CLOSED: Final = TERMINAL | {JobState.DELETING}
# The words of the partial index, spelled out: with a bound value in their place
# the planner cannot know that the index holds every row that is asked for.
_LEFT: Final = chunks.c.state != literal_column(f"'{_COMMITTED}'")
_BATCH: Final = 2000  # rows per statement: bounds memory and values, not correctness


async def insert_many(tx: Tx, new: Iterable[Chunk]) -> None:
    """Record a job's chunks, in the transaction that makes the job `queued`."""
    batch: list[dict[str, object]] = []
    for chunk in new:
        batch.append(_values(chunk))
        if len(batch) == _BATCH:
            await tx.change(insert(chunks), batch)
            batch = []
    if batch:
        await tx.change(insert(chunks), batch)


async def lease(
    tx: Tx,
    job: JobId,
    *,
    run: RunId,
    want: int,
    request_id: str,
    among: Sequence[int] | None = None,
) -> list[Lease]:
    """Up to `want` open chunks (of `among`) in row order, each under a new epoch.

    The same request again gives the same leases, as far as they still stand.
    A job that is over gives none.
    """
    state = await _job_state(tx, job)
    if state is None or state in _CLOSED:
        return []
    given = await _held(tx, job, run=run, request_id=request_id)
    if given:
        return given
    free = await _free(tx, job, want=want, among=among)
    for numbers in _batches(free):
        await tx.change(
            update(chunks)
            .where(chunks.c.job_id == job, chunks.c.number.in_(numbers))
            .values(state=_LEASED, epoch=chunks.c.epoch + 1, run_id=run, request_id=request_id)
        )
    return await _held(tx, job, run=run, request_id=request_id) if free else []


async def raise_epoch(tx: Tx, held: Lease) -> Lease:
    """The same chunk under the next epoch, after a journal broke. Raises Fenced."""
    changed = await tx.change(
        update(chunks).where(*_still_ours(held)).values(epoch=chunks.c.epoch + 1)
    )
    if not changed:
        raise _fenced(held)
    raised = msgspec.structs.replace(held.chunk, epoch=held.chunk.epoch + 1)
    return Lease(chunk=raised, run=held.run)


async def release(tx: Tx, held: Lease) -> None:
    """Give a chunk back unfinished. A lease that is no longer ours is ignored."""
    await tx.change(
        update(chunks).where(*_still_ours(held)).values(state=_OPEN, run_id=None, request_id=None)
    )


async def adopt(tx: Tx, job: JobId, *, run: RunId) -> int:
    """Open again what other runs had leased; how many that were.

    Only for the holder of the job's lock: it knows that the other runs are dead.
    """
    return await tx.change(
        update(chunks)
        .where(chunks.c.job_id == job, _LEFT, chunks.c.state == _LEASED, chunks.c.run_id != run)
        .values(state=_OPEN, run_id=None, request_id=None)
    )


async def commit(tx: Tx, held: Lease, sealed: Sealed, *, now: float, backend: str = "") -> Chunk:
    """Make a written part real and move every sum with it; the chunk as it is now.

    The same epoch and checksum again is the same commit and changes nothing.
    `now` is the day of the ledger entry. Raises Fenced when the epoch is not
    current, the chunk is not leased by this run, or the job is over.
    """
    job = await tx.row(
        select(jobs.c.project_id, jobs.c.state, jobs.c.totals, jobs.c.spent)
        .add_columns(jobs.c.spec, jobs.c.commit_seq, jobs.c.generation, jobs.c.key_id)
        .where(jobs.c.id == held.chunk.job)
        .with_for_update()
    )
    row = await tx.row(_one(held.chunk.job, held.chunk.number).with_for_update())
    if job is None or row is None or job["state"] == JobState.DELETING.value:
        raise _fenced(held)
    before = _chunk(row)
    if before.committed_epoch == held.chunk.epoch and before.sha256 == sealed.sha256:
        return before
    ours = before.state is ChunkState.LEASED and row["run_id"] == held.run
    if before.epoch != held.chunk.epoch or not ours or JobState(job["state"]) in _CLOSED:
        raise _fenced(held)
    after = msgspec.structs.replace(
        before,
        state=ChunkState.COMMITTED,
        committed_epoch=before.epoch,
        commit_seq=job["commit_seq"] + 1,
        sha256=sealed.sha256,
        totals=sealed.totals,
    )
    await tx.change(update(chunks).where(*_named(after.job, after.number)).values(**_values(after)))
    moved = codec.totals_of(job["totals"]).plus(after.totals).minus(before.totals)
    spent = codec.totals_of(job["spent"]).plus(sealed.spent)
    await tx.change(
        update(jobs)
        .where(jobs.c.id == after.job)
        .values(
            totals=codec.text_of(moved), spent=codec.text_of(spent), commit_seq=after.commit_seq
        )
    )
    if job["key_id"] is not None:
        await keyuses.spend(tx, job["key_id"], after.job, job["generation"], sealed.spent)
    model = codec.spec_of(job["spec"]).model
    for name, spent_there in sealed.by_backend or ((backend, sealed.spent),):
        entry = ledger.Entry(
            project=ProjectId(job["project_id"]),
            day=ledger.day_of(now),
            backend=name,
            model=model,
            totals=spent_there,
        )
        await ledger.add(tx, entry)
    return after


async def reopen(tx: Tx, job: JobId, *, classes: AbstractSet[str] | None, generation: int) -> int:
    """Open for a retry every chunk with faults of these classes, or without all its answers.

    `classes` None means every class. The real part stays as the base that the
    next commit replaces; its rows with such faults leave the sums at once, so
    progress only grows from here. Chunks already in `generation` are left alone, so a
    repeated call opens nothing. Returns how many were opened.
    """
    again = [
        chunk
        for chunk in await all_chunks(tx, job)
        if chunk.generation < generation and _wants_retry(chunk, classes)
    ]
    if not again:
        return 0
    kept = {chunk.number: _without_faults(chunk.totals, classes) for chunk in again}
    await tx.change(
        update(chunks)
        .where(chunks.c.job_id == job, chunks.c.number == bindparam("this"))
        .values(
            state=_OPEN,
            generation=generation,
            run_id=None,
            request_id=None,
            totals=bindparam("kept"),
        ),
        [{"this": number, "kept": codec.text_of(totals)} for number, totals in kept.items()],
    )
    gone = summed(chunk.totals.minus(kept[chunk.number]) for chunk in again)
    row = await tx.row(select(jobs.c.totals).where(jobs.c.id == job).with_for_update())
    assert row is not None
    left = codec.totals_of(row["totals"]).minus(gone)
    await tx.change(update(jobs).where(jobs.c.id == job).values(totals=codec.text_of(left)))
    return len(again)


def _without_faults(totals: Totals, classes: AbstractSet[str] | None) -> Totals:
    """What is left of a chunk's counts when the rows with these faults are open again."""
    left = {} if classes is None else {k: n for k, n in totals.faults.items() if k not in classes}
    return msgspec.structs.replace(totals, failed=sum(left.values()), faults=left)


async def get(tx: Tx, job: JobId, number: int) -> Chunk:
    """One chunk. Raises NotFound."""
    row = await tx.row(_one(job, number))
    if row is None:
        raise NotFound(f"job {job} has no chunk {number}")
    return _chunk(row)


async def all_chunks(tx: Tx, job: JobId) -> list[Chunk]:
    """Every chunk of a job in row order."""
    return _chunks(await tx.rows(_of(job)))


async def committed(tx: Tx, job: JobId) -> list[Chunk]:
    """The chunks that have a real part, in row order.

    A chunk that a retry opened again is among them: its base part stays real
    until a commit replaces it.
    """
    return _chunks(await tx.rows(_of(job).where(chunks.c.committed_epoch.is_not(None))))


async def committed_after(tx: Tx, job: JobId, seq: int, *, limit: int) -> list[Chunk]:
    """The chunks of a job that were committed after a commit, in that order."""
    rows = await tx.rows(
        select(chunks)
        .where(chunks.c.job_id == job, chunks.c.commit_seq > seq)
        .order_by(chunks.c.commit_seq)
        .limit(limit)
    )
    return _chunks(rows)


async def last_committed(tx: Tx, job: JobId, *, limit: int) -> list[Chunk]:
    """The chunks of a job that were committed last, in the order of their commits."""
    rows = await tx.rows(
        select(chunks)
        .where(chunks.c.job_id == job, chunks.c.commit_seq.is_not(None))
        .order_by(chunks.c.commit_seq.desc())
        .limit(limit)
    )
    return _chunks(rows[::-1])


async def open_count(tx: Tx, job: JobId) -> int:
    """How many chunks still wait for a commit in this generation, leased ones included."""
    row = await tx.row(select(func.count().label("left")).where(chunks.c.job_id == job, _LEFT))
    return 0 if row is None else int(row["left"])


def _wants_retry(chunk: Chunk, classes: AbstractSet[str] | None) -> bool:
    if chunk.state is not ChunkState.COMMITTED or chunk.totals.answered < chunk.rows:
        return True
    if classes is None:
        return chunk.totals.failed > 0
    return not classes.isdisjoint(chunk.totals.faults)


async def _job_state(tx: Tx, job: JobId) -> JobState | None:
    row = await tx.row(select(jobs.c.state).where(jobs.c.id == job))
    return None if row is None else JobState(row["state"])


async def _free(tx: Tx, job: JobId, *, want: int, among: Sequence[int] | None) -> list[int]:
    """The numbers of the first open chunks, held against other writers until the commit."""
    query = (
        select(chunks.c.number)
        .where(chunks.c.job_id == job, _LEFT, chunks.c.state == _OPEN)
        .order_by(chunks.c.number)
        .with_for_update(skip_locked=True)
    )
    if among is None:
        return [row["number"] for row in await tx.rows(query.limit(want))]
    found: list[int] = []
    for numbers in _batches(sorted(among)):
        rest = query.where(chunks.c.number.in_(numbers)).limit(want - len(found))
        found += [row["number"] for row in await tx.rows(rest)]
        if len(found) >= want:
            break
    return found


def _batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Few enough at once for any database's limit on values in a statement."""
    return (numbers[start : start + _BATCH] for start in range(0, len(numbers), _BATCH))


async def _held(tx: Tx, job: JobId, *, run: RunId, request_id: str) -> list[Lease]:
    rows = await tx.rows(
        _of(job).where(
            _LEFT,
            chunks.c.state == _LEASED,
            chunks.c.run_id == run,
            chunks.c.request_id == request_id,
        )
    )
    return [Lease(chunk=chunk, run=run) for chunk in _chunks(rows)]


def _of(job: JobId) -> Select[tuple[object, ...]]:
    return select(chunks).where(chunks.c.job_id == job).order_by(chunks.c.number)


def _one(job: JobId, number: int) -> Select[tuple[object, ...]]:
    return select(chunks).where(*_named(job, number))


def _named(job: JobId, number: int) -> tuple[ColumnElement[bool], ...]:
    return chunks.c.job_id == job, chunks.c.number == number


def _still_ours(held: Lease) -> tuple[ColumnElement[bool], ...]:
    return (
        *_named(held.chunk.job, held.chunk.number),
        chunks.c.state == _LEASED,
        chunks.c.epoch == held.chunk.epoch,
        chunks.c.run_id == held.run,
    )


def _values(chunk: Chunk) -> dict[str, object]:
    return {
        "job_id": chunk.job,
        "number": chunk.number,
        "first_row": chunk.first_row,
        "rows": chunk.rows,
        "segment": chunk.segment,
        "row_group": chunk.row_group,
        "state": chunk.state.value,
        "epoch": chunk.epoch,
        "generation": chunk.generation,
        "committed_epoch": chunk.committed_epoch,
        "commit_seq": chunk.commit_seq,
        "sha256": chunk.sha256,
        "totals": codec.text_of(chunk.totals),
    }


def _chunks(rows: Sequence[RowMapping]) -> list[Chunk]:
    return [_chunk(row) for row in rows]


def _chunk(row: RowMapping) -> Chunk:
    return Chunk(
        job=JobId(row["job_id"]),
        number=row["number"],
        first_row=row["first_row"],
        rows=row["rows"],
        segment=row["segment"],
        row_group=row["row_group"],
        state=ChunkState(row["state"]),
        epoch=row["epoch"],
        generation=row["generation"],
        committed_epoch=row["committed_epoch"],
        commit_seq=row["commit_seq"],
        sha256=row["sha256"],
        totals=codec.totals_of(row["totals"]),
    )


def _fenced(held: Lease) -> Fenced:
    return Fenced(
        f"the lease on chunk {held.chunk.number} of job {held.chunk.job}"
        f" under epoch {held.chunk.epoch} is no longer held by run {held.run}",
        hint="nothing is lost: whoever holds the chunk now has all its answers",
    )
