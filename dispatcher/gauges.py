"""What a dispatcher shows to Prometheus, and where: its records' sums, and at each look the line, the fleet, the cache and NATS."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from common.bus import Bus
from common.bus.jetstream import JetStream
from common.bus.streams import Streams
from common.durable import Names
from common.errors import FleetError
from common.exposure import exposed, wanted
from common.messages import DeviceState
from common.metrics import Family, Labels, Metrics, Numbers, gauge
from common.metrics import Names as LabelNames
from common.subjects import Subjects
from common.vitals import vitals
from dispatcher.breaker import BreakerState
from dispatcher.fleet import Liveness
from dispatcher.pipeline import Pipeline
from dispatcher.record.metrics import MetricsSink
from dispatcher.roster import Change, DeviceEvent, Roster

Points = dict[Labels, float]

LEDGER = "ledger"
"""The consumer that writes records down."""
LOOK_S = 5.0


@asynccontextmanager
async def watched(address: str, bus: Bus, pipeline: Pipeline) -> AsyncIterator[None]:
    """Show the dispatcher's figures at an address for the life of the context; for `off` and for none nothing is counted."""
    if not wanted(address):
        yield
        return
    metrics, devices, models = Metrics(), LabelNames(), LabelNames()
    pipeline.recorder.add(MetricsSink(metrics, devices=devices, models=models))
    pipeline.roster.on_change(Forgetting(metrics, pipeline.roster, devices=devices, models=models).note)
    figures = Figures(bus, pipeline, devices)
    for source in (figures.house, figures.fleet, figures.cache, figures.nats):
        metrics.ask(source)
    ledger = LedgerLag(bus, pipeline.subjects)
    metrics.ask(ledger.figures)
    async with exposed(metrics, address), asyncio.TaskGroup() as group:
        looking = group.create_task(ledger.watch())
        yield
        looking.cancel()


class Figures:
    """Reads the dispatcher's parts; each look is a few microseconds for each device."""

    def __init__(self, bus: Bus, pipeline: Pipeline, devices: LabelNames) -> None:
        self._bus = bus
        self._pipeline = pipeline
        self._names = devices
        self._reconnects = 0
        bus.on_reconnect(self._reconnected)

    def house(self) -> Iterable[Family]:
        """The jobs in the house."""
        line = self._pipeline.courier.line
        yield gauge("drover_jobs_running", "Jobs in the house, waiting ones included.", self._pipeline.running)
        yield gauge("drover_jobs_waiting", "Jobs that wait for a slot.", line.waiting)
        yield gauge("drover_jobs_waiting_limit", "How many may wait before jobs are refused.", line.rules.limit)
        others = len(self._pipeline.sharing.peers.others)
        yield gauge("drover_dispatchers", "Dispatchers that share the fleet, this one included.", others + 1)

    def fleet(self) -> Iterable[Family]:
        """The devices, as many as may be named."""
        known = self._pipeline.roster.fleet.devices.values()
        liveness = Counter(device.liveness for device in known)
        counts: Points = {(str(each),): float(liveness[each]) for each in Liveness}
        yield gauge("drover_devices", "Devices by what their heartbeats say.", counts, "liveness")
        named = [device for device in known if self._names(device.name) == device.name]
        yield gauge(
            "drover_devices_unnamed", "Devices that have no series of their own: they are too many.", len(known) - len(named)
        )  # fmt: skip
        up: Points = {
            (one.name,): float(one.liveness is Liveness.ALIVE)
            for one in named
            if one.beat.state is not DeviceState.STOPPED
        }
        yield gauge("drover_device_up", "1 while its heartbeats come; one that signed off has none.", up, "device")
        yield gauge(
            "drover_device_own_jobs", "Attempts of this dispatcher there.", {(one.name,): one.own for one in named}, "device"
        )  # fmt: skip
        yield gauge(
            "drover_device_error_ratio",
            "Share of its last attempts that failed, the newest counting most.",
            {(one.name,): one.track.error_rate for one in named},
            "device",
        )
        states: Points = {
            (one.name, str(state).replace(" ", "_")): float(one.breaker.state is state)
            for one in named
            for state in BreakerState
        }
        yield gauge(
            "drover_device_breaker", "1 for the state that its circuit breaker is in.", states, "device", "state"
        )
        # What one that is gone said last is no figure of now.
        yield from vitals((one.beat for one in named if one.liveness is not Liveness.DEAD), "drover_device")

    def cache(self) -> Iterable[Family]:
        """The store of answers."""
        told = self._pipeline.cache.state()
        mode, store, state = (str(told.get(name, "")) for name in ("mode", "store", "state"))
        yield gauge("drover_cache_info", "How answers are kept.", {(mode, store): 1.0}, "mode", "store")
        yield gauge("drover_cache_up", "1 while the store of answers does what it is asked.", float(state == "open"))

    def nats(self) -> Iterable[Family]:
        """The connection."""
        yield from connection(self._bus, self._reconnects)

    def _reconnected(self) -> None:
        self._reconnects += 1


class Forgetting:
    """Frees the labels of devices that are gone for good, and of models that nobody else has: else a few hundred names that came
    and went would leave those who are there without a series, and without the alerts on it."""

    def __init__(self, metrics: Metrics, roster: Roster, *, devices: LabelNames, models: LabelNames) -> None:
        self._metrics, self._roster = metrics, roster
        self._devices, self._models = devices, models

    def note(self, event: DeviceEvent) -> None:
        """Take in a change of the fleet."""
        if event.change is not Change.FORGOTTEN:
            return
        self._devices.free(event.device.name)
        self._metrics.forget("device", event.device.name)
        others = self._roster.fleet.devices.values()
        for model in event.device.models:
            if not any(model in other.models for other in others):
                self._models.free(model)
                self._metrics.forget("model", model)


class LedgerLag:
    """Asks NATS now and then how many records the ledger has still to write."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._streams: Streams = JetStream(bus)
        self._stream = Names.below(subjects).records
        self._pending: int | None = None

    def figures(self) -> Iterable[Family]:
        """What is known; nothing where there is no ledger."""
        points: Points = {} if self._pending is None else {(): float(self._pending)}
        what = "Records that wait to be written to the ledger."
        yield Numbers(name="drover_ledger_pending_records", help=what, points=points)

    async def watch(self) -> None:
        """Look again and again; runs as long as the page."""
        while True:
            self._pending = await self._look()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> int | None:
        try:
            state = await self._streams.state(self._stream)
            return max(0, state.last_seq - (await self._streams.progress(self._stream, LEDGER)).settled)
        except FleetError:
            return None  # there is none, or NATS is away, which has a figure of its own


def connection(bus: Bus, reconnects: int) -> Iterable[Family]:
    """Give the figures of a connection to NATS."""
    yield gauge("drover_nats_connected", "1 while there is a connection to NATS.", float(bus.connected))
    what = "Connections to NATS that replaced a lost one."
    yield Numbers(name="drover_nats_reconnects", help=what, points={(): reconnects}, counts=True)
    yield gauge("drover_nats_pending_bytes", "Bytes that wait to be sent to NATS.", bus.pending_bytes)
