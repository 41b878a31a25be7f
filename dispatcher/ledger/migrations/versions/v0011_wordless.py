"""By what answers were broken off, so that a question may be kept that got no word."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

UNKNOWN = '{"code":"interrupted","message":"it ended before it was complete"}'
"""Of the answers before nobody knows more."""


def upgrade() -> None:
    """Add it, and say of answers that broke off that they did."""
    op.add_column("turns", sa.Column("error", TEXT))
    turns = sa.table("turns", sa.column("error", TEXT), sa.column("broken_off", sa.Boolean()))
    op.execute(turns.update().where(turns.c.broken_off).values(error=UNKNOWN))
