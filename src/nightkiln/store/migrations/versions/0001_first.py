"""The first tables. Written out in full: a revision never changes when the schema does."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_OPEN_WORK = sa.text("state <> 'committed'")


def upgrade() -> None:
    """Create everything and the one project that needs no server."""
    _projects()
    _jobs()
    _chunks()
    _generations()
    _ledger()


def _projects() -> None:
    projects = op.create_table(
        "projects",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.bulk_insert(projects, [{"id": "default", "created_at": 0.0}])


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("wanted", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("ended_at", sa.Float),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("columns", sa.Text, nullable=False),
        sa.Column("totals", sa.Text, nullable=False),
        sa.Column("spent", sa.Text, nullable=False),
        sa.Column("live", sa.Text),
        sa.Column("commit_seq", sa.BigInteger, nullable=False),
    )
    op.create_index("jobs_by_key", "jobs", ["project_id", "idempotency_key", "created_at"])
    op.create_index("jobs_by_age", "jobs", ["project_id", "created_at"])


def _chunks() -> None:
    op.create_table(
        "chunks",
        sa.Column(
            "job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("first_row", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("row_group", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("committed_epoch", sa.Integer),
        sa.Column("commit_seq", sa.BigInteger),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("totals", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("request_id", sa.Text),
    )
    op.create_index(
        "chunks_left",
        "chunks",
        ["job_id", "number"],
        sqlite_where=_OPEN_WORK,
        postgresql_where=_OPEN_WORK,
    )


def _generations() -> None:
    op.create_table(
        "generations",
        sa.Column(
            "job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("opened_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.Column("state", sa.Text),
        sa.Column("totals", sa.Text, nullable=False),
        sa.Column("manifest_sha256", sa.Text, nullable=False),
    )


def _ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("backend", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("totals", sa.Text, nullable=False),
    )
