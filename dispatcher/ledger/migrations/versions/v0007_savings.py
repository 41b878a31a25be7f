"""What savings are reckoned against, and what an answer would have cost there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add them; of the jobs before only the difference is known."""
    op.add_column("jobs", sa.Column("saved_against", TEXT))
    op.add_column("jobs", sa.Column("cloud_usd", sa.Double()))
