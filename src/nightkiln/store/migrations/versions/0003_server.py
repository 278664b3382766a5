"""What a server keeps beside jobs: keys, files, uploads, batches and webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Six tables; nothing that was there changes."""
    _keys()
    _files()
    _uploads()
    _batches()
    _webhooks()


def _project() -> sa.Column[str]:
    return sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), nullable=False)


def _keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, primary_key=True),
        _project(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("start", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False, unique=True),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float),
        sa.Column("used_at", sa.Float),
        sa.Column("revoked_at", sa.Float),
        sa.Column("caps", sa.Text, nullable=False),
    )
    op.create_index("keys_by_age", "keys", ["project_id", "created_at"])


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Text, primary_key=True),
        _project(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float),
        sa.Column("job_id", sa.Text),
    )
    op.create_index("files_by_age", "files", ["project_id", "created_at"])
    op.create_index("files_by_expiry", "files", ["expires_at"])


def _uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.Text, primary_key=True),
        _project(),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("upload", sa.Text, nullable=False),
    )


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.Text, primary_key=True),
        _project(),
        sa.Column("dialect", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("batch", sa.Text, nullable=False),
    )
    op.create_index("batches_by_age", "batches", ["project_id", "dialect", "created_at"])
    op.create_index("batches_by_job", "batches", ["job_id"])
    op.create_index("batches_by_digest", "batches", ["project_id", "digest"])
    op.create_index("batches_by_key", "batches", ["project_id", "idempotency_key"])


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text, primary_key=True),
        _project(),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("webhook", sa.Text, nullable=False),
    )
    op.create_index("webhooks_by_age", "webhooks", ["project_id", "created_at"])
    webhook = sa.ForeignKey("webhooks.id", ondelete="CASCADE")
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text, primary_key=True),
        _project(),
        sa.Column("webhook_id", sa.Text, webhook, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("due_at", sa.Float),
        sa.Column("delivery", sa.Text, nullable=False),
    )
    op.create_index("deliveries_by_age", "deliveries", ["webhook_id", "created_at"])
    on_its_way = sa.text("due_at is not null")
    op.create_index(
        "deliveries_due",
        "deliveries",
        ["due_at"],
        sqlite_where=on_its_way,
        postgresql_where=on_its_way,
    )
