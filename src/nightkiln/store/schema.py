"""The tables as they are at HEAD. Migrations lead here; nothing here creates anything.

Only types and constraints that SQLite and PostgreSQL both have. Structures
that are never searched (a spec, totals) are JSON text written by msgspec.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)

metadata: Final = MetaData()

projects: Final = Table(
    "projects",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created_at", Float, nullable=False),
)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("wanted", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("spec", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("rows", BigInteger, nullable=False),
    Column("columns", Text, nullable=False),
    Column("totals", Text, nullable=False),
    Column("spent", Text, nullable=False),
    Column("live", Text),
    Column("commit_seq", BigInteger, nullable=False),  # the last one given to a chunk
    Column("manner", Text),  # how it was last run; opaque here
    Column("retry_classes", Text),  # null: a generation asks every faulted row again
    # Attaching to a job by its key, and listing a project's jobs newest first.
    Index("jobs_by_key", "project_id", "idempotency_key", "created_at"),
    Index("jobs_by_age", "project_id", "created_at"),
)

chunks: Final = Table(
    "chunks",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first_row", BigInteger, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("segment", Integer, nullable=False),
    Column("row_group", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("committed_epoch", Integer),
    Column("commit_seq", BigInteger),
    Column("sha256", Text, nullable=False),
    Column("totals", Text, nullable=False),
    Column("run_id", Text),
    Column("request_id", Text),
)
# Leasing reads the first open chunks of a job: this index holds only work that
# is left, so the millionth lease costs what the first did.
Index(
    "chunks_left",
    chunks.c.job_id,
    chunks.c.number,
    sqlite_where=text("state <> 'committed'"),
    postgresql_where=text("state <> 'committed'"),
)

generations: Final = Table(
    "generations",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("opened_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("state", Text),
    Column("totals", Text, nullable=False),
    Column("manifest_sha256", Text, nullable=False),
)

# No foreign key to jobs: what was spent outlives the job that spent it.
ledger: Final = Table(
    "ledger",
    metadata,
    Column("project_id", Text, ForeignKey("projects.id"), primary_key=True),
    Column("day", Text, primary_key=True),
    Column("backend", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("totals", Text, nullable=False),
)
