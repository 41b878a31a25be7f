"""Every knob of the dispatcher, the bridge and `drover up`, on one page; it knows no code that turns them.

The environment variable stands beside each field; `deploy/config/drover.env.example` lists them all, and a test keeps it equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, Field, model_validator

from common.addresses import ollama_url
from common.settings import BusSection, LogSection, Section
from common.subjects import is_token

Weight = Annotated[float, Ge(0), Le(1000)]
Seconds = Annotated[float, Gt(0), Le(86_400)]
Port = Annotated[int, Ge(0), Le(65_535)]


MOST_WEIGHTS = 1000


def weights_from(text: str) -> dict[str, float]:
    """Read `alice=3,bob=1`. Raises `ValueError` that names the wrong part."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > MOST_WEIGHTS:
        raise ValueError(f"{len(parts)} tenants are named: at most {MOST_WEIGHTS} are taken")
    weights: dict[str, float] = {}
    for part in parts:
        tenant, _, share = part.partition("=")
        weight = _share(share)
        if not is_token(tenant.strip()) or weight is None or tenant.strip() in weights:
            raise ValueError(f"{part[:80]!r} is no tenant with a weight of its own: write alice=3, from 0.01 to 1000")
        weights[tenant.strip()] = weight
    return weights


def _share(text: str) -> float | None:
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if 0.01 <= weight <= 1000 else None


def _weights_text(text: str) -> str:
    weights_from(text)
    return text


class DispatcherSection(Section):
    """The dispatcher itself."""

    id: str = Field(
        "", validation_alias="DROVER_DISPATCHER_ID", description="name of this dispatcher; empty makes one up"
    )
    grace_s: Seconds = Field(
        20.0,
        validation_alias="DROVER_GRACE_S",
        description="seconds that running jobs get to finish after the first SIGTERM",
    )


class AdmissionSection(Section):
    """What is let in."""

    queue_limit: Annotated[int, Ge(0), Le(1_000_000)] = Field(
        1000,
        validation_alias="DROVER_QUEUE_LIMIT",
        description="jobs that may wait for a slot; above it they are refused; 0 lets nobody wait",
    )
    default_timeout_s: Seconds = Field(
        600.0, validation_alias="DROVER_JOB_TIMEOUT_S", description="total time of a job that names no deadline"
    )


class ReplaySection(Section):
    """Finished answers, kept for whoever sends the same job id again."""

    ttl_s: Seconds = Field(
        600.0,
        validation_alias="DROVER_REPLAY_TTL_S",
        description="seconds for which a finished answer is given again to the same job id",
    )
    entries: Annotated[int, Ge(0), Le(1_000_000)] = Field(
        2000, validation_alias="DROVER_REPLAY_ENTRIES", description="finished answers that are kept; 0 keeps none"
    )
    size_mb: Annotated[int, Ge(0), Le(65_536)] = Field(
        32, validation_alias="DROVER_REPLAY_SIZE_MB", description="MiB of memory that the kept answers may take"
    )


class LineSection(Section):
    """In which order waiting jobs get the slots that come free."""

    guard_s: Seconds = Field(
        60.0,
        validation_alias="DROVER_QUEUE_GUARD_S",
        description="seconds of waiting after which a job counts as one class higher (batch, normal, interactive), and again "
        "after as many more",
    )
    tenant_weights: Annotated[str, AfterValidator(_weights_text)] = Field(
        "",
        validation_alias="DROVER_TENANT_WEIGHTS",
        description="shares of tenants that wait in the same class, as alice=3,bob=1: 0.01 to 1000; who is not named has 1",
    )


