"""A NATS server, a simulated device and a real agent on it, for the tests beside this file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from common.bus.nats import NatsBus, NatsOptions, connect_nats
from common.messages import DeviceState
from tests.agent_process import AgentProcess, Device, agent_process, device_seen
from tests.listening import GUARD_S
from tests.nats_server import NatsServer, nats_server
from tests.simulated import SimulatedDevice, simulator

MODEL = "tinyllama:1.1b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """All that stands, from the server to the seat of a dispatcher."""

    nats: NatsServer
    bus: NatsBus
    sim: SimulatedDevice
    agent: AgentProcess
    device: Device


@asynccontextmanager
async def bus_on(nats: NatsServer) -> AsyncIterator[NatsBus]:
    """Connect as a dispatcher would."""
    options = NatsOptions(urls=(nats.url,), name="tester", initial_connect_timeout_s=GUARD_S)
    async with connect_nats(options) as bus:
        yield bus


@asynccontextmanager
async def rig(
    *, time_factor: float = 50, num_parallel: int = 1, jetstream: bool = False, **environment: str
) -> AsyncIterator[Rig]:
    """Run it all, until the agent says that it is ready."""
    async with (
        nats_server(jetstream=jetstream) as nats,
        bus_on(nats) as bus,
        device_seen(bus, "orin") as device,
        simulator("orin", time_factor=time_factor, num_parallel=num_parallel) as sim,
        agent_process(
            nats.url,
            "orin",
            OLLAMA_HOST=sim.url,
            OLLAMA_NUM_PARALLEL=str(num_parallel),
            DROVER_SENSORS_URL=f"{sim.url}/sim/sensors",
            **environment,
        ) as agent,
    ):
        await device.until(lambda beat: beat.state is DeviceState.READY)
        yield Rig(nats=nats, bus=bus, sim=sim, agent=agent, device=device)
