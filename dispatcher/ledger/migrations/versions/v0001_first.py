"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
KEY = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
REAL: sa.Double[float] = sa.Double()


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "jobs",
        sa.Column("record", KEY, primary_key=True),
        sa.Column("dispatcher", KEY, nullable=False),
        sa.Column("job", KEY, nullable=False),
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("kind", KEY, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("received_unix_s", REAL, nullable=False),
        sa.Column("day", KEY, nullable=False),
        sa.Column("total_s", REAL, nullable=False),
        sa.Column("priority", KEY),
        sa.Column("asked_model", TEXT, nullable=False),
        sa.Column("device", TEXT),
        sa.Column("site", KEY),
        sa.Column("model", TEXT),
        sa.Column("reason", TEXT),
        sa.Column("strategy", KEY),
        sa.Column("score", REAL),
        sa.Column("terms_tokens", REAL),
        sa.Column("terms_topic", REAL),
        sa.Column("terms_health", REAL),
        sa.Column("attempts", TEXT, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("load_s", REAL),
        sa.Column("prefill_s", REAL),
        sa.Column("decode_s", REAL),
        sa.Column("cost_usd", REAL),
        sa.Column("cost_estimated", sa.Boolean(), nullable=False),
        sa.Column("saved_usd", REAL),
        sa.Column("energy_joules", REAL),
        sa.Column("energy_idle_joules", REAL),
        sa.Column("energy_lost_joules", REAL),
        sa.Column("energy_measured", sa.Boolean()),
        sa.Column("energy_source", TEXT),
        sa.Column("energy_uncertainty", REAL),
        sa.Column("energy_tokens", sa.BigInteger()),
        sa.Column("energy_cost", REAL),
        sa.Column("energy_currency", KEY),
        sa.Column("energy_co2e_g", REAL),
        sa.Column("finish", KEY),
        sa.Column("queue_s", REAL),
        sa.Column("first_token_s", REAL),
        sa.Column("error", KEY),
        sa.Column("error_message", TEXT),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("escalated", sa.Boolean()),
        sa.Column("decision", TEXT),
        sa.Column("cache_outcome", KEY),
        sa.Column("cache", TEXT),
    )
    op.create_index("jobs_received", "jobs", ["received_unix_s"])
    op.create_index("jobs_job", "jobs", ["job"])
    op.create_index("jobs_tenant", "jobs", ["tenant", "record"])
    op.create_index("jobs_device", "jobs", ["device", "record"])
    op.create_table(
        "shares",
        sa.Column("record", KEY, primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("received_unix_s", REAL, nullable=False),
        sa.Column("day", KEY, nullable=False),
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("device", TEXT),
        sa.Column("site", KEY),
        sa.Column("model", TEXT),
        sa.Column("joules", REAL, nullable=False),
        sa.Column("idle_joules", REAL, nullable=False),
        sa.Column("lost_joules", REAL, nullable=False),
        sa.Column("measured_joules", REAL, nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost", REAL),
        sa.Column("currency", KEY),
        sa.Column("co2e_g", REAL),
    )
    op.create_index("shares_received", "shares", ["received_unix_s"])
    op.create_table(
        "devices",
        sa.Column("record", KEY, primary_key=True),
        sa.Column("dispatcher", KEY, nullable=False),
        sa.Column("device", KEY, nullable=False),
        sa.Column("event", KEY, nullable=False),
        sa.Column("at_unix_s", REAL, nullable=False),
        sa.Column("boot", KEY, nullable=False),
        sa.Column("state", KEY, nullable=False),
        sa.Column("why", TEXT),
        sa.Column("site", KEY),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("temperature_c", REAL),
        sa.Column("throttled", sa.Boolean()),
        sa.Column("throttling", TEXT, nullable=False),
        sa.Column("watts", REAL),
        sa.Column("agent_version", TEXT, nullable=False),
    )
    op.create_index("devices_at", "devices", ["at_unix_s"])
    op.create_index("devices_device", "devices", ["device", "record"])
    op.create_table(
        "power",
        sa.Column("device", KEY, primary_key=True),
        sa.Column("boot", KEY, primary_key=True),
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("from_unix_s", REAL, nullable=False),
        sa.Column("to_unix_s", REAL, nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("mean_w", REAL, nullable=False),
        sa.Column("least_w", REAL, nullable=False),
        sa.Column("most_w", REAL, nullable=False),
        sa.Column("energy_j", REAL, nullable=False),
        sa.Column("jobs_j", REAL, nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("idle_w", REAL),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("measured", sa.Boolean(), nullable=False),
        sa.Column("uncertainty", REAL, nullable=False),
    )
    op.create_index("power_from", "power", ["from_unix_s"])
    op.create_table(
        "rejected",
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("stored_unix_s", REAL, primary_key=True),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("why", TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
