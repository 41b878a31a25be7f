"""What is kept of jobs and devices, as it travels to the ledger, and the stream that holds it until then; it knows no database.

A record tells how a job went and what it took, and never what was asked or answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from annotated_types import MaxLen
from pydantic import BeforeValidator, FailFast, Field

from common.bus.streams import StreamSpec
from common.durable import Names
from common.energy import Energy, PowerSummary
from common.messages import Count, Document, EngineTimings, Number, Texts, Token, Usage
from common.subjects import Subjects

JOB = "job"
DEVICE = "device"
POWER = "power"

STREAM_AGE_S = 7 * 86_400.0
STREAM_MOST_BYTES = 128 << 20
"""On the NATS server's disk, set aside at once: some forty thousand jobs. What the ledger has stays in it too, so a full stream is
its usual state and the oldest goes first; a record is lost only if no ledger has run for as long as that takes."""

DUPLICATE_S = 600.0
"""Who is not sure whether a record was stored sends it again within this time, and it is stored once."""

MOST_ATTEMPTS = 256
MOST_DECISION_FIELDS = 64

Id = Annotated[str, Field(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
"""A ULID: sorted as text it is sorted by time."""

Label = Annotated[str, MaxLen(200)]
Prose = Annotated[str, MaxLen(500)]
PROSE_CHARS = 500


def _few_fields(value: object) -> object:
    if isinstance(value, dict) and len(value) > MOST_DECISION_FIELDS:
        raise ValueError(f"at most {MOST_DECISION_FIELDS} fields are taken, not {len(value)}")
    return value


Told = Annotated[Document, BeforeValidator(_few_fields)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsEntry:
    """The three terms of the hybrid score."""

    tokens: Number
    topic: Number
    health: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEntry:
    """One attempt as it went; see `dispatcher.outcomes.Attempt`. `site` is where its device stood."""

    number: Count
    device: Label
    model: Label
    outcome: Annotated[str, MaxLen(64)]
    detail: Prose | None = None
    site: Token | None = None
    beside: bool = False
    queued_s: Number = 0.0
    accept_s: Number | None = None
    first_token_s: Number | None = None
    total_s: Number = 0.0
    cost_usd: Number | None = None
    cost_estimated: bool = False
    continues: bool = False
    energy: Energy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEntry:
    """How a job went; see `dispatcher.outcomes.JobRecord`. `record` names this alone: a job's id may come again.

    `decision` is the route in short, `cache` what the cache did, `dispatcher` who tells it, `site` where `device` stood.
    `cloud_usd` is what the answer would have cost at `saved_against`, a model that costs, as `model@device`.
    """

    record: Id
    dispatcher: Token
    job: Token
    tenant: Token
    kind: Token
    state: Token
    received_unix_s: Number
    total_s: Number
    priority: Annotated[str, MaxLen(16)] | None = None
    asked_model: Label = ""
    device: Label | None = None
    site: Token | None = None
    model: Label | None = None
    reason: Prose | None = None
    strategy: Annotated[str, MaxLen(64)] | None = None
    score: Number | None = None
    terms: TermsEntry | None = None
    attempts: Annotated[tuple[AttemptEntry, ...], FailFast(), MaxLen(MOST_ATTEMPTS)] = ()
    usage: Usage = Usage()
    engine: EngineTimings = EngineTimings()
    cost_usd: Number | None = None
    cost_estimated: bool = False
    energy: Energy | None = None
    saved_usd: Number | None = None
    saved_against: Label | None = None
    cloud_usd: Number | None = None
    finish: Annotated[str, MaxLen(64)] | None = None
    queue_s: Number | None = None
    first_token_s: Number | None = None
    error: Annotated[str, MaxLen(64)] | None = None
    error_message: Prose | None = None
    simulated: bool = False
    escalated: bool | None = None
    decision: Told | None = None
    cache: Told | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEntry:
    """What a device went through, as one dispatcher saw it: each tells it by itself, so the same event stands there once for each.

    `event` is what happened, `state` what the agent says of itself since, `why` what it or the breaker says about it.
    """

    record: Id
    dispatcher: Token
    device: Token
    event: Token
    at_unix_s: Number
    boot: Token
    state: Token
    why: Prose | None = None
    site: Token | None = None
    simulated: bool = False
    temperature_c: Number | None = None
    throttled: bool | None = None
    throttling: Annotated[Texts, MaxLen(16)] = ()
    watts: Number | None = None
    agent_version: Label = ""


PowerEntry: TypeAlias = PowerSummary
"""What a device has drawn in an interval; named by `device`, `boot` and `seq`."""

Entry = JobEntry | DeviceEntry | PowerEntry


def power_id(entry: PowerEntry) -> str:
    """The id under which a summary is stored once."""
    return f"{entry.device}:{entry.boot}:{entry.seq}"


def records_stream(subjects: Subjects) -> StreamSpec:
    """Give the stream of all records; whoever starts first declares it, and all say the same, so nothing of it can be set."""
    return StreamSpec(
        name=Names.below(subjects).records,
        subjects=(subjects.record("*", "*"),),
        max_age_s=STREAM_AGE_S,
        max_bytes=STREAM_MOST_BYTES,
        duplicate_window_s=DUPLICATE_S,
        drop_oldest=True,
    )
