"""When a row of power came into the stream."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; of what is there already nobody knows."""
    op.add_column("power", sa.Column("stored_unix_s", sa.Double()))
    op.create_index("power_stored", "power", ["stored_unix_s"])
