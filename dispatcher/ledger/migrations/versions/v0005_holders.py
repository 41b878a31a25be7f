"""Who may give back what is set aside for a job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")


def upgrade() -> None:
    """Nobody may give back what was set aside before: records settle it, or it lapses."""
    op.add_column("reservations", sa.Column("holder", KEY))
