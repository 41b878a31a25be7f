"""A fleet of real processes on free ports in a directory of its own, with a proxy before each agent; it judges nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import codec
from common.bus import Bus, Delivery
from common.bus.nats import NatsOptions, connect_nats
from common.errors import BadRequest, FleetError
from common.messages import DeviceState, Heartbeat
from tests.chaos.members import Member, Ready
from tests.commands import DROVER, GUARD_S, clean_environment
from tests.nats_server import NatsServer, free_port, nats_server
from tests.proxy import Proxy, tcp_proxy
from tests.simulated import SimulatedDevice, simulator

ROOT = Path(__file__).parent.parent.parent
POLL_S = 0.02
"""How often another process is asked whether it is ready: there is no event to wait on."""

PROFILE, MODEL = "orin", "tinyllama:1.1b"
"""48 tokens/s on a real board: with the time factor of a plan, an answer of 60 words takes about half a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which processes a world has. `knobs` are settings of all of them."""

    dispatchers: int = 1
    echo: int = 0
    simulated: int = 0
    bridges: int = 0
    slots: int = 32
    """Of each simulated device."""
    echo_slots: int = 32
    time_factor: float = 4.0
    proxied: bool = False
    jetstream: bool = True
    knobs: dict[str, str] = field(default_factory=dict)
    skews_s: tuple[float, ...] = ()
    """How far the wall clocks of the first agents are off."""


@dataclass(slots=True)
class Agent:
    """An agent, what stands between it and the bus, and its device; an echo agent has none."""

    member: Member
    proxy: Proxy | None = None
    device: SimulatedDevice | None = None

    @property
    def name(self) -> str:
        return self.member.name


class World:
    """The running fleet. `bus` is the observer's own connection."""

    def __init__(self, plan: Plan, nats: NatsServer, monitor_port: int, bus: Bus, directory: Path) -> None:
        self.plan = plan
        self.nats = nats
        self.monitor_port = monitor_port
        self.bus = bus
        self.directory = directory
        self.dispatchers: list[Member] = []
        self.agents: list[Agent] = []
        self.bridges: list[Member] = []
        self.ports: list[socket.socket] = []
        self.beats: dict[str, Heartbeat] = {}
        self._heard_s: dict[str, float] = {}
        self._done: dict[tuple[str, str], int] = {}
        self._boots: dict[str, set[str]] = {}
        self._beat = asyncio.Event()

    @property
    def model(self) -> str:
        """The model that jobs ask for."""
        return MODEL if self.plan.simulated else "echo"

    @property
    def simulated(self) -> list[Agent]:
        """The agents that have a simulated device."""
        return self.agents[: self.plan.simulated]

    @property
    def echoes(self) -> list[Agent]:
        """The agents that answer at once."""
        return self.agents[self.plan.simulated :]

    @property
    def members(self) -> list[Member]:
        return [*self.dispatchers, *(agent.member for agent in self.agents), *self.bridges]

    def casualties(self) -> list[str]:
        """Name the processes that ended though nobody had asked them to."""
        return [member.name for member in self.members if member.died]

    def agent(self, name: str) -> Agent:
        return next(agent for agent in self.agents if agent.name == name)

    def hear(self, delivery: Delivery) -> None:
        """Take a heartbeat; the handler of their subject."""
        try:
            beat = codec.build(Heartbeat, codec.decode(delivery.data))
        except BadRequest:
            return  # one of the faults is noise on every subject
        self.beats[beat.device] = beat
        self._heard_s[beat.device] = asyncio.get_running_loop().time()
        self._done[beat.device, beat.boot] = beat.done + beat.failed
        self._beat.set()

    async def subscriptions(self) -> int:
        """Give how many subscriptions the broker holds."""
        with contextlib.closing(
            await asyncio.to_thread(_open, f"http://127.0.0.1:{self.monitor_port}/subsz")
        ) as answer:
            return int(json.load(answer)["num_subscriptions"])

    async def executions(self) -> int:
        """Give how many attempts all agents together have run to an end, from heartbeats of a fleet that is idle now."""
        since_s = asyncio.get_running_loop().time()
        await self.all_heard(since_s)
        return sum(self._done.values())

    async def all_heard(self, since_s: float) -> float:
        """Wait until each agent that runs has been heard after `since_s`; gives when the last of them was, for the first time."""
        names = {agent.name for agent in self.agents if agent.member.running}
        first: dict[str, float] = {}
        async with asyncio.timeout(GUARD_S):
            while True:
                for name in names - first.keys():
                    if self._heard_s.get(name, 0.0) > since_s:
                        first[name] = self._heard_s[name]
                if names <= first.keys():
                    return max(first.values(), default=since_s)
                self._beat.clear()
                await self._beat.wait()

    def add_dispatcher(self) -> Member:
        """Make one more dispatcher; it is not started."""
        name = f"disp{len(self.dispatchers) + 1}"
        knobs = {"DROVER_DISPATCHER_ID": name}
        member = self._member(name, (*DROVER, "dispatcher"), self.nats.url, self._dispatcher_ready, **knobs)
        self.dispatchers.append(member)
        return member

    def add_bridge(self) -> Member:
        """Make one more bridge; it is not started. Its port is held for as long as the world lasts, as `drover up` does it."""
        name = f"bridge{len(self.bridges) + 1}"
        listening = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.ports.append(listening)
        port = str(listening.getsockname()[1])
        knobs = {"DROVER_HTTP_PORT": port, "DROVER_HTTP_TENANT": "chaos", "DROVER_HTTP_KEYS": "off"}
        fd = listening.fileno()
        command = (sys.executable, "-P", "-m", "dispatcher.cli.handover", str(fd), *DROVER, "bridge")
        member = self._member(name, command, self.nats.url, self._bridge_ready, **knobs)
        member.fds = (fd,)
        self.bridges.append(member)
        return member

    async def add_agent(self, stack: AsyncExitStack) -> Agent:
        """Make one more agent, with a device where the plan has them; it is not started."""
        number = len(self.agents) + 1
        name = f"dev{number}"
        device = proxy = None
        slots = self.plan.slots if number <= self.plan.simulated else self.plan.echo_slots
        knobs = {"DROVER_DEVICE": name, "DROVER_SLOTS": str(slots)}
        if number <= self.plan.simulated:
            started = simulator(PROFILE, time_factor=self.plan.time_factor, num_parallel=self.plan.slots)
            device = await stack.enter_async_context(started)
            knobs |= {"OLLAMA_HOST": device.url, "OLLAMA_NUM_PARALLEL": str(self.plan.slots)}
        else:
            knobs |= {"DROVER_BACKEND": "echo"}
        if self.plan.proxied:
            proxy = await stack.enter_async_context(tcp_proxy(self.nats.port))
        command: tuple[str, ...] = (sys.executable, "-m", "agents")
        if number <= len(self.plan.skews_s):
            command = (sys.executable, "-m", "tests.chaos.skewed", str(self.plan.skews_s[number - 1]))
        member = self._member(name, command, proxy.url if proxy else self.nats.url, self._agent_ready, **knobs)
        agent = Agent(member, proxy, device)
        self.agents.append(agent)
        return agent

    def bridge_url(self, member: Member) -> str:
        """Give the address of a bridge."""
        return f"http://127.0.0.1:{member.environment['DROVER_HTTP_PORT']}"

    def _member(self, name: str, command: Sequence[str], url: str, ready: Ready, **knobs: str) -> Member:
        settings = {"PYTHONPATH": str(ROOT), "NATS_URL": url, "LOG_LEVEL": "WARNING", "LOG_FORMAT": "json"}
        environment = clean_environment(**(settings | self.plan.knobs | knobs))
        return Member(name=name, command=command, environment=environment, directory=self.directory, ready=ready)

    async def _dispatcher_ready(self, member: Member) -> None:
        while True:
            try:
                await self.bus.request(f"$SRV.PING.llm-dispatcher.{member.name}", b"", timeout_s=1.0)
            except FleetError:
                await asyncio.sleep(POLL_S)
            else:
                return

    async def _agent_ready(self, member: Member) -> None:
        """Wait for a boot that was not heard before, and for its model."""
        seen = self._boots.setdefault(member.name, set())
        while True:
            beat = self.beats.get(member.name)
            if beat is not None and beat.boot not in seen and beat.state is DeviceState.READY and beat.models:
                seen.add(beat.boot)
                return
            self._beat.clear()
            await self._beat.wait()

    async def _bridge_ready(self, member: Member) -> None:
        while await asyncio.to_thread(_status, f"{self.bridge_url(member)}/health") != 200:  # noqa: ASYNC110  # as above
            await asyncio.sleep(POLL_S)