class DurableSection(Section):
    """The durable lane: jobs that lie in a stream of the NATS server until their result is stored."""

    enabled: bool = Field(
        default=True,
        validation_alias="DROVER_DURABLE",
        description="take jobs from the durable queue, if the NATS server runs with JetStream",
    )
    queue_limit: Annotated[int, Ge(1)] = Field(
        100_000,
        validation_alias="DROVER_DURABLE_QUEUE_LIMIT",
        description="durable jobs that may lie in the queue; above it they are refused",
    )
    queue_limit_bytes: Annotated[int, Ge(1 << 20)] = Field(
        256 << 20,
        validation_alias="DROVER_DURABLE_QUEUE_LIMIT_BYTES",
        description="bytes that the durable queue may take on the NATS server's disk; the server sets them aside at once",
    )
    ack_wait_s: Annotated[float, Ge(0.5), Le(600)] = Field(
        10.0,
        validation_alias="DROVER_DURABLE_ACK_WAIT_S",
        description="seconds after its last sign of life until a dead dispatcher's durable job goes to another one",
    )
    max_deliver: Annotated[int, Ge(1), Le(1000)] = Field(
        5,
        validation_alias="DROVER_DURABLE_TRIES",
        description="how often a durable job is given to a device, or dies with its dispatcher, before it is a dead letter",
    )
    try_s: Annotated[float, Gt(0), Le(86_400)] = Field(
        3600.0,
        validation_alias="DROVER_DURABLE_TRY_S",
        description="seconds that one try of a durable job may take from when a device gets it; the wait for one does not count",
    )
    first_delay_s: Annotated[float, Gt(0), Le(3600)] = Field(
        1.0,
        validation_alias="DROVER_DURABLE_FIRST_DELAY_S",
        description="seconds until a durable job that failed is tried again; fourfold at each further try",
    )
    longest_delay_s: Annotated[float, Gt(0), Le(3600)] = Field(
        60.0, validation_alias="DROVER_DURABLE_LONGEST_DELAY_S", description="the longest such delay in seconds"
    )
    life_s: Annotated[float, Gt(0), Le(30 * 86_400)] = Field(
        86_400.0,
        validation_alias="DROVER_DURABLE_LIFE_S",
        description="seconds from its submission until a durable job that names no deadline is given up",
    )
    result_age_s: Annotated[float, Ge(60), Le(30 * 86_400)] = Field(
        3600.0,
        validation_alias="DROVER_DURABLE_RESULT_AGE_S",
        description="seconds for which the results of durable jobs are kept",
    )
    results_limit_bytes: Annotated[int, Ge(1 << 20)] = Field(
        256 << 20,
        validation_alias="DROVER_DURABLE_RESULTS_LIMIT_BYTES",
        description="bytes that they may take, set aside at once; above it the oldest are forgotten early",
    )
    sweep_s: Annotated[float, Gt(0), Le(3600)] = Field(
        60.0,
        validation_alias="DROVER_DURABLE_SWEEP_S",
        description="seconds between two searches for jobs that were tried too often without anybody noticing",
    )


class RosterSection(Section):
    """When a device counts as alive. Multiples of the interval that the device's heartbeat names."""

    suspect_after: Annotated[float, Gt(1)] = Field(
        2.5, validation_alias="DROVER_SUSPECT_AFTER", description="missed heartbeat intervals until a device is suspect"
    )
    dead_after: Annotated[float, Gt(1)] = Field(
        5.0, validation_alias="DROVER_DEAD_AFTER", description="missed heartbeat intervals until a device is dead"
    )
    settle_s: Annotated[float, Ge(0)] = Field(
        1.5,
        validation_alias="DROVER_SETTLE_S",
        description="seconds after its start in which a dispatcher keeps jobs waiting for devices that it has not heard yet",
    )
    forget_after_s: Seconds = Field(
        3600.0, validation_alias="DROVER_FORGET_AFTER_S", description="seconds until a dead device leaves the roster"
    )

    @model_validator(mode="after")
    def _suspect_before_dead(self) -> Self:
        if self.suspect_after > self.dead_after:
            raise ValueError(
                f"DROVER_SUSPECT_AFTER={self.suspect_after:g} is more than DROVER_DEAD_AFTER={self.dead_after:g}: "
                "a device is suspect before it is dead"
            )
        return self


