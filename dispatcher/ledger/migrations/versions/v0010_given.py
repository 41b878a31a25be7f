"""What a user gave of a question with files, beside all that its model was told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add it; of the questions before, all counts as given."""
    op.add_column("turns", sa.Column("given", TEXT))
