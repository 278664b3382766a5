"""Generations in SQL: one row per pass over a job, readable long after the next one opened."""

import msgspec
from sqlalchemy import RowMapping, insert, select, update

from nightkiln.core.errors import NotFound
from nightkiln.core.ids import JobId
from nightkiln.core.job import JobState
from nightkiln.core.usage import Totals
from nightkiln.store import codec
from nightkiln.store.schema import generations
from nightkiln.store.tx import Tx


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One pass over a job: 1 at first, n+1 for every retry."""

    job: JobId
    number: int
    opened_at: float  # epoch seconds
    ended_at: float | None = None
    state: JobState | None = None  # how it ended; None while it runs
    totals: Totals = Totals()  # of its published parts
    manifest_sha256: str = ""


async def begin(tx: Tx, job: JobId, number: int, *, now: float) -> None:
    """Record that a generation opened. Again is fine and changes nothing."""
    if await _find(tx, job, number) is None:
        await tx.change(
            insert(generations).values(
                job_id=job,
                number=number,
                opened_at=now,
                totals=codec.text_of(Totals()),
                manifest_sha256="",
            )
        )


async def end(tx: Tx, ended: Generation) -> None:
    """Record how a generation ended and what it published. Raises NotFound."""
    changed = await tx.change(
        update(generations)
        .where(generations.c.job_id == ended.job, generations.c.number == ended.number)
        .values(
            ended_at=ended.ended_at,
            state=None if ended.state is None else ended.state.value,
            totals=codec.text_of(ended.totals),
            manifest_sha256=ended.manifest_sha256,
        )
    )
    if not changed:
        raise _no_such(ended.job, ended.number)


async def get(tx: Tx, job: JobId, number: int) -> Generation:
    """One generation. Raises NotFound."""
    row = await _find(tx, job, number)
    if row is None:
        raise _no_such(job, number)
    return _generation(row)


async def of_job(tx: Tx, job: JobId) -> list[Generation]:
    """A job's generations, oldest first."""
    rows = await tx.rows(
        select(generations).where(generations.c.job_id == job).order_by(generations.c.number)
    )
    return [_generation(row) for row in rows]


async def _find(tx: Tx, job: JobId, number: int) -> RowMapping | None:
    return await tx.row(
        select(generations).where(generations.c.job_id == job, generations.c.number == number)
    )


def _generation(row: RowMapping) -> Generation:
    return Generation(
        job=JobId(row["job_id"]),
        number=row["number"],
        opened_at=row["opened_at"],
        ended_at=row["ended_at"],
        state=None if row["state"] is None else JobState(row["state"]),
        totals=codec.totals_of(row["totals"]),
        manifest_sha256=row["manifest_sha256"],
    )


def _no_such(job: JobId, number: int) -> NotFound:
    return NotFound(f"job {job} has no generation {number}")
