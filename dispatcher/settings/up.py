"""The knobs of `drover up`; it knows no code that turns them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, Field

from common.addresses import ollama_url
from common.settings import Section
from dispatcher.settings.kinds import Port, Seconds


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
        description="how much faster than life the simulated devices run; joules are too low by this factor",
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
    cloud_models: str = Field(
        "",
        validation_alias="DROVER_CLOUD_MODELS",
        description="when set, `drover up` starts an agent for them beside the others; its device is called cloud",
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
