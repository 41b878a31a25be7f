"""Keys, what they may use, and what is set aside for their jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
KEY = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
REAL: sa.Double[float] = sa.Double()


def upgrade() -> None:
    """Make their tables."""
    op.create_table(
        "keys",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("parent", KEY),
        sa.Column("digest", KEY, nullable=False),
        sa.Column("old_digest", KEY),
        sa.Column("old_until_unix_s", REAL),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("user", KEY, nullable=False),
        sa.Column("scopes", TEXT, nullable=False),
        sa.Column("models", TEXT, nullable=False),
        sa.Column("devices", TEXT, nullable=False),
        sa.Column("requests_per_minute", sa.BigInteger()),
        sa.Column("parallel", sa.BigInteger()),
        sa.Column("created_unix_s", REAL, nullable=False),
        sa.Column("expires_unix_s", REAL),
        sa.Column("last_used_unix_s", REAL),
        sa.Column("revoked_unix_s", REAL),
    )
    op.create_index("keys_name", "keys", ["name"])
    op.create_index("keys_parent", "keys", ["parent"])
    op.create_table(
        "budgets",
        sa.Column("key", KEY, primary_key=True),
        sa.Column("unit", KEY, primary_key=True),
        sa.Column("period", KEY, primary_key=True),
        sa.Column("limit", sa.BigInteger(), nullable=False),
        sa.Column("window_unix_s", REAL, nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "reservations",
        sa.Column("tenant", KEY, primary_key=True),
        sa.Column("job", KEY, primary_key=True),
        sa.Column("key", KEY, nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("micro_usd", sa.BigInteger(), nullable=False),
        sa.Column("millijoules", sa.BigInteger(), nullable=False),
        sa.Column("reserved_unix_s", REAL, nullable=False),
        sa.Column("expires_unix_s", REAL, nullable=False),
        sa.Column("lapsed_unix_s", REAL),
    )
    op.create_index("reservations_key", "reservations", ["key"])
    op.create_index("reservations_expires", "reservations", ["expires_unix_s"])
