"""What is decided by, where an index can have it.

The priority of a job, the deadline of a batch, and when the results of one go. Until
here nothing removed results, so many have had their time already: these stay for a
week more, so that whoever counted on them can fetch them.
"""

import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_DAY_S = 86_400.0
_MORE_S = 7 * _DAY_S  # at least, from the upgrade on
_LEFT = sa.text("ended_at is null")


def upgrade() -> None:
    """Three columns, filled from the texts that say them, and their indexes."""
    op.add_column("jobs", sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
    op.add_column("batches", sa.Column("expires_at", sa.Float))
    op.add_column("batches", sa.Column("results_until", sa.Float))
    _fill("jobs", "spec", "priority", _priority)
    _fill("batches", "batch", "expires_at", _expiry)
    soonest = time.time() + _MORE_S
    _fill("batches", "batch", "results_until", lambda text: _results_until(text, soonest))
    op.create_index(
        "jobs_left",
        "jobs",
        ["project_id", "priority", "created_at", "id", "state", "wanted", "ended_at"],
        sqlite_where=_LEFT,
        postgresql_where=_LEFT,
    )
    op.create_index(
        "batches_left",
        "batches",
        ["expires_at", "job_id"],
        sqlite_where=_LEFT,
        postgresql_where=_LEFT,
    )
    op.create_index(
        "batches_outdated",
        "batches",
        ["results_until"],
        sqlite_where=sa.text("results_until is not null"),
        postgresql_where=sa.text("results_until is not null"),
    )


def _priority(text: str) -> int:
    return int(json.loads(text).get("label", {}).get("priority", 0))


def _expiry(text: str) -> float | None:
    found = json.loads(text).get("expires_at")
    return None if found is None else float(found)


def _results_until(text: str, soonest: float) -> float | None:
    batch = json.loads(text)
    if batch.get("ended_at") is None or batch.get("job") is None or batch["dialect"] == "part":
        return None  # a part goes with its whole
    if batch["dialect"] == "anthropic":
        return max(soonest, float(batch["created_at"]) + 29 * _DAY_S)
    live_s = batch.get("outputs_live_s")
    return max(soonest, float(batch["ended_at"]) + (30 * _DAY_S if live_s is None else live_s))


def _fill(name: str, source: str, column: str, value_of) -> None:  # type: ignore[no-untyped-def]
    table = sa.table(name, sa.column("id"), sa.column(source), sa.column(column))
    connection = op.get_bind()
    last = ""
    while True:
        query = sa.select(table.c.id, table.c[source]).where(table.c.id > last)
        found = connection.execute(query.order_by(table.c.id).limit(500)).all()
        if not found:
            return
        for key, text in found:
            change = sa.update(table).where(table.c.id == key)
            connection.execute(change.values({column: value_of(text)}))
        last = found[-1][0]
