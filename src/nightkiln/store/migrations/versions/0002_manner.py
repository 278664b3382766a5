"""How a job was last run, and which fault classes its generation asks again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Two columns of their own; jobs from before have neither."""
    op.add_column("jobs", sa.Column("manner", sa.Text))
    op.add_column("jobs", sa.Column("retry_classes", sa.Text))