class ClockSection(Section):
    """How long an attempt may stay silent, phase by phase."""

    accept_s: Seconds = Field(
        0.45, validation_alias="DROVER_ACCEPT_S", description="seconds until the agent must have accepted a job"
    )
    load_s: Seconds = Field(
        60.0,
        validation_alias="DROVER_LOAD_S",
        description="seconds a model may take to load, or three times what its size and the device's history predict if that is "
        "longer; after them another device is asked as well, and after twice as long the load is given up",
    )
    first_token_s: Seconds = Field(
        60.0,
        validation_alias="DROVER_FIRST_TOKEN_S",
        description="seconds from accept, or from the end of the load, to the first token, or three times what is predicted if "
        "that is longer",
    )
    between_tokens_s: Seconds = Field(
        15.0,
        validation_alias="DROVER_BETWEEN_TOKENS_S",
        description="seconds that a backend may produce nothing after it has begun, though its agent lives",
    )
    stall_s: Seconds = Field(
        3.0,
        validation_alias="DROVER_STALL_S",
        description="seconds without any frame, keep-alives included, until a device is given up",
    )
    doubt_s: Seconds = Field(
        5.0,
        validation_alias="DROVER_DOUBT_S",
        description="seconds of silence, or twice what is predicted if that is longer, after which a device must prove that its "
        "backend works, and a second device is asked where that is safe",
    )


class DeliverySection(Section):
    """How jobs are moved."""

    hedge_share: Annotated[float, Ge(0), Le(1)] = Field(
        0.05,
        validation_alias="DROVER_HEDGE_SHARE",
        description="share of jobs that may be given to a second device when their first token is later than the 95th "
        "percentile, or their device is silent for long; 0 turns it off",
    )


class RoutingSection(Section):
    """The hybrid score S = w1*C_tokens + w2*Sim_centroid + w3*H_latency; weights are normalised to a sum of 1."""

    weight_tokens: Weight = Field(
        0.4, validation_alias="DROVER_WEIGHT_TOKENS", description="w1: request size against the device's capability"
    )
    weight_topic: Weight = Field(
        0.2, validation_alias="DROVER_WEIGHT_TOPIC", description="w2: similarity to the device's topics"
    )
    weight_health: Weight = Field(
        0.4, validation_alias="DROVER_WEIGHT_HEALTH", description="w3: health, load, heat and latency history"
    )

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not (self.weight_tokens or self.weight_topic or self.weight_health):
            raise ValueError(
                "DROVER_WEIGHT_TOKENS, DROVER_WEIGHT_TOPIC and DROVER_WEIGHT_HEALTH are all 0: one must be more"
            )
        return self


class EmbedSection(Section):
    """The embedder: how texts become vectors for routing. `drover embedder use` sets it."""

    tier: Literal["static", "minilm", "reference", "none"] = Field(
        "static",
        validation_alias="DROVER_EMBEDDER",
        description="static (a table that comes with Drover, microseconds), minilm (a small network, milliseconds; extra onnx), "
        "reference (the original on torch; extra embedder) or none (routing by text features alone)",
    )
    path: Path | None = Field(
        None,
        validation_alias="DROVER_EMBEDDER_PATH",
        description="its file, or the reference's directory; not set takes the table that comes with Drover, what "
        "`drover embedder build` wrote, or the packaged model",
    )
    threads: Annotated[int, Ge(1), Le(64)] = Field(
        1,
        validation_alias="DROVER_EMBEDDER_THREADS",
        description="threads for one text, in the tiers minilm and reference",
    )
    chars: Annotated[int, Ge(64), Le(100_000)] = Field(
        2000,
        validation_alias="DROVER_EMBEDDER_CHARS",
        description="characters that are read of a text: of a longer one the head and the tail",
    )
    queue_limit: Annotated[int, Ge(1), Le(100_000)] = Field(
        256,
        validation_alias="DROVER_EMBEDDER_QUEUE_LIMIT",
        description="texts that may wait to be embedded; above it a job is routed without a vector",
    )
    kept: Annotated[int, Ge(0), Le(1_000_000)] = Field(
        2048, validation_alias="DROVER_EMBEDDER_KEPT", description="vectors that are kept for texts that come again"
    )


