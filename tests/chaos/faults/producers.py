"""Producers that are killed while they wait for their first word: how soon does the fleet stop working for them?"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from common import codec, frames
from common.bus import Delivery
from common.client import Drover
from common.errors import BadRequest, FleetError
from common.frames import Phase
from common.messages import Options
from tests.chaos.ledger import account, percentile
from tests.chaos.members import Member
from tests.chaos.outcome import Figure, Outcome, Size
from tests.chaos.world import ROOT, Plan, World, world
from tests.commands import GUARD_S, clean_environment

FOUND_S = 1.0
_BETWEEN_S = 0.2
"""So long one kill is behind the other on average: none of them is measured in the shadow of another."""

_LONG_WORDS = 1200
_PATIENT = {"DROVER_DOUBT_S": "600", "DROVER_LOAD_S": "600", "DROVER_FIRST_TOKEN_S": "600", "DROVER_STALL_S": "60"}
"""No clock of the dispatcher strikes: what ends these jobs is that nobody hears them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """A moment of a job's life, and a fleet in which jobs stay in it. `slots` of 0 means one for each job."""

    phase: Phase
    words: int
    time_factor: float
    slots: int = 0


_SCENES = (
    _Scene(phase=Phase.QUEUE, words=1, time_factor=0.02, slots=1),
    _Scene(phase=Phase.LOAD, words=1, time_factor=0.02),
    _Scene(phase=Phase.PREFILL, words=_LONG_WORDS, time_factor=0.05),
)


async def killed(size: Size) -> Outcome:
    """F14: kill -9 producers whose jobs wait in the line, for a model to be loaded, or for the first token."""
    figures: list[Figure] = []
    troubles: list[str] = []
    for scene in _SCENES:
        times, trouble = await _acted_out(scene, size.rounds * 4)
        troubles += trouble
        detail = f"p50 {percentile(times, 0.5) * 1000:.0f}, max {max(times) * 1000:.0f}, n={len(times)}"
        value = percentile(times, 0.95) * 1000
        name = f"in {scene.phase}: cancelled after p95"
        figures.append(Figure(name=name, value=value, unit="ms", limit=FOUND_S * 1000, detail=detail))
    return Outcome(
        fault="F14",
        title="kill -9 producers that wait",
        account=account([]),
        figures=tuple(figures),
        troubles=tuple(troubles),
    )


async def _acted_out(scene: _Scene, count: int) -> tuple[list[float], list[str]]:
    """Give the seconds from each kill until the order to stop was given, and what else went wrong."""
    slots = scene.slots or count
    plan = Plan(dispatchers=1, simulated=1, slots=slots, time_factor=scene.time_factor, knobs=_PATIENT)
    async with world(plan) as house, AsyncExitStack() as stack:
        sight = _Sight()
        tap = await house.bus.subscribe("_INBOX_producer.default.*.i.>", sight.hear)
        await house.bus.subscribe("llm.v1.evt.job.>", sight.hear)
        await house.bus.subscribe(f"llm.v1.dev.{house.agents[0].name}.cancel", sight.hear_order)
        await house.bus.flush()
        if scene.phase is Phase.PREFILL:  # an agent can't tell the one from the other while its model is not in memory
            async with Drover.connect(house.nats.url, tenant="warm") as drover:
                await drover.ask("hi", model=house.model, options=Options(max_tokens=1), cache="off")
        if scene.phase is Phase.QUEUE:
            await stack.enter_async_context(_producer(house, "filler", _LONG_WORDS))
            await sight.until(lambda: "filler" in sight.phases, "the only slot is taken")
        producers = {
            job: await stack.enter_async_context(_producer(house, job, scene.words))
            for job in (f"gone-{number}" for number in range(count))
        }
        wanted = dict.fromkeys(producers, scene.phase)
        await sight.until(lambda: wanted.items() <= sight.phases.items(), f"all jobs are in {scene.phase}")
        await tap.unsubscribe()  # whoever listens there is somebody who hears, and no producer would be missed
        await house.bus.flush()
        killed_s = await _kill(producers)
        await sight.until(lambda: producers.keys() <= sight.over_s.keys(), "all jobs are cancelled")
        trouble = [f"{job} ended as {sight.states[job]}" for job in producers if sight.states[job] != "cancelled"]
        if scene.phase is not Phase.QUEUE:
            await sight.until(lambda: len(sight.orders_s) >= count, "the device has its orders to stop")
        trouble += [f"{name} ended by itself" for name in house.casualties()]
        return [sight.over_s[job] - at_s for job, at_s in killed_s.items()], trouble


async def _kill(producers: dict[str, Member]) -> dict[str, float]:
    """Kill them one by one at moments of no rhythm; gives when."""
    chance, killed_s = random.Random(7), {}  # the same each time
    for job, producer in producers.items():
        await asyncio.sleep(chance.uniform(0.0, 2 * _BETWEEN_S))
        killed_s[job] = _now()
        await producer.kill()
    return killed_s


@asynccontextmanager
async def _producer(house: World, job: str, words: int) -> AsyncIterator[Member]:
    """A producer in a process of its own."""

    async def at_once(_: Member) -> None:
        """It is ready when its job is seen."""

    command = (sys.executable, "-m", "tests.producer_process", house.nats.url, job, house.model, str(words))
    environment = clean_environment(PYTHONPATH=str(ROOT))
    member = Member(name=job, command=command, environment=environment, directory=house.directory, ready=at_once)
    await member.start()
    try:
        yield member
    finally:
        if member.running:
            await member.kill()


class _Sight:
    """What an observer on the bus sees of jobs: the phase that their producers are told, and their ends."""

    def __init__(self) -> None:
        self.phases: dict[str, Phase] = {}
        self.states: dict[str, str] = {}
        self.over_s: dict[str, float] = {}
        self.orders_s: list[float] = []
        self._jobs: dict[str, str] = {}
        self._changed = asyncio.Event()

    def hear(self, delivery: Delivery) -> None:
        """Take a frame, or a job's event."""
        if delivery.subject.startswith("llm."):
            job = delivery.subject.rsplit(".", 1)[1]
            self.states[job], self.over_s[job] = str(codec.decode(delivery.data)["state"]), _now()
        else:
            self._frame(delivery)
        self._changed.set()

    def hear_order(self, _: Delivery) -> None:
        """Take the dispatcher's order that a device stop."""
        self.orders_s.append(_now())
        self._changed.set()

    def _frame(self, delivery: Delivery) -> None:
        try:
            frame = frames.from_wire(codec.decode(delivery.data))
        except (BadRequest, FleetError):
            return
        match frame:
            case frames.Ack(job=str(job)):
                self._jobs[delivery.subject] = job
            case frames.KeepAlive(phase=phase) if delivery.subject in self._jobs:
                self.phases[self._jobs[delivery.subject]] = phase

    async def until(self, fact: Callable[[], bool], what: str) -> None:
        """Wait for a fact."""
        try:
            async with asyncio.timeout(2 * GUARD_S):
                while not fact():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never came true: {what}; phases {self.phases}, ends {self.states}") from None


def _now() -> float:
    return asyncio.get_running_loop().time()
