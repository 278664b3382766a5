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
    Column("key_id", Text),  # the API key whose use it counts as; null: nobody's
    Column("priority", Integer, nullable=False, server_default="0"),  # as the spec has it
    # Attaching to a job by its key, and listing a project's jobs newest first.
    Index("jobs_by_key", "project_id", "idempotency_key", "created_at"),
    Index("jobs_by_age", "project_id", "created_at"),
)

# What a roster looks at: the jobs that are not over, in the order of their turns. It holds
# all that deciding needs, so a look reads no spec, however long the backlog is.
Index(
    "jobs_left",
    jobs.c.project_id,
    jobs.c.priority,
    jobs.c.created_at,
    jobs.c.id,
    jobs.c.state,
    jobs.c.wanted,
    jobs.c.ended_at,  # always null, and looked at
    sqlite_where=text("ended_at is null"),
    postgresql_where=text("ended_at is null"),
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

keys: Final = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("start", Text, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("scope", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("used_at", Float),
    Column("revoked_at", Float),
    Column("caps", Text, nullable=False),
    Index("keys_by_age", "project_id", "created_at"),
)

# No foreign key: what a key has had asked outlives the jobs that asked it.
key_uses: Final = Table(
    "key_uses",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("job_id", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("rows", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("cost_nanos", BigInteger, nullable=False),
)

files: Final = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("job_id", Text),  # whose output it is; outlives the job
    Index("files_by_age", "project_id", "created_at"),
    Index("files_by_expiry", "expires_at"),
)

uploads: Final = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("upload", Text, nullable=False),
)

batches: Final = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("dialect", Text, nullable=False),
    Column("job_id", Text),  # no foreign key: a batch is known longer than its job
    Column("created_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("digest", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("batch", Text, nullable=False),
    Column("caller", Text, nullable=False, server_default=text("''")),
    Column("expires_at", Float),  # as the batch has it
    Column("results_until", Float),  # when its results go; null: there are none to go
    Index("batches_by_age", "project_id", "dialect", "created_at"),
    Index("batches_by_job", "job_id"),
    Index("batches_by_digest", "project_id", "caller", "digest"),
    Index("batches_by_key", "project_id", "caller", "idempotency_key"),
)
Index(
    "batches_outdated",
    batches.c.results_until,
    sqlite_where=text("results_until is not null"),
    postgresql_where=text("results_until is not null"),
)
# Whose window ends next, and which of them wait for their end.
Index(
    "batches_left",
    batches.c.expires_at,
    batches.c.job_id,
    sqlite_where=text("ended_at is null"),
    postgresql_where=text("ended_at is null"),
)

webhooks: Final = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("webhook", Text, nullable=False),
    Index("webhooks_by_age", "project_id", "created_at"),
)

deliveries: Final = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("projects.id"), nullable=False),
    Column("webhook_id", Text, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("due_at", Float),  # null: sent, or given up
    Column("delivery", Text, nullable=False),
    Index("deliveries_by_age", "webhook_id", "created_at"),
)
# Looking for work reads only what is on its way, however much was sent before.
Index(
    "deliveries_due",
    deliveries.c.due_at,
    sqlite_where=text("due_at is not null"),
    postgresql_where=text("due_at is not null"),
)