class BridgeSection(Section):
    """The HTTP bridge."""

    host: str = Field("127.0.0.1", validation_alias="DROVER_HTTP_HOST", description="address the bridge listens on")
    port: Port = Field(
        8080, validation_alias="DROVER_HTTP_PORT", description="port the bridge listens on; 0 takes a free one"
    )
    tenant: str = Field(
        "default", validation_alias="DROVER_HTTP_TENANT", description="tenant that HTTP requests count for"
    )
    max_body_bytes: Annotated[int, Ge(1024)] = Field(
        900_000,
        validation_alias="DROVER_HTTP_MAX_BODY_BYTES",
        description="largest request body; NATS carries 1 MiB a message by default",
    )
    header_hold_s: Seconds = Field(
        5.0,
        validation_alias="DROVER_HTTP_HEADER_HOLD_S",
        description="seconds a stream's HTTP headers wait for the first token, so as to name the device that answered",
    )
    patience_s: Annotated[float, Ge(0), Le(600)] = Field(
        15.0,
        validation_alias="DROVER_HTTP_PATIENCE_S",
        description="seconds for which the bridge sends a job again when its dispatcher or NATS is lost; 0 tells at once",
    )
    retry_grace_s: Annotated[float, Ge(0), Le(60)] = Field(
        10.0,
        validation_alias="DROVER_HTTP_RETRY_GRACE_S",
        description="seconds that a job with an Idempotency-Key runs on for a client whose connection broke, until it comes again",
    )
    grace_s: Seconds = Field(
        10.0,
        validation_alias="DROVER_HTTP_GRACE_S",
        description="seconds that open HTTP answers get to finish after the first SIGTERM",
    )
    allow_remote: bool = Field(
        default=False,
        validation_alias="DROVER_HTTP_ALLOW_REMOTE",
        description="let DROVER_HTTP_HOST be an address that other machines reach, though anyone there may then use the fleet",
    )
    allowed_hosts: str = Field(
        "",
        validation_alias="DROVER_HTTP_ALLOWED_HOSTS",
        description="further names, separated by commas, under which the bridge is reached; others are refused (DNS rebinding)",
    )


class UpSection(Section):
    """`drover up`: everything on one machine."""

    nats_port: Port = Field(
        4222,
        validation_alias="DROVER_NATS_PORT",
        description="port of the NATS server that `drover up` starts; 0 takes a free one",
    )
    devices: str = Field(
        "nano,orin,pi5",
        validation_alias="DROVER_DEVICES",
        description="simulated devices, when no Ollama answers at OLLAMA_HOST",
    )
    state_dir: Path = Field(
        Path(".drover"), validation_alias="DROVER_STATE_DIR", description="directory of the NATS store and the logs"
    )
    restart: bool = Field(
        default=True, validation_alias="DROVER_RESTART", description="start a process again when it dies"
    )
    time_factor: Annotated[float, Gt(0), Le(10_000)] = Field(
        1.0,
        validation_alias="DROVER_SIM_TIME_FACTOR",
        description="how much faster than life the simulated devices run",
    )
    slots: Annotated[int, Ge(1), Le(1024)] | None = Field(
        None,
        validation_alias="DROVER_SLOTS",
        description="jobs that a simulated device runs at once; not set takes what suits its board",
    )
    agent_grace_s: Seconds = Field(
        20.0,
        validation_alias="DROVER_AGENT_GRACE_S",
        description="seconds that `drover up` gives its agents for this, plus five",
    )
    nats_server: str = Field(
        "nats-server",
        validation_alias="DROVER_NATS_SERVER",
        description="the nats-server program that `drover up` starts: a name or a path",
    )


class OllamaSection(Section):
    """Where `drover up` looks for a real Ollama."""

    host: Annotated[str, AfterValidator(ollama_url)] = Field(
        "http://127.0.0.1:11434",
        validation_alias="OLLAMA_HOST",
        description="address of a real Ollama; used instead of simulated devices when it answers",
    )


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    """What `drover dispatcher` runs on."""

    bus: BusSection
    log: LogSection
    dispatcher: DispatcherSection
    admission: AdmissionSection
    replay: ReplaySection
    durable: DurableSection
    roster: RosterSection
    clocks: ClockSection
    delivery: DeliverySection
    routing: RoutingSection
    line: LineSection = field(default_factory=LineSection)
    embed: EmbedSection = field(default_factory=EmbedSection)


@dataclass(frozen=True, slots=True)
class EmbedderSettings:
    """What `drover embedder check` runs on."""

    embed: EmbedSection


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """What `drover bridge` runs on."""

    bus: BusSection
    log: LogSection
    roster: RosterSection
    bridge: BridgeSection


@dataclass(frozen=True, slots=True)
class UpSettings:
    """What `drover up` runs on; the processes that it starts read their own."""

    bus: BusSection
    log: LogSection
    dispatcher: DispatcherSection
    bridge: BridgeSection
    ollama: OllamaSection
    up: UpSection
