"""Every knob of an agent, on one page; it knows no code that turns them.

The environment variable stands beside each field; `deploy/config/drover.env.example` lists them all, and a test keeps it equal.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, Field, field_validator, model_validator

from agents.backends.offers import Offer, offers
from agents.power.names import AUTO, Name, Rung, rungs
from common.addresses import listen_address, ollama_url, plug_address, provider_url
from common.settings import ApiKey, BusSection, LogSection, Section, TracesSection
from common.subjects import as_token

KEEP_ALIVE = r"^-?(\d+(\.\d+)?|(\d+(\.\d+)?(ns|us|ms|s|m|h))+)$"
"""What Ollama takes: a duration as Go writes it, or a bare number of seconds."""

OPENAI_URL = "https://api.openai.com/v1"

CLOUD_SLOTS = 8
"""Answers that a provider gives at once: it takes hundreds, and its limits count by the minute."""


Seconds = Annotated[float, Gt(0), Le(86_400)]
Dollars = Annotated[float, Ge(0), Le(1e6)]


def _device_name(name: str) -> str:
    return as_token(name or socket.gethostname())


def _site_name(name: str) -> str:
    return as_token(name) if name else ""


class AgentSection(Section):
    """The agent itself."""

    device: Annotated[str, AfterValidator(_device_name)] = Field(
        "",
        validation_alias="DROVER_DEVICE",
        validate_default=True,
        description="name of this device on the bus, A-Z a-z 0-9 _ - (others become _); empty takes the host's name",
    )
    backend: Literal["ollama", "openai", "echo"] = Field(
        "ollama",
        validation_alias="DROVER_BACKEND",
        description="what runs the models: ollama; openai, a provider of paid models (or any server that speaks its API); or "
        "echo, which repeats the prompt and is for benchmarks of the bus",
    )
    slots: Annotated[int, Ge(1), Le(10_000)] | None = Field(
        None,
        validation_alias="DROVER_SLOTS",
        description="jobs that run at once; above it the agent refuses; not set takes OLLAMA_NUM_PARALLEL, or 8 for "
        "DROVER_BACKEND=openai",
    )
    heartbeat_s: Annotated[float, Gt(0), Le(300)] = Field(
        1.0, validation_alias="DROVER_HEARTBEAT_S", description="seconds between heartbeats"
    )
    topics: str = Field(
        "", validation_alias="DROVER_TOPICS", description="topics that this device is meant for, separated by commas"
    )
    site: Annotated[str, AfterValidator(_site_name)] = Field(
        "",
        validation_alias="DROVER_SITE",
        description="where this device stands, A-Z a-z 0-9 _ - (others become _): devices of one site can share a limit of watts",
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
        description="seconds between looks at the backend's models and at the device's sensors",
    )
    sensors_url: str = Field(
        "",
        validation_alias="DROVER_SENSORS_URL",
        description="URL of a simulated device's sensors, read instead of this machine's own",
    )
    metrics: Annotated[str, AfterValidator(listen_address)] = Field(
        "",
        validation_alias="DROVER_AGENT_METRICS",
        description="where this agent shows its metrics: a port of the loopback, or host:port; not set is nowhere, since the "
        "dispatcher shows the figures of all devices (DROVER_METRICS)",
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
    models: str = Field(
        "",
        validation_alias="OLLAMA_MODELS",
        description="directory of Ollama's models, as you told Ollama itself: the agent watches its disk; empty looks where Ollama "
        "puts them",
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


class CloudSection(Section):
    """How an agent with DROVER_BACKEND=openai reaches its provider, and what it may spend there."""

    models: str = Field(
        "",
        validation_alias="DROVER_CLOUD_MODELS",
        description="paid models to offer, separated by commas: a name, = and US dollars per million tokens of input/output, or "
        "input/output/cached input; then what is known of it: the size of its context, with that of its longest answer behind a /; "
        "the billions of parameters it is held to be worth; vision, tools, json, or text alone; as in "
        "gpt-4o-mini=0.15/0.60/0.075 128k/16k 8b vision tools, o3=2/8 200k/100k 400b. `drover up` starts an agent for them",
    )
    base_url: Annotated[str, AfterValidator(provider_url)] = Field(
        OPENAI_URL,
        validation_alias="OPENAI_BASE_URL",
        description="address of the provider's API, usually ending in /v1",
    )
    api_key: ApiKey | None = Field(
        None, validation_alias="OPENAI_API_KEY", description="the provider's key; a server of your own may need none"
    )
    key_from: Literal["agent", "request"] = Field(
        "agent",
        validation_alias="DROVER_CLOUD_KEY_FROM",
        description="whose key the provider is asked with: the agent's, unless a request brings its own (provider_key, "
        "X-Drover-Provider-Key), or the request's alone",
    )
    organization: str | None = Field(
        None, validation_alias="OPENAI_ORG_ID", description="organization that the provider is to charge"
    )
    project: str | None = Field(None, validation_alias="OPENAI_PROJECT_ID", description="project that it is to charge")
    budget_day_usd: Dollars | None = Field(
        None,
        validation_alias="DROVER_CLOUD_BUDGET_DAY_USD",
        description="US dollars that paid models may cost a day (UTC); then the device is faulty until the next one; an answer "
        "that may cost more than is left is refused; not set is no limit",
    )
    budget_usd: Dollars | None = Field(
        None,
        validation_alias="DROVER_CLOUD_BUDGET_USD",
        description="US dollars that they may cost in all, as counted in DROVER_STATE_DIR; not set is no limit",
    )
    state_dir: Path = Field(
        Path(".drover"),
        validation_alias="DROVER_STATE_DIR",
        description="directory in which an agent keeps what its paid models have cost (cloud-<device>.json)",
    )
    silence_s: Seconds = Field(
        120.0,
        validation_alias="DROVER_CLOUD_SILENCE_S",
        description="seconds without a byte from the provider until a job is given up, and not sent there again by the agent",
    )
    retries: Annotated[int, Ge(0), Le(10)] = Field(
        2,
        validation_alias="DROVER_CLOUD_RETRIES",
        description="how often the agent itself asks again when the provider is busy or fails, before another device is tried",
    )

    @field_validator("models")
    @classmethod
    def _readable(cls, text: str) -> str:
        offers(text)
        return text

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The models, one by one."""
        return offers(self.models)


