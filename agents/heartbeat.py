"""What the agent says of itself, built from values, and the service that says it; it measures nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agents.complaints import complaints
from agents.energy.sampler import Draw
from agents.inventory import Stock
from agents.tally import Workload
from agents.telemetry import Readings
from common import codec
from common.bus import Bus
from common.clock import Clock
from common.errors import FleetError
from common.logs import get_logger
from common.messages import DeviceState, Heartbeat

log = get_logger("heartbeat")

NO_DRAW = Draw()

LEAST_S = 0.1
"""Time between two heartbeats at least, however much changes: ten a second tell a dispatcher all it can use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What stays the same from start to end."""

    device: str
    boot: str
    interval_s: float
    topics: tuple[str, ...]
    backend: str
    continues: bool = False
    remote: bool = False
    needs_key: bool = False
    site: str | None = None
    agent_version: str


def state_of(workload: Workload, stock: Stock) -> tuple[DeviceState, str | None]:
    """Give the state and its reason: 1. draining wins, since jobs are refused 2. not yet looked 3. no backend
    4. an engine that hangs behind a backend that answers 5. ready."""
    if workload.draining:  # 1
        return DeviceState.DRAINING, "takes no new jobs"
    if not stock.seen:  # 2
        return DeviceState.STARTING, "has not heard from its backend yet"
    if stock.fault:  # 3
        return DeviceState.FAULTY, stock.fault
    if workload.fault:  # 4
        return DeviceState.FAULTY, workload.fault
    return DeviceState.READY, None  # 5


def heartbeat(
    identity: Identity,
    workload: Workload,
    stock: Stock,
    readings: Readings,
    *,
    seq: int,
    uptime_s: float,
    stopped: bool = False,
    trouble: str | None = None,
    draw: Draw = NO_DRAW,
) -> Heartbeat:
    """Build one heartbeat; `trouble` is said beside the state's own reason. What `draw` has learnt counts before what is known of
    boards of the kind."""
    state, reason = (DeviceState.STOPPED, "was stopped") if stopped else state_of(workload, stock)
    return Heartbeat(
        device=identity.device,
        boot=identity.boot,
        seq=seq,
        interval_s=identity.interval_s,
        state=state,
        reason="; ".join(part for part in (reason, workload.closed, trouble) if part) or None,
        slots=workload.slots,
        in_flight=workload.in_flight,
        closed_s=workload.closed_s,
        jobs_by_dispatcher=dict(workload.jobs_by_dispatcher),
        models=stock.models,
        speeds=dict(workload.speeds),
        topics=identity.topics,
        memory_total_bytes=readings.memory_total_bytes,
        memory_available_bytes=readings.memory_available_bytes,
        temperature_c=readings.temperature_c,
        throttled=readings.throttled,
        throttling=readings.throttling,
        warnings=complaints(identity.backend, stock, readings),
        power_mode=readings.power_mode,
        gpu=readings.gpu,
        disk_total_bytes=readings.disk_total_bytes,
        disk_free_bytes=readings.disk_free_bytes,
        battery_percent=readings.battery_percent,
        on_battery=readings.on_battery,
        site=identity.site,
        idle_w=readings.idle_w if draw.idle_w is None else draw.idle_w,
        # The greater: what is learnt sinks with a reading at a job's very end, and limits on watts rely on it.
        busy_w=max((watts for watts in (readings.busy_w, draw.busy_w) if watts is not None), default=None),
        watts=draw.watts,
        watts_measured=draw.measured,
        watts_source=draw.source,
        backend=identity.backend,
        backend_version=stock.version.text if stock.version else None,
        simulated=stock.version.simulated if stock.version else False,
        continues=identity.continues,
        embeds=True,
        remote=identity.remote,
        needs_key=identity.needs_key,
        agent_version=identity.agent_version,
        uptime_s=round(uptime_s, 3),
        done=workload.done,
        failed=workload.failed,
        refused=workload.refused,
    )


class Beacon:
    """Publishes heartbeats: each interval, and at once when nudged. `build` gives the one with a number and an uptime."""

    def __init__(
        self, bus: Bus, subject: str, build: Callable[[int, float, bool], Heartbeat], *, clock: Clock, interval_s: float
    ) -> None:
        self._bus = bus
        self._subject = subject
        self._build = build
        self._clock = clock
        self.interval_s = interval_s
        self._started_s = clock.monotonic()
        self._seq = 0
        self._nudged = asyncio.Event()

    @property
    def uptime_s(self) -> float:
        """Seconds since it was made, which is when the agent was."""
        return self._clock.monotonic() - self._started_s

    def nudge(self) -> None:
        """Beat soon: something changed."""
        self._nudged.set()

    @asynccontextmanager
    async def answering(self, subject: str) -> AsyncIterator[None]:
        """Beat soon whenever somebody calls the roll on `subject`, for the life of the context."""
        calls = await self._bus.subscribe(subject, lambda _: self.nudge())
        try:
            yield
        finally:
            await calls.unsubscribe()

    async def shine(self) -> None:
        """Beat again and again; runs as long as the agent."""
        while True:
            self._nudged.clear()
            await self.beat()
            await asyncio.sleep(min(LEAST_S, self.interval_s))
            try:
                async with asyncio.timeout(max(0.0, self.interval_s - LEAST_S)):
                    await self._nudged.wait()
            except TimeoutError:
                pass

    async def beat(self, *, stopped: bool = False) -> None:
        """Publish one heartbeat now; without a connection there is none, since a late one would tell of the past."""
        if not self._bus.connected:
            return
        built = self._build(self._seq, self.uptime_s, stopped)
        self._seq += 1
        try:
            await self._bus.publish(self._subject, codec.encode(codec.plain(built)))
        except FleetError as error:
            log.warning("heartbeat.unsent", code=error.code, error=error.message)
