"""Batches that a create may repeat, in every store."""

from collections.abc import Callable
from functools import partial

import pytest

from nightkiln.core.batches import Batch, BatchId, Dialect
from nightkiln.core.ids import DEFAULT_PROJECT
from nightkiln.core.job import Job
from nightkiln.store import batches, jobs
from nightkiln.store.base import ControlPlane
from nightkiln.store.tx import Tx


def batch(name: str, *, at: float, caller: str = "me", key: str | None = None) -> Batch:
    return Batch(
        id=BatchId(name),
        project=DEFAULT_PROJECT,
        dialect=Dialect.OPENAI,
        job=None,
        endpoint="/v1/chat/completions",
        created_at=at,
        expires_at=at + 1,
        caller=caller,
        digest="same",
        idempotency_key=key,
    )


@pytest.fixture
async def many(database: ControlPlane, job: Callable[..., Job]) -> ControlPlane:
    """One old batch with a key, and a crowd of the same content after it."""

    async def record(tx: Tx) -> None:
        await jobs.insert(tx, job())
        await batches.insert_batch(tx, batch("keyed", at=1.0, key="k"))
        await batches.insert_batch(tx, batch("theirs", at=2.0, caller="they", key="k"))
        for n in range(30):
            await batches.insert_batch(tx, batch(f"b{n}", at=10.0 + n))

    await database.write(record)
    return database


async def alike(database: ControlPlane, *, key: str | None, caller: str = "me") -> list[str]:
    found = await database.read(
        lambda tx: batches.alike(
            tx, project=DEFAULT_PROJECT, caller=caller, digest="same", key=key, since=35.0
        )
    )
    return [one.id for one in found]


async def test_a_key_finds_its_batch_behind_any_number_of_the_same_content(
    many: ControlPlane,
) -> None:
    assert await alike(many, key="k") == ["keyed"]
    assert await alike(many, key="k", caller="they") == ["theirs"]
    assert await alike(many, key="unknown") == []


async def test_without_a_key_content_counts_for_a_while(many: ControlPlane) -> None:
    assert await alike(many, key=None) == ["b29", "b28", "b27", "b26", "b25"]
    assert await alike(many, key=None, caller="they") == []


async def test_both_are_found_by_an_index(many: ControlPlane) -> None:
    from sqlalchemy import text

    for column, index in (("idempotency_key", "batches_by_key"), ("digest", "batches_by_digest")):
        query = text(
            "EXPLAIN QUERY PLAN SELECT batch FROM batches"
            f" WHERE project_id = 'default' AND caller = 'me' AND {column} = 'x'"
        )
        plan = await many.read(partial(Tx.rows, statement=query))
        assert any(index in str(row["detail"]) for row in plan)
