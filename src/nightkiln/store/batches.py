"""Batches in SQL: the record that the wire needs beside the job."""

from sqlalchemy import delete, insert, select, update

from nightkiln.core.batches import Batch, BatchId, Dialect
from nightkiln.core.errors import NotFound
from nightkiln.core.ids import JobId, ProjectId
from nightkiln.store import codec
from nightkiln.store.paging import Page, rows_of
from nightkiln.store.schema import batches
from nightkiln.store.tx import Tx


async def insert_batch(tx: Tx, batch: Batch) -> None:
    """Record a new batch."""
    await tx.change(
        insert(batches).values(
            id=batch.id,
            project_id=batch.project,
            dialect=batch.dialect.value,
            created_at=batch.created_at,
            caller=batch.caller,
            digest=batch.digest,
            idempotency_key=batch.idempotency_key,
            **_moving(batch),
        )
    )


async def save(tx: Tx, batch: Batch) -> None:
    """Record what has changed of a batch. Raises NotFound."""
    changed = await tx.change(
        update(batches).where(batches.c.id == batch.id).values(**_moving(batch))
    )
    if not changed:
        raise _no_such(batch.id)


async def get(tx: Tx, batch: BatchId, *, project: ProjectId, dialect: Dialect) -> Batch:
    """A project's batch. Raises NotFound, also for another project's or another dialect's."""
    row = await tx.row(
        select(batches.c.batch).where(
            batches.c.id == batch,
            batches.c.project_id == project,
            batches.c.dialect == dialect.value,
        )
    )
    if row is None:
        raise _no_such(batch)
    return codec.batch_of(row["batch"])


async def list_batches(
    tx: Tx, page: Page, *, project: ProjectId, dialect: Dialect
) -> tuple[list[Batch], bool]:
    """A page of a project's batches, and whether there are more. Raises NotFound."""
    where = (batches.c.dialect == dialect.value,)
    found, more = await rows_of(tx, batches, page, project=project, where=where)
    return [codec.batch_of(row["batch"]) for row in found], more


async def of_job(tx: Tx, job: JobId) -> Batch | None:
    """The batch over a job, if it came through a wire."""
    row = await tx.row(select(batches.c.batch).where(batches.c.job_id == job))
    return None if row is None else codec.batch_of(row["batch"])


async def of_whole(tx: Tx, batch: BatchId) -> Batch | None:
    """The batch that a share names as its whole, if it is still known."""
    row = await tx.row(select(batches.c.batch).where(batches.c.id == batch))
    return None if row is None else codec.batch_of(row["batch"])


async def alike(
    tx: Tx, *, project: ProjectId, caller: str, digest: str, key: str | None, since: float
) -> list[Batch]:
    """A caller's batches that a create may repeat.

    With an idempotency key the newest one with it, however old, and no other; without
    one those of the same content since a time.
    """
    mine = select(batches.c.batch).where(
        batches.c.project_id == project, batches.c.caller == caller
    )
    if key is not None:
        alike = mine.where(batches.c.idempotency_key == key)
    else:
        alike = mine.where(batches.c.digest == digest, batches.c.created_at >= since)
    rows = await tx.rows(alike.order_by(batches.c.created_at.desc()).limit(1 if key else 10))
    return [codec.batch_of(row["batch"]) for row in rows]


async def outdated(tx: Tx, *, now: float, after: str = "", limit: int) -> list[Batch]:
    """A page of the batches of every project whose results have had their time, by their ids."""
    rows = await tx.rows(
        select(batches.c.batch)
        .where(batches.c.results_until <= now, batches.c.id > after)
        .order_by(batches.c.id)
        .limit(limit)
    )
    return [codec.batch_of(row["batch"]) for row in rows]


async def remove(tx: Tx, batch: BatchId, *, project: ProjectId) -> None:
    """Forget a batch. Raises NotFound."""
    changed = await tx.change(
        delete(batches).where(batches.c.id == batch, batches.c.project_id == project)
    )
    if not changed:
        raise _no_such(batch)


def _moving(batch: Batch) -> dict[str, object]:
    return {
        "job_id": None if batch.parts else batch.job,  # the job whose end is the batch's
        "ended_at": batch.ended_at,
        "expires_at": batch.expires_at,
        "results_until": batch.results_until,
        "batch": codec.text_of(batch),
    }


def _no_such(batch: BatchId) -> NotFound:
    return NotFound(f"no batch {batch}")
