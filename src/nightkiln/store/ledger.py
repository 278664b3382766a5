"""What was spent, summed by project, day, backend and model. Outlives the jobs that spent it.

Written only in the transaction of a commit, so an attempt is booked once. No
prices here: costs arrive as whole nano-dollars.
"""

import datetime as dt

import msgspec
from sqlalchemy import insert, select, update

from nightkiln.core.ids import ProjectId
from nightkiln.core.usage import Totals
from nightkiln.store import codec
from nightkiln.store.schema import ledger
from nightkiln.store.tx import Tx


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A sum of the ledger, or what is to be added to it."""

    project: ProjectId
    day: str  # UTC, 2026-12-01
    backend: str
    model: str
    totals: Totals


def day_of(now: float) -> str:
    """The ledger's day of a moment."""
    return dt.datetime.fromtimestamp(now, tz=dt.UTC).date().isoformat()


async def add(tx: Tx, entry: Entry) -> None:
    """Add to a day's sum. Not idempotent: only `chunks.commit` calls it, once per commit."""
    if entry.totals == Totals():
        return
    here = (
        ledger.c.project_id == entry.project,
        ledger.c.day == entry.day,
        ledger.c.backend == entry.backend,
        ledger.c.model == entry.model,
    )
    row = await tx.row(select(ledger.c.totals).where(*here).with_for_update())
    if row is None:
        await tx.change(
            insert(ledger).values(
                project_id=entry.project,
                day=entry.day,
                backend=entry.backend,
                model=entry.model,
                totals=codec.text_of(entry.totals),
            )
        )
        return
    summed = codec.totals_of(row["totals"]).plus(entry.totals)
    await tx.change(update(ledger).where(*here).values(totals=codec.text_of(summed)))


async def by_day(tx: Tx, *, project: ProjectId, first: str, last: str) -> list[Entry]:
    """A project's sums from one day to another, both included, in order."""
    rows = await tx.rows(
        select(ledger)
        .where(ledger.c.project_id == project, ledger.c.day.between(first, last))
        .order_by(ledger.c.day, ledger.c.backend, ledger.c.model)
    )
    return [
        Entry(
            project=ProjectId(row["project_id"]),
            day=row["day"],
            backend=row["backend"],
            model=row["model"],
            totals=codec.totals_of(row["totals"]),
        )
        for row in rows
    ]
