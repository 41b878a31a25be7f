"""What people say of answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
KEY = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
REAL: sa.Double[float] = sa.Double()


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "feedback",
        sa.Column("tenant", KEY, primary_key=True),
        sa.Column("voter", KEY, primary_key=True),
        sa.Column("compared", KEY, primary_key=True),
        sa.Column("job", KEY, primary_key=True),
        sa.Column("place", KEY),
        sa.Column("score", REAL, nullable=False),
        sa.Column("device", TEXT),
        sa.Column("model", TEXT),
        sa.Column("strategy", KEY),
        sa.Column("received_unix_s", REAL, nullable=False),
        sa.Column("at_unix_s", REAL, nullable=False),
    )
    op.create_index("feedback_at", "feedback", ["tenant", "at_unix_s"])
    op.create_index("feedback_job", "feedback", ["tenant", "voter", "job"])
    op.create_index("feedback_received", "feedback", ["received_unix_s"])
