"""The tables of the ledger, for both databases; it knows no connection.

Times are seconds since 1970 as they came, so that what is read is what was written; `day` and `hour` are the same in whole units of
UTC, to group by. Texts are sorted by their bytes on both databases. What has parts of its own is JSON in a text.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, LargeBinary, MetaData, String, Table, Text, text

TEXT = Text().with_variant(Text(collation="C"), "postgresql")
KEY = String(64).with_variant(String(64, collation="C"), "postgresql")
REAL: Double[float] = Double()

metadata = MetaData()

ENDING_CHARS = 17
"""Of the mark by which a user's jobs are told, with its dash."""

ENDING = text("substr(job, length(job) - 16)")
"""The end of a job's id; of a shorter one all of it. Without parameters: with any, no index would be known by it."""

jobs = Table(
    "jobs",
    metadata,
    Column("record", KEY, primary_key=True),
    Column("dispatcher", KEY, nullable=False),
    Column("job", KEY, nullable=False),
    Column("tenant", KEY, nullable=False),
    Column("kind", KEY, nullable=False),
    Column("state", KEY, nullable=False),
    Column("received_unix_s", REAL, nullable=False),
    Column("day", KEY, nullable=False),
    Column("total_s", REAL, nullable=False),
    Column("priority", KEY),
    Column("asked_model", TEXT, nullable=False),
    Column("device", TEXT),
    Column("site", KEY),
    Column("model", TEXT),
    Column("reason", TEXT),
    Column("strategy", KEY),
    Column("score", REAL),
    Column("terms_tokens", REAL),
    Column("terms_topic", REAL),
    Column("terms_health", REAL),
    Column("attempts", TEXT, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("load_s", REAL),
    Column("prefill_s", REAL),
    Column("decode_s", REAL),
    Column("cost_usd", REAL),
    Column("cost_estimated", Boolean, nullable=False),
    Column("saved_usd", REAL),
    Column("energy_joules", REAL),
    Column("energy_idle_joules", REAL),
    Column("energy_lost_joules", REAL),
    Column("energy_measured", Boolean),
    Column("energy_source", TEXT),
    Column("energy_uncertainty", REAL),
    Column("energy_tokens", BigInteger),
    Column("energy_cost", REAL),
    Column("energy_currency", KEY),
    Column("energy_co2e_g", REAL),
    Column("finish", KEY),
    Column("queue_s", REAL),
    Column("first_token_s", REAL),
    Column("error", KEY),
    Column("error_message", TEXT),
    Column("simulated", Boolean, nullable=False),
    Column("escalated", Boolean),
    Column("decision", TEXT),
    Column("cache_outcome", KEY),
    Column("cache", TEXT),
    Column("saved_against", TEXT),
    Column("cloud_usd", REAL),
    Index("jobs_received", "received_unix_s"),
    Index("jobs_job", "job"),
    Index("jobs_tenant", "tenant", "record"),
    Index("jobs_ending", "tenant", ENDING, "record"),
    Index("jobs_device", "device", "record"),
)

shares = Table(
    "shares",
    metadata,
    Column("record", KEY, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("received_unix_s", REAL, nullable=False),
    Column("day", KEY, nullable=False),
    Column("tenant", KEY, nullable=False),
    Column("device", TEXT),
    Column("site", KEY),
    Column("model", TEXT),
    Column("joules", REAL, nullable=False),
    Column("idle_joules", REAL, nullable=False),
    Column("lost_joules", REAL, nullable=False),
    Column("measured_joules", REAL, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("cost", REAL),
    Column("currency", KEY),
    Column("co2e_g", REAL),
    Index("shares_received", "received_unix_s"),
)
"""What each device took for a job, attempt by attempt; the sum over a job is its energy. Number 0 is what no attempt told of."""

devices = Table(
    "devices",
    metadata,
    Column("record", KEY, primary_key=True),
    Column("dispatcher", KEY, nullable=False),
    Column("device", KEY, nullable=False),
    Column("event", KEY, nullable=False),
    Column("at_unix_s", REAL, nullable=False),
    Column("boot", KEY, nullable=False),
    Column("state", KEY, nullable=False),
    Column("why", TEXT),
    Column("site", KEY),
    Column("simulated", Boolean, nullable=False),
    Column("temperature_c", REAL),
    Column("throttled", Boolean),
    Column("throttling", TEXT, nullable=False),
    Column("watts", REAL),
    Column("agent_version", TEXT, nullable=False),
    Index("devices_at", "at_unix_s"),
    Index("devices_device", "device", "record"),
)

power = Table(
    "power",
    metadata,
    Column("device", KEY, primary_key=True),
    Column("boot", KEY, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("from_unix_s", REAL, nullable=False),
    Column("to_unix_s", REAL, nullable=False),
    Column("hour", BigInteger, nullable=False),
    Column("samples", BigInteger, nullable=False),
    Column("mean_w", REAL, nullable=False),
    Column("least_w", REAL, nullable=False),
    Column("most_w", REAL, nullable=False),
    Column("energy_j", REAL, nullable=False),
    Column("jobs_j", REAL, nullable=False),
    Column("jobs", BigInteger, nullable=False),
    Column("idle_w", REAL),
    Column("source", TEXT, nullable=False),
    Column("measured", Boolean, nullable=False),
    Column("uncertainty", REAL, nullable=False),
    Column("stored_unix_s", REAL),
    Column("in_flight", REAL),
    Column("temperature_c", REAL),
    Column("memory_used_bytes", BigInteger),
    Column("memory_total_bytes", BigInteger),
    Index("power_device", "device", "from_unix_s"),
    Index("power_from", "from_unix_s"),
    Index("power_stored", "stored_unix_s"),
)
"""`stored_unix_s` is when the stream took it, by the clock of the NATS server: that of a device may be wrong by decades."""

rejected = Table(
    "rejected",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("stored_unix_s", REAL, primary_key=True),
    Column("subject", TEXT, nullable=False),
    Column("why", TEXT, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
"""What came and could not be read: its beginning, so that its sender can be found. Named by its place in the stream."""

keys = Table(
    "keys",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("parent", KEY),
    Column("digest", KEY, nullable=False),
    Column("old_digest", KEY),
    Column("old_until_unix_s", REAL),
    Column("name", TEXT, nullable=False),
    Column("tenant", KEY, nullable=False),
    Column("user", KEY, nullable=False),
    Column("scopes", TEXT, nullable=False),
    Column("models", TEXT, nullable=False),
    Column("devices", TEXT, nullable=False),
    Column("requests_per_minute", BigInteger),
    Column("parallel", BigInteger),
    Column("created_unix_s", REAL, nullable=False),
    Column("expires_unix_s", REAL),
    Column("last_used_unix_s", REAL),
    Column("revoked_unix_s", REAL),
    Index("keys_name", "name"),
    Index("keys_parent", "parent"),
)
"""`parent` is there for sessions: what they may do is in its row. `old_digest` is of a secret that has been replaced, and is good
until then."""

budgets = Table(
    "budgets",
    metadata,
    Column("key", KEY, primary_key=True),
    Column("unit", KEY, primary_key=True),
    Column("period", KEY, primary_key=True),
    Column("limit", BigInteger, nullable=False),
    Column("window_unix_s", REAL, nullable=False),
    Column("spent", BigInteger, nullable=False),
)
"""`spent` is of the period that began at `window_unix_s`. What is set aside stands in `reservations` alone: two could differ."""

reservations = Table(
    "reservations",
    metadata,
    Column("tenant", KEY, primary_key=True),
    Column("job", KEY, primary_key=True),
    Column("key", KEY, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("micro_usd", BigInteger, nullable=False),
    Column("millijoules", BigInteger, nullable=False),
    Column("reserved_unix_s", REAL, nullable=False),
    Column("expires_unix_s", REAL, nullable=False),
    Column("lapsed_unix_s", REAL),
    Column("holder", KEY),
    Index("reservations_key", "key"),
    Index("reservations_expires", "expires_unix_s"),
)
"""Of jobs whose record has not come. From `lapsed_unix_s` on it counts as spent, until the record comes after all. `holder` is who
may give it back: none where several requests came under the same id, and then it stays a while behind its record, as nothing."""

conversations = Table(
    "conversations",
    metadata,
    Column("tenant", KEY, primary_key=True),
    Column("user_id", KEY, primary_key=True),
    Column("id", KEY, primary_key=True),
    Column("title", TEXT, nullable=False),
    Column("folded", TEXT, nullable=False),
    Column("created_unix_s", REAL, nullable=False),
    Column("updated_unix_s", REAL, nullable=False),
    Column("head", KEY),
    Column("turns", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("branched_from", KEY),
    Index("conversations_newest", "tenant", "user_id", "updated_unix_s", "id"),
    Index("conversations_updated", "updated_unix_s"),
)
"""Whose it is stands in the key: an id alone finds nothing. `folded` is the title as a search compares it, and `bytes` are
those of all turns together."""

turns = Table(
    "turns",
    metadata,
    Column("tenant", KEY, primary_key=True),
    Column("user_id", KEY, primary_key=True),
    Column("conversation", KEY, primary_key=True),
    Column("id", KEY, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("parent", KEY),
    Column("content", TEXT, nullable=False),
    Column("folded", TEXT, nullable=False),
    Column("message", TEXT, nullable=False),
    Column("created_unix_s", REAL, nullable=False),
    Column("job", KEY),
    Column("device", KEY),
    Column("model", TEXT),
    Column("completion_tokens", BigInteger),
    Column("broken_off", Boolean, nullable=False),
    Column("summary", TEXT),
    Column("bytes", BigInteger, nullable=False),
    Column("given", TEXT),
    Column("error", TEXT),
    Index("turns_number", "tenant", "user_id", "conversation", "number"),
)
"""A tree: `parent` is the turn before, and `number` the order in which they came, so that a parent's is smaller. `message` is what
a message has besides its text, `summary` a text that stands for all turns of the branch up to this one, and `bytes` what the turn
takes without it. `given` tells what the user gave of a question with files, `error` by what an answer was broken off."""

feedback = Table(
    "feedback",
    metadata,
    Column("tenant", KEY, primary_key=True),
    Column("voter", KEY, primary_key=True),
    Column("compared", KEY, primary_key=True),
    Column("job", KEY, primary_key=True),
    Column("place", KEY),
    Column("score", REAL, nullable=False),
    Column("device", TEXT),
    Column("model", TEXT),
    Column("strategy", KEY),
    Column("received_unix_s", REAL, nullable=False),
    Column("at_unix_s", REAL, nullable=False),
    Index("feedback_at", "tenant", "at_unix_s"),
    Index("feedback_job", "tenant", "voter", "job"),
    Index("feedback_received", "received_unix_s"),
)
"""What people said of answers: a row for each job of a vote, which `compared` names by its jobs, and one with no name there for a
thumb. Who answered is what the record said when the word was said, and `received_unix_s` is when the job came, the oldest one's
of a vote: with it the word goes."""

KEPT = (jobs, shares, devices, power, rejected, keys, budgets, reservations, conversations, turns, feedback)
"""All of them, in the order in which they are written out."""