def _open(url: str) -> Any:
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2)


def _status(url: str) -> int:
    try:
        with _open(url) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


@asynccontextmanager
async def world(plan: Plan) -> AsyncIterator[World]:
    """Run a fleet for the life of the context; all of it works when the context is entered, and nothing stays behind."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drover-chaos-")))
        port = free_port()
        nats = await stack.enter_async_context(
            nats_server(jetstream=plan.jetstream, config_extra=f"http: 127.0.0.1:{port}")
        )
        bus = await stack.enter_async_context(connect_nats(NatsOptions(urls=(nats.url,), name="observer")))
        house = World(plan, nats, port, bus, directory)
        await bus.subscribe("llm.v1.hb.*", house.hear)
        await bus.flush()
        stack.push_async_callback(_clear, house)
        for _ in range(plan.dispatchers):
            house.add_dispatcher()
        for _ in range(plan.echo + plan.simulated):
            await house.add_agent(stack)
        for _ in range(plan.bridges):
            house.add_bridge()
        await _all(member.start() for member in [*house.dispatchers, *(agent.member for agent in house.agents)])
        await _all(member.start() for member in house.bridges)
        yield house


async def _clear(house: World) -> None:
    await _all(member.clear() for member in house.members)
    for port in house.ports:
        port.close()


async def _all(things: Iterable[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for thing in things:
            tasks.create_task(thing)
