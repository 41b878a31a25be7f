"""Conversations and their turns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
KEY = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
REAL: sa.Double[float] = sa.Double()


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "conversations",
        sa.Column("tenant", KEY, primary_key=True),
        sa.Column("user_id", KEY, primary_key=True),
        sa.Column("id", KEY, primary_key=True),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("folded", TEXT, nullable=False),
        sa.Column("created_unix_s", REAL, nullable=False),
        sa.Column("updated_unix_s", REAL, nullable=False),
        sa.Column("head", KEY),
        sa.Column("turns", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("branched_from", KEY),
    )
    op.create_index("conversations_newest", "conversations", ["tenant", "user_id", "updated_unix_s", "id"])
    op.create_index("conversations_updated", "conversations", ["updated_unix_s"])
    op.create_table(
        "turns",
        sa.Column("tenant", KEY, primary_key=True),
        sa.Column("user_id", KEY, primary_key=True),
        sa.Column("conversation", KEY, primary_key=True),
        sa.Column("id", KEY, primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("parent", KEY),
        sa.Column("content", TEXT, nullable=False),
        sa.Column("folded", TEXT, nullable=False),
        sa.Column("message", TEXT, nullable=False),
        sa.Column("created_unix_s", REAL, nullable=False),
        sa.Column("job", KEY),
        sa.Column("device", KEY),
        sa.Column("model", TEXT),
        sa.Column("completion_tokens", sa.BigInteger()),
        sa.Column("broken_off", sa.Boolean(), nullable=False),
        sa.Column("summary", TEXT),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
    )
    op.create_index("turns_number", "turns", ["tenant", "user_id", "conversation", "number"])
