"""From a shell to the running fleet: which NATS server, and a producer on it; it knows no verb."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from common.bus import Bus
from common.bus.nats import NatsBus, connect_nats
from common.bus.options import options_from
from common.client import Drover, tenants_own
from common.logs import configure
from common.settings import BusSection, LogSection, load
from dispatcher.cli.state import StateDir
from dispatcher.settings import BridgeSection, UpSection

SHELL_WAIT_S = 1.0
"""A person waits: a server that has not answered by then is not there."""


@dataclass(frozen=True, slots=True)
class ShellSettings:
    """What the verbs that talk to a running fleet read."""

    bus: BusSection
    log: LogSection
    bridge: BridgeSection
    up: UpSection


def shell_settings() -> ShellSettings:
    """Load the settings and send logs to standard error, errors only unless LOG_LEVEL says otherwise."""
    settings = load(ShellSettings)
    level = settings.log.level if "level" in settings.log.model_fields_set else "ERROR"
    configure("drover", level=level, fmt=settings.log.format)
    return settings


def bus_section(settings: ShellSettings) -> BusSection:
    """Give the bus to talk to: 1. NATS_URL, 2. the fleet that `drover up` runs here, 3. DROVER_NATS_PORT on this machine."""
    changes: dict[str, object] = {}
    if "url" not in settings.bus.model_fields_set:  # 1
        running = StateDir(settings.up.state_dir).running()
        changes["url"] = running.nats_url if running else f"nats://127.0.0.1:{settings.up.nats_port or 4222}"  # 2, 3
    if "connect_wait_s" not in settings.bus.model_fields_set:
        changes["connect_wait_s"] = SHELL_WAIT_S
    return settings.bus.model_copy(update=changes)


@asynccontextmanager
async def open_bus(settings: ShellSettings) -> AsyncIterator[NatsBus]:
    """Connect to the fleet's bus. Raises `BusDisconnected` when no server answers."""
    async with connect_nats(options_from(bus_section(settings), name="drover-cli")) as bus:
        yield bus


@asynccontextmanager
async def open_producer(settings: ShellSettings, *, tenant: str | None = None) -> AsyncIterator[Drover]:
    """Connect as a producer of a tenant, which is the bridge's where none is named."""
    async with open_bus(settings) as bus, producer(bus, settings, tenant=tenant) as drover:
        yield drover


@asynccontextmanager
async def producer(bus: Bus, settings: ShellSettings, *, tenant: str | None = None) -> AsyncIterator[Drover]:
    """Be a producer of a tenant on a bus that is there."""
    owner = tenant or settings.bridge.tenant
    own = tenants_own(options_from(settings.bus, name=""), owner)
    async with Drover.over(bus, tenant=owner, prefix=settings.bus.prefix, newest_only=own) as drover:
        yield drover
