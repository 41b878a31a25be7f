"""Every knob of the dispatcher, the bridge and `drover up`, a page for each of them; it knows no code that turns them.

The environment variable stands beside each field; `deploy/config/drover.env.example` lists them all, and a test keeps it equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from common.settings import BusSection, LogSection, TracesSection
from dispatcher.settings.bridge import BridgeSection
from dispatcher.settings.cache import CacheSection
from dispatcher.settings.durable import DurableSection
from dispatcher.settings.embed import EmbedSection
from dispatcher.settings.jobs import (
    MOST_WEIGHTS,
    AdmissionSection,
    ClockSection,
    DeliverySection,
    DispatcherSection,
    LineSection,
    ReplaySection,
    RosterSection,
    RoutingSection,
    weights_from,
)
from dispatcher.settings.ledger import LedgerSection
from dispatcher.settings.metrics import MetricsSection
from dispatcher.settings.up import OllamaSection, UpSection

__all__ = [
    "MOST_WEIGHTS",
    "AdmissionSection",
    "BridgeSection",
    "BridgeSettings",
    "CacheSection",
    "ClockSection",
    "DeliverySection",
    "DispatcherSection",
    "DispatcherSettings",
    "DurableSection",
    "EmbedSection",
    "EmbedderSettings",
    "LedgerSection",
    "LedgerSettings",
    "LineSection",
    "MetricsSection",
    "OllamaSection",
    "ReplaySection",
    "RosterSection",
    "RoutingSection",
    "UpSection",
    "UpSettings",
    "weights_from",
]


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
    cache: CacheSection = field(default_factory=CacheSection)
    ledger: LedgerSection = field(default_factory=LedgerSection)
    metrics: MetricsSection = field(default_factory=MetricsSection)
    traces: TracesSection = field(default_factory=TracesSection)


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """What `drover ledger` runs on."""

    bus: BusSection
    log: LogSection
    ledger: LedgerSection


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
    ledger: LedgerSection = field(default_factory=LedgerSection)
    traces: TracesSection = field(default_factory=TracesSection)


@dataclass(frozen=True, slots=True)
class UpSettings:
    """What `drover up` runs on; the processes that it starts read their own."""

    bus: BusSection
    log: LogSection
    dispatcher: DispatcherSection
    bridge: BridgeSection
    ollama: OllamaSection
    up: UpSection
    ledger: LedgerSection = field(default_factory=LedgerSection)
    metrics: MetricsSection = field(default_factory=MetricsSection)
