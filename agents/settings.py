"""Every knob of an agent, on one page; it knows no code that turns them.

The environment variable stands beside each field; `deploy/config/drover.env.example` lists them all, and a test keeps it equal.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, Field

from common.addresses import ollama_url
from common.settings import BusSection, LogSection, Section
from common.subjects import as_token

KEEP_ALIVE = r"^-?(\d+(\.\d+)?|(\d+(\.\d+)?(ns|us|ms|s|m|h))+)$"
"""What Ollama takes: a duration as Go writes it, or a bare number of seconds."""

Seconds = Annotated[float, Gt(0), Le(86_400)]


def _device_name(name: str) -> str:
    return as_token(name or socket.gethostname())


class AgentSection(Section):
    """The agent itself."""

    device: Annotated[str, AfterValidator(_device_name)] = Field(
        "",
        validation_alias="DROVER_DEVICE",
        validate_default=True,
        description="name of this device on the bus, A-Z a-z 0-9 _ - (others become _); empty takes the host's name",
    )
    backend: Literal["ollama", "echo"] = Field(
        "ollama",
        validation_alias="DROVER_BACKEND",
        description="what runs the models: ollama, or echo, which repeats the prompt and is for benchmarks of the bus",
    )
    slots: Annotated[int, Ge(1), Le(10_000)] | None = Field(
        None,
        validation_alias="DROVER_SLOTS",
        description="jobs that run at once; above it the agent refuses; not set takes OLLAMA_NUM_PARALLEL",
    )
    heartbeat_s: Annotated[float, Gt(0), Le(300)] = Field(
        1.0, validation_alias="DROVER_HEARTBEAT_S", description="seconds between heartbeats"
    )
    topics: str = Field(
        "", validation_alias="DROVER_TOPICS", description="topics that this device is meant for, separated by commas"
    )
    grace_s: Seconds = Field(
        20.0,
        validation_alias="DROVER_AGENT_GRACE_S",
        description="seconds that running jobs get to finish after the first SIGTERM, before they are handed back",
    )
    flush_ms: Annotated[float, Ge(0), Le(1000)] = Field(
        25.0,
        validation_alias="DROVER_FLUSH_MS",
        description="milliseconds over which tokens are gathered into one message",
    )
    poll_s: Annotated[float, Gt(0), Le(300)] = Field(
        2.0,
        validation_alias="DROVER_POLL_S",
        description="seconds between looks at the backend's models and at memory and temperature",
    )
    sensors_url: str = Field(
        "",
        validation_alias="DROVER_SENSORS_URL",
        description="URL of a simulated device's sensors, read instead of this machine's own",
    )


class OllamaSection(Section):
    """How the agent reaches Ollama."""

    host: Annotated[str, AfterValidator(ollama_url)] = Field(
        "http://127.0.0.1:11434",
        validation_alias="OLLAMA_HOST",
        description="address of Ollama: host, host:port or URL, as Ollama itself reads it",
    )
    num_parallel: Annotated[int, Ge(0), Le(10_000)] = Field(
        1,
        validation_alias="OLLAMA_NUM_PARALLEL",
        description="requests that Ollama runs at once for one model, as you told Ollama itself; 0, its own choice, counts as 1",
    )
    context_length: Annotated[int, Ge(0), Le(10_000_000)] = Field(
        0,
        validation_alias="OLLAMA_CONTEXT_LENGTH",
        description="tokens of context that Ollama gives a model, as you told Ollama itself; 0, its own choice, counts as 2048",
    )
    keep_alive: Annotated[str, Field(pattern=KEEP_ALIVE)] = Field(
        "5m",
        validation_alias="DROVER_KEEP_ALIVE",
        description="how long Ollama keeps a model in memory after a job: 10m, 1h, 0 unloads at once, -1 keeps it for ever",
    )
    silence_s: Seconds = Field(
        600.0,
        validation_alias="DROVER_OLLAMA_SILENCE_S",
        description="seconds without a byte from Ollama until a job is given up, loading the model included",
    )


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What `drover-agent` runs on."""

    bus: BusSection
    log: LogSection
    agent: AgentSection
    ollama: OllamaSection

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return self.agent.slots or max(1, self.ollama.num_parallel)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics, one by one."""
        return tuple(topic for part in self.agent.topics.split(",") if (topic := part.strip()))
