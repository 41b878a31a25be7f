"""Jobs by how their ids end, which tells whose they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index; the same text in both databases, and where it is asked for."""
    op.create_index("jobs_ending", "jobs", ["tenant", sa.text("substr(job, length(job) - 16)"), "record"])