SYSFS = Path("/sys")


class PowerSection(Section):
    """How the agent learns what its device draws."""

    readers: str = Field(
        AUTO,
        validation_alias="DROVER_POWER",
        description="where watts come from: auto takes the best that the device has; or a list separated by commas, the best "
        "first, with + between those to be added, of: simulated, plug, ina3221, tegrastats, hwmon, pmic, rapl, nvml, "
        "jtop, model; as in plug,model or rapl+nvml",
    )
    offset_w: Annotated[float, Ge(0), Le(1000)] = Field(
        0.0,
        validation_alias="DROVER_POWER_OFFSET_W",
        description="watts that the board's own sensors don't see, as of a carrier board or a fan; added to what they say",
    )
    idle_w: Annotated[float, Ge(0), Le(10_000)] | None = Field(
        None,
        validation_alias="DROVER_POWER_IDLE_W",
        description="for the estimate without a sensor: watts of this device when idle; not set takes what is known of the board",
    )
    busy_w: Annotated[float, Ge(0), Le(10_000)] | None = Field(
        None, validation_alias="DROVER_POWER_BUSY_W", description="the same, while it answers"
    )
    busy_hz: Annotated[float, Ge(1), Le(20)] = Field(
        5.0, validation_alias="DROVER_POWER_HZ", description="readings of the watts in a second while jobs run"
    )
    idle_s: Annotated[float, Gt(0), Le(60)] = Field(
        10.0, validation_alias="DROVER_POWER_IDLE_S", description="seconds between two readings while none runs"
    )
    hwmon: str = Field(
        "",
        validation_alias="DROVER_POWER_HWMON",
        description="which INA219, INA226 or INA238 measures the supply, where there are several: its name, label or address, as "
        "in ina226, VIN or 1-0040",
    )
    tegrastats: str = Field(
        "tegrastats", validation_alias="DROVER_TEGRASTATS", description="path or name of the program tegrastats"
    )
    plug_url: Annotated[str, AfterValidator(plug_address)] = Field(
        "",
        validation_alias="DROVER_POWER_PLUG_URL",
        repr=False,  # its query may hold a password
        description="address of the smart plug that feeds the device, such as http://192.168.1.20; of Home Assistant the whole "
        "address of the state, as in http://ha:8123/api/states/sensor.nano_power; it is preferred to the device's own sensors",
    )
    plug_kind: Literal["tasmota", "shelly1", "shelly2", "homeassistant", "json"] = Field(
        "tasmota",
        validation_alias="DROVER_POWER_PLUG_KIND",
        description="what answers there: tasmota, shelly1 (first generation), shelly2 (all later ones), homeassistant, or json, "
        "whatever gives JSON",
    )
    plug_field: str = Field(
        "",
        validation_alias="DROVER_POWER_PLUG_FIELD",
        description="where the watts stand in the JSON, as in emeters.0.power; json needs it, other kinds where there are several",
    )
    plug_token: ApiKey | None = Field(
        None,
        validation_alias="DROVER_POWER_PLUG_TOKEN",
        description="Home Assistant's long-lived access token, or the password of the plug's user admin",
    )
    sysfs: Path = Field(
        SYSFS,
        validation_alias="DROVER_SYSFS",
        description="where the kernel's sensors are mounted, as in a container",
    )

    @field_validator("readers")
    @classmethod
    def _known(cls, text: str) -> str:
        rungs(text)
        return text

    @field_validator("sysfs")
    @classmethod
    def _mounted(cls, path: Path) -> Path:
        # Not every machine has the default; whoever names a place has one.
        if path != SYSFS and not path.is_dir():
            raise ValueError("there is no directory: name the one where the host's /sys is mounted")
        return path

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if any(Name.PLUG in rung for rung in self.rungs) and not self.plug_url:
            raise ValueError("DROVER_POWER names plug: set DROVER_POWER_PLUG_URL to its address")
        if self.plug_url and self.plug_kind == "json" and not self.plug_field:
            raise ValueError(
                "DROVER_POWER_PLUG_KIND=json needs DROVER_POWER_PLUG_FIELD: where the watts stand, as in power.watts"
            )
        if self.idle_w is not None and self.busy_w is not None and self.idle_w > self.busy_w:
            raise ValueError(
                f"DROVER_POWER_IDLE_W={self.idle_w:g} is more than DROVER_POWER_BUSY_W={self.busy_w:g}: "
                "a device draws more while it answers"
            )
        return self

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The readers to try, one after the other; none for `auto`."""
        return rungs(self.readers)


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What `drover-agent` runs on."""

    bus: BusSection
    log: LogSection
    agent: AgentSection
    ollama: OllamaSection
    cloud: CloudSection = field(default_factory=CloudSection)
    power: PowerSection = field(default_factory=PowerSection)
    traces: TracesSection = field(default_factory=TracesSection)

    @property
    def remote(self) -> bool:
        """True when the models run elsewhere."""
        return self.agent.backend == "openai"

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return self.agent.slots or (CLOUD_SLOTS if self.remote else max(1, self.ollama.num_parallel))

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics, one by one."""
        return tuple(topic for part in self.agent.topics.split(",") if (topic := part.strip()))
