"""Limits on watts over simulated boards and real agents, whose true draw is known at every moment; and limits that end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from agents.app import Agent
from agents.backends import open_backend
from agents.settings import AgentSection, AgentSettings, OllamaSection
from agents.simulator import admin, power
from agents.simulator.answering import Simulator
from agents.simulator.app import routes
from agents.simulator.clock import DeviceClock
from agents.simulator.engine import Engine
from agents.simulator.faults import FaultBox
from agents.simulator.inference import Stage
from agents.simulator.library import Library
from agents.simulator.meter import Meter, Phase
from agents.simulator.profiles import DeviceProfile, catalogue
from agents.simulator.settings import parse
from agents.telemetry import Gauge, sensors_for
from common.bus import Bus
from common.lifecycle import Stop
from common.messages import DeviceState
from common.settings import BusSection, LogSection
from dispatcher.settings import RoutingSection
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House, memory_wires, open_house
from tests.integration.dispatcher.scripted import answer, until

PROFILE = "pi4"  # it draws as much while it reads as while it writes
IDLE_W, BUSY_W = 2.6, 6.0
BOARDS = ("a", "b", "c")
CAP_W = 15.0
"""Two may work: 2.6 and twice 6.0 are 14.6, three times 6.0 are 18."""


class Sum:
    """What all boards draw together, at every change of one of them; they all live in this loop."""

    def __init__(self) -> None:
        self.meters: list[Watched] = []
        self.most_w = 0.0

    def note(self) -> None:
        self.most_w = max(self.most_w, sum(power.watts(meter.device, meter.activity) for meter in self.meters))


class Watched(Meter):
    """A board's meter that tells each change."""

    def __init__(self, device: DeviceProfile, clock: DeviceClock, total: Sum) -> None:
        super().__init__(device, clock)
        self.device = device
        self._total = total
        total.meters.append(self)

    def _change(self, phase: Phase, step: int) -> None:
        super()._change(phase, step)
        self._total.note()


def board(total: Sum) -> Starlette:
    """A simulated device of which every watt is seen, twenty times as fast as life."""
    known, settings = catalogue(), parse([f"--profile={PROFILE}", "--time-factor=20", "--num-parallel=2"], {})
    device, clock = known.devices[PROFILE], DeviceClock(settings.time_factor)
    meter = Watched(device, clock, total)
    engine = Engine(device, clock, meter, settings.limits)
    stage = Stage(engine=engine, clock=clock, meter=meter, known=known)
    simulated = Simulator(stage=stage, library=Library(known, device), faults=FaultBox(), seed=settings.seed)
    return Starlette(routes=[*routes(simulated), *admin.routes(simulated)])


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """Serve an application in this loop; give its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=0, lifespan="off")
        server = uvicorn.Server(config)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve(sockets=[listener]))
            try:
                await until(lambda: server.started or serving.done(), "the board listens")
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True


@asynccontextmanager
async def agent(bus: Bus, name: str, url: str) -> AsyncIterator[None]:
    """Run a real agent on a board; it reads no watts and says what boards of the kind draw."""
    settings = AgentSettings(
        bus=BusSection(),
        log=LogSection(),
        agent=AgentSection(device=name, sensors_url=f"{url}/sim/sensors"),
        ollama=OllamaSection(host=url, num_parallel=2),
    )
    gauge, stop = Gauge(sensors_for(settings.agent.sensors_url, remote=False, models=None), poll_s=1.0), Stop()
    async with open_backend(settings, lambda: gauge.readings) as backend, asyncio.TaskGroup() as tasks:
        tasks.create_task(Agent(settings, bus, backend, gauge).serve(stop))
        try:
            yield
        finally:
            stop.request()


async def ready(house: House, names: Sequence[str]) -> None:
    """Wait until all boards are there, and have said what they draw."""

    def heard() -> bool:
        known = house.pipeline.roster.fleet.devices
        beats = [known[name].beat for name in names if name in known]
        return [(DeviceState.READY, IDLE_W, BUSY_W)] * len(names) == [
            (one.state, one.idle_w, one.busy_w) for one in beats
        ]

    await until(heard, "all boards are ready")


async def test_a_fleet_stays_below_its_limit(tmp_path: Path) -> None:
    """Twelve jobs at once over three boards with six slots: all are answered, and at no moment do the boards draw more than the
    limit lets them, which is less than three that work."""
    (tmp_path / "rules.toml").write_text(f"[caps]\nfleet_w = {CAP_W}")
    total = Sum()
    async with (
        open_house(memory_wires, routing=RoutingSection(file=str(tmp_path / "rules.toml"))) as house,
        AsyncExitStack() as boards,
    ):
        for name in BOARDS:
            url = await boards.enter_async_context(served(board(total)))
            await boards.enter_async_context(agent(house.world, name, url))
        await ready(house, BOARDS)
        streams = [
            await house.stream(f"Tell me about {number} ducks.", model="qwen2.5:0.5b", options={"max_tokens": 12})
            for number in range(12)
        ]
        for stream in streams:
            await stream.end()

    assert 2 * IDLE_W + BUSY_W <= total.most_w <= CAP_W


EVER = (
    '[[limit]]\nname = "closed"\nwatts = 0\ndevice = "nano"\ndays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]\n'
)


async def test_a_job_waits_for_the_end_of_a_limit(a_house: OpenHouse, tmp_path: Path) -> None:
    """It is neither refused nor forgotten: what keeps it is told, and when the limit is gone it runs, though no device says
    anything new."""
    path = tmp_path / "rules.toml"
    path.write_text(EVER)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    async with a_house(routing=RoutingSection(file=str(path))) as house:
        await house.device("nano", answer("hi"), idle_w=2.0, busy_w=8.0)
        stream = await house.stream()
        await house.waiting(1)
        path.write_text('strategy = "perf"')
        os.utime(path, (1_000_000_001, 1_000_000_001))
        await stream.end()

        assert "hi" == stream.text


async def test_a_limit_that_can_never_be_met_refuses_at_once(a_house: OpenHouse, tmp_path: Path) -> None:
    """Nobody waits for what can't come: the refusal names the limit and its watts."""
    (tmp_path / "rules.toml").write_text('[[limit]]\nname = "tiny"\nwatts = 5')
    async with a_house(routing=RoutingSection(file=str(tmp_path / "rules.toml"))) as house:
        nano = await house.device("nano", answer("hi"), idle_w=2.0, busy_w=8.0)
        error = (await (await house.stream()).error()).error

        assert ("no_device", []) == (error.code, nano.attempts)
        assert "limit tiny: the fleet would draw at least 8.0 W with the job, and 5 W are allowed" in error.message
