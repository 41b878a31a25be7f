"""Every knob of the dispatcher, the bridge and `drover up`, on one page; it knows no code that turns them.

The environment variable stands beside each field; `deploy/config/drover.env.example` lists them all, and a test keeps it equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, Field

from common.addresses import ollama_url
from common.settings import BusSection, LogSection, Section

Weight = Annotated[float, Ge(0), Le(1000)]
Seconds = Annotated[float, Gt(0), Le(86_400)]
Port = Annotated[int, Ge(0), Le(65_535)]


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

    queue_limit: Annotated[int, Ge(0)] = Field(
        1000,
        validation_alias="DROVER_QUEUE_LIMIT",
        description="jobs that may wait for a slot; above it they are refused",
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


class ClockSection(Section):
    """How long an attempt may stay silent, phase by phase."""

    accept_s: Seconds = Field(
        0.75, validation_alias="DROVER_ACCEPT_S", description="seconds until the agent must have accepted a job"
    )
    load_s: Seconds = Field(180.0, validation_alias="DROVER_LOAD_S", description="seconds a model may take to load")
    first_token_s: Seconds = Field(
        60.0,
        validation_alias="DROVER_FIRST_TOKEN_S",
        description="seconds from accept, or from the end of the load, to the first token",
    )
    between_tokens_s: Seconds = Field(
        60.0,
        validation_alias="DROVER_BETWEEN_TOKENS_S",
        description="seconds that a backend may produce nothing after it has begun, though its agent lives",
    )
    stall_s: Seconds = Field(
        5.0,
        validation_alias="DROVER_STALL_S",
        description="seconds without any frame, keep-alives included, until a device is given up",
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
    roster: RosterSection
    clocks: ClockSection
    routing: RoutingSection


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
