"""What API keys have had asked, in SQL: rows, tokens and money, by job and generation.

The sums outlive the jobs, so nobody gets anything back by deleting one.
"""

import msgspec
from sqlalchemy import ColumnElement, func, insert, select, update

from nightkiln.core.access import KeyId
from nightkiln.core.ids import JobId
from nightkiln.core.usage import Totals
from nightkiln.store.schema import key_uses
from nightkiln.store.tx import Tx


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What a key has had asked so far; rows that wait for their turn are among it."""

    rows: int = 0
    tokens: int = 0
    cost_nanos: int = 0


async def used(tx: Tx, key: KeyId) -> Used:
    """The sums of a key over all its jobs."""
    sums = [func.coalesce(func.sum(key_uses.c[name]), 0) for name in Used.__struct_fields__]
    columns = [one.label(name) for one, name in zip(sums, Used.__struct_fields__, strict=True)]
    row = await tx.row(select(*columns).where(key_uses.c.key_id == key))
    return Used() if row is None else Used(**{name: int(row[name]) for name in row})


async def rows_of(tx: Tx, key: KeyId, job: JobId, generation: int) -> int:
    """The rows of one generation of a job that count as a key's."""
    row = await tx.row(select(key_uses.c.rows).where(*_one(key, job, generation)))
    return 0 if row is None else int(row["rows"])


async def put_rows(tx: Tx, key: KeyId, job: JobId, generation: int, *, rows: int) -> None:
    """Count so many rows of a generation of a job as a key's, in place of what was counted."""
    await _there(tx, key, job, generation)
    await tx.change(update(key_uses).where(*_one(key, job, generation)).values(rows=rows))


async def spend(tx: Tx, key: KeyId, job: JobId, generation: int, spent: Totals) -> None:
    """Add what was spent. Not idempotent: only `chunks.commit` calls it, once per commit."""
    await _there(tx, key, job, generation)
    await tx.change(
        update(key_uses)
        .where(*_one(key, job, generation))
        .values(
            tokens=key_uses.c.tokens + spent.input_tokens + spent.output_tokens,
            cost_nanos=key_uses.c.cost_nanos + spent.cost_nanos,
        )
    )


async def carry_over(tx: Tx, old: KeyId, new: KeyId) -> None:
    """Let a key begin where another one stands: what that has used is used of this one's too."""
    before = await used(tx, old)
    await tx.change(
        insert(key_uses).values(
            key_id=new,
            job_id="",
            generation=0,
            rows=before.rows,
            tokens=before.tokens,
            cost_nanos=before.cost_nanos,
        )
    )


async def _there(tx: Tx, key: KeyId, job: JobId, generation: int) -> None:
    if await tx.row(select(key_uses.c.rows).where(*_one(key, job, generation))) is None:
        await tx.change(
            insert(key_uses).values(
                key_id=key, job_id=job, generation=generation, rows=0, tokens=0, cost_nanos=0
            )
        )


def _one(key: KeyId, job: JobId, generation: int) -> tuple[ColumnElement[bool], ...]:
    return (
        key_uses.c.key_id == key,
        key_uses.c.job_id == job,
        key_uses.c.generation == generation,
    )
