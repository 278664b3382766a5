"""What each API key has had asked, by a key's id; and who asked for a batch, to be searched.

Until here the key of a job stood only inside its spec, and the caller of a batch only
inside the batch. What both say is carried over.
"""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_ROWS = 500  # read at once


def upgrade() -> None:
    """A table of uses, a column of jobs and one of batches, each filled from what is there."""
    op.create_table(
        "key_uses",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_nanos", sa.BigInteger, nullable=False),
    )
    op.add_column("jobs", sa.Column("key_id", sa.Text))
    _fill_jobs()
    op.add_column("batches", sa.Column("caller", sa.Text, nullable=False, server_default=""))
    _fill_batches()
    op.drop_index("batches_by_key", "batches")
    op.create_index("batches_by_key", "batches", ["project_id", "caller", "idempotency_key"])
    op.drop_index("batches_by_digest", "batches")
    op.create_index("batches_by_digest", "batches", ["project_id", "caller", "digest"])


def _fill_jobs() -> None:
    change = sa.text("UPDATE jobs SET key_id = :key WHERE id = :id")
    use = sa.text(
        "INSERT INTO key_uses (key_id, job_id, generation, rows, tokens, cost_nanos)"
        " VALUES (:key, :id, :generation, :rows, :tokens, :cost_nanos)"
    )
    for row in _rows("SELECT id, generation, rows, spec, spent FROM jobs"):
        key = json.loads(row["spec"]).get("label", {}).get("key", "")
        if not key:
            continue
        spent = json.loads(row["spent"])
        named = {"key": key, "id": row["id"]}
        tokens = spent.get("input_tokens", 0) + spent.get("output_tokens", 0)
        used = {"tokens": tokens, "cost_nanos": spent.get("cost_nanos", 0)}
        op.get_bind().execute(change, named)
        op.get_bind().execute(
            use, {**named, **used, "generation": row["generation"], "rows": row["rows"]}
        )


def _fill_batches() -> None:
    change = sa.text("UPDATE batches SET caller = :caller WHERE id = :id")
    for row in _rows("SELECT id, batch FROM batches"):
        caller = json.loads(row["batch"]).get("caller", "")
        op.get_bind().execute(change, {"caller": caller, "id": row["id"]})


def _rows(query: str) -> Iterator[sa.RowMapping]:
    """Every row of a query whose first column is the key, some at a time, while rows change."""
    last: Any = ""
    page = sa.text(f"{query} WHERE id > :last ORDER BY id LIMIT {_ROWS}")
    while found := op.get_bind().execute(page, {"last": last}).mappings().all():
        yield from found
        last = found[-1]["id"]
