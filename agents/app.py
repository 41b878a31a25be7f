"""Puts the agent together, and takes it apart in the right order; the only module here that knows all the others."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from importlib import metadata

from ulid import ULID

from agents.backends import Backend, check_backend, open_backend
from agents.doors import Doors, open_doors
from agents.energy.cadence import Cadence
from agents.energy.metering import Metering, Unmetered
from agents.energy.usual import Profile
from agents.heartbeat import Beacon, Identity, heartbeat, state_of
from agents.inventory import Inventory
from agents.knobs import KNOBS
from agents.liveness import EngineLiveness
from agents.loading import Loader
from agents.metrics import watched
from agents.namesakes import Namesakes, sole_bearer
from agents.power import PowerSource
from agents.power.choice import open_power
from agents.presence import endpoints, service_info
from agents.probe import Prober
from agents.settings import AgentSettings
from agents.slots import Slots
from agents.telemetry import Gauge, sensors_for
from agents.traces import server
from agents.worker import Worker
from common import logs
from common.bus import Bus, Subscription
from common.bus.nats import connect_nats
from common.bus.options import options_from
from common.clock import LoopClock
from common.discovery import EndpointStats, discoverable
from common.errors import FleetError
from common.lifecycle import Stop, run, serve
from common.messages import DeviceState, Heartbeat
from common.reloading import Member, Reloader, Turn, reloadable
from common.settings import load
from common.subjects import Subjects, own_inbox
from common.tracing import traced

log = logs.get_logger("agent")


def version() -> str:
    """Give the version of the installed distribution."""
    return metadata.version("drover")


def main() -> int:
    """Run the agent until it is asked to stop; gives the exit status."""
    return run(_main, reloads=True)


def check() -> int:
    """Say what is wrong with the settings, if anything is; gives the exit status. Nothing is connected to."""

    async def checked(_: Stop) -> None:
        settings = load(AgentSettings)
        check_backend(settings)
        said = f"the settings can work: device {settings.agent.device}, backend {settings.agent.backend}"
        sys.stdout.write(f"{said}; nothing was asked: `drover-agent --doctor` does\n")

    return run(checked)


def tell(*, as_json: bool) -> int:
    """Print the settings and where each came from; gives the exit status."""

    from agents.telling import config  # noqa: PLC0415  # an agent that works does without

    async def told(_: Stop) -> None:
        config(as_json=as_json)

    return run(told)


def doctor(*, as_json: bool) -> int:
    """Look at this device, and print what is wrong; gives the exit status, 1 for a fault."""
    from agents.doctor import examine  # noqa: PLC0415  # as above

    verdicts: list[int] = []

    async def looked(_: Stop) -> None:
        verdicts.append(await examine(as_json=as_json))

    return run(looked) or verdicts[0]


async def _main(stop: Stop) -> None:
    settings = load(AgentSettings)
    logs.configure("agent", level=settings.log.level, fmt=settings.log.format)
    device = settings.agent.device
    # The inbox carries the device's name, so that its rights on the bus can be limited to its own.
    options = options_from(settings.bus, name=f"drover-agent-{device}", inbox_prefix=own_inbox("device", device))
    sensors = sensors_for(settings.agent.sensors_url, remote=settings.remote, models=settings.ollama.models)
    gauge = Gauge(sensors, poll_s=settings.agent.poll_s)
    async with (
        traced(settings.traces.endpoint, "drover-agent", device),
        connect_nats(options) as bus,
        open_backend(settings, lambda: gauge.readings) as backend,
        AsyncExitStack() as held,
    ):
        power = open_power(settings.power, settings.agent.sensors_url, remote=settings.remote)
        if power is not None:
            held.push_async_callback(power.close)
        await Agent(settings, bus, backend, gauge, power).serve(stop)


class Agent:
    """One run of the agent on an open bus and an open backend."""

    def __init__(
        self,
        settings: AgentSettings,
        bus: Bus,
        backend: Backend,
        gauge: Gauge,
        power: PowerSource | None = None,
    ) -> None:
        section, clock = settings.agent, LoopClock()
        self._backend = backend
        self._reloader = Reloader(settings, KNOBS, self._prepared, process="agent")
        self._metrics = section.metrics
        self._bus = bus
        self._subjects = Subjects(settings.bus.prefix)
        self._jobs = asyncio.TaskGroup()
        self._identity = Identity(
            device=section.device,
            boot=str(ULID()),
            interval_s=section.heartbeat_s,
            topics=settings.topics,
            backend=backend.name,
            continues=backend.continues,
            remote=backend.remote,
            needs_key=backend.needs_key,
            site=section.site or None,
            agent_version=version(),
        )
        self._namesakes = Namesakes(section.device, self._identity.boot, clock=clock, changed=self._nudge)
        self._beacon = Beacon(
            bus,
            self._subjects.heartbeat(section.device),
            self._heartbeat,
            clock=clock,
            interval_s=section.heartbeat_s,
        )
        self._inventory = Inventory(backend, poll_s=section.poll_s, changed=self._beacon.nudge)
        self._gauge = gauge
        self._liveness = EngineLiveness(clock, changed=self._beacon.nudge)
        self._energy = self._metering(settings, power, clock)
        self._worker = Worker(
            bus,
            backend,
            self._jobs,
            boot=self._identity.boot,
            slots=Slots(settings.slots),
            clock=clock,
            liveness=self._liveness,
            flush_s=section.flush_ms / 1000,
            is_loaded=self._inventory.is_loaded,
            changed=self._beacon.nudge,
            finished=self._inventory.nudge,
            charge=self._energy.charge,
            server=server(backend.name, _url(settings)),
        )
        self._prober = Prober(backend, self._worker, self._liveness, self._jobs, clock=clock)
        self._loader = Loader(
            backend,
            self._worker.slots,
            lambda: self._inventory.stock,
            self._jobs,
            clock=clock,
            changed=self._loading_changed,
        )

    async def serve(self, stop: Stop) -> None:
        """Work until asked to stop. Then, in this order: say that it drains, take no new jobs, let those that run finish
        within the grace, hand back the rest, say that it is gone. Raises `ConfigError` when another agent has its name."""
        if not await sole_bearer(self._bus, self._subject("probe"), self._identity.device, stop):
            return
        services = (
            self._beacon.shine,
            self._inventory.watch,
            self._gauge.watch,
            self._worker.tick,
            self._prober.watch,
            *self._energy.services,
        )
        doors = Doors(
            self._bus,
            self._worker,
            self._prober,
            self._loader,
            self._jobs,
            boot=self._identity.boot,
            state=self._state,
        )
        async with (
            self._jobs,
            self._namesakes.listening(self._bus, self._subjects.heartbeat(self._identity.device)),
            open_doors(self._bus, self._subject, doors, self._worker) as jobs,
            self._beacon.answering(self._subjects.roll_call()),
            discoverable(self._bus, service_info(self._identity), self._endpoints),
            reloadable(self._bus, self._subjects, self._reloader, self._member, stop),
            watched(self._metrics, self._bus, lambda: self._heartbeat(0, self._beacon.uptime_s, stopped=False)),
            # Last, so that the first heartbeat finds the doors open.
            _services(services),
        ):
            log.info("agent.started", device=self._identity.device, boot=self._identity.boot)
            await stop.wait()
            await self._drain(jobs)
        await self._say_goodbye()

    async def _drain(self, jobs: Subscription) -> None:
        grace_s = self._reloader.tree.agent.grace_s
        log.info("agent.draining", in_flight=len(self._worker.attempts), grace_s=grace_s)
        self._worker.drain(on=True)
        await self._beacon.beat()
        await jobs.drain()
        try:
            async with asyncio.timeout(grace_s):
                await self._worker.attempts.until_idle()
        except TimeoutError:
            log.warning("agent.handed_back", jobs=len(self._worker.attempts))
            self._worker.hand_back()
        self._worker.close()
        self._prober.close()
        self._loader.close()

    async def _say_goodbye(self) -> None:
        await self._energy.close()
        await self._beacon.beat(stopped=True)
        try:
            await self._bus.flush(timeout_s=1.0)
        except FleetError as error:
            log.warning("agent.unflushed", code=error.code, error=error.message)
        log.info("agent.stopped", device=self._identity.device)

    def _metering(self, settings: AgentSettings, power: PowerSource | None, clock: LoopClock) -> Metering | Unmetered:
        """Read the device's power with `power`, where there is one."""
        if power is None:
            return Unmetered()
        return Metering(
            power,
            self._bus,
            self._subjects,
            device=self._identity.device,
            boot=self._identity.boot,
            cadence=_cadence(settings),
            clock=clock,
            profile=lambda: Profile(idle_w=self._gauge.readings.idle_w, busy_w=self._gauge.readings.busy_w),
            loaded=lambda: self._inventory.holds_any,
            felt=lambda: self._gauge.readings,
        )

    @property
    def _member(self) -> Member:
        return Member(self._identity.boot, self._identity.device, "agent")

    def _prepared(self, settings: AgentSettings) -> Turn:
        """Give what has the agent go by other settings. Raises `ConfigError` where its backend could not."""
        check_backend(settings)
        return lambda: self._turn(settings)

    def _turn(self, settings: AgentSettings) -> None:
        section = settings.agent
        self._identity = replace(
            self._identity, interval_s=section.heartbeat_s, topics=settings.topics, site=section.site or None
        )
        self._worker.slots.total, self._worker.flush_s = settings.slots, section.flush_ms / 1000
        self._inventory.poll_s = self._gauge.poll_s = section.poll_s
        self._backend.tune(settings)
        if isinstance(self._energy, Metering):
            self._energy.read_by(_cadence(settings))
        self._beacon.interval_s = section.heartbeat_s
        self._beacon.nudge()  # dispatchers are told at once

    def _subject(self, verb: str) -> str:
        return self._subjects.device(self._identity.device, verb)

    def _endpoints(self) -> Sequence[EndpointStats]:
        return endpoints(self._subject, self._state(), self._worker.workload(), self._inventory.stock)

    def _state(self) -> DeviceState:
        return state_of(self._worker.workload(), self._inventory.stock)[0]

    def _nudge(self) -> None:
        self._beacon.nudge()

    def _loading_changed(self) -> None:
        self._beacon.nudge()
        self._inventory.nudge()

    def _heartbeat(self, seq: int, uptime_s: float, stopped: bool) -> Heartbeat:
        return heartbeat(
            self._identity,
            self._worker.workload(),
            self._inventory.stock,
            self._gauge.readings,
            seq=seq,
            uptime_s=uptime_s,
            stopped=stopped,
            trouble=self._namesakes.trouble,
            draw=self._energy.draw,
        )


@asynccontextmanager
async def _services(loops: tuple[Callable[[], Awaitable[None]], ...]) -> AsyncIterator[None]:
    """Run services beside the body; one that dies ends the body, and the body's end ends them."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(serve(loop.__qualname__, loop)) for loop in loops]
        yield
        for task in tasks:
            task.cancel()


def _cadence(settings: AgentSettings) -> Cadence:
    return Cadence(busy_hz=settings.power.busy_hz, idle_s=settings.power.idle_s)


def _url(settings: AgentSettings) -> str:
    """Where the backend is; nowhere for one inside the agent."""
    return {"ollama": settings.ollama.host, "openai": settings.cloud.base_url}.get(settings.agent.backend, "")
