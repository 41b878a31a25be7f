"""What a device was like besides its watts, and an index to find that of one by time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; of what is there already nobody knows."""
    op.add_column("power", sa.Column("in_flight", sa.Double()))
    op.add_column("power", sa.Column("temperature_c", sa.Double()))
    op.add_column("power", sa.Column("memory_used_bytes", sa.BigInteger()))
    op.add_column("power", sa.Column("memory_total_bytes", sa.BigInteger()))
    op.create_index("power_device", "power", ["device", "from_unix_s"])
