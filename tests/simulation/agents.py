"""The real agent in the simulated world, over a backend that obeys a mood.

Its process can't be frozen on a loop that it shares, so that a stop only holds its messages; what a mood says of the
protocol itself (a gap, a miscount) an agent of ours does not do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import cache
from typing import NoReturn

from agents.app import Agent
from agents.backends import BackendDone, BackendText, Bill, OnDevice, Piece, Version
from agents.settings import AgentSection, AgentSettings, OllamaSection
from agents.telemetry import Gauge, Readings
from common import errors
from common.bus import Delivery
from common.lifecycle import Stop
from common.messages import Dispatch, ModelInfo, Usage
from common.settings import BusSection, LogSection
from tests.simulation.ledger import Execution
from tests.simulation.moods import Door, Ending
from tests.simulation.network import Wire
from tests.simulation.node import Node, models_of

FOR_EVER_S = 1e6


class RealDevice(Node):
    """A device that runs the real agent."""

    _task: asyncio.Task[None]
    _agent: Agent
    _restart: asyncio.Future[None]

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Begin a new life; the first heartbeat comes a moment later."""
        self.reborn(Wire(self._broker, sent=self._sent, heard=self._heard))
        # This machine's own sensors are no part of the world.
        gauge = Gauge(NoSensors(), poll_s=60.0)
        self._restart = asyncio.get_running_loop().create_future()
        self._agent = Agent(_settings(self.name, self.slots), self.wire, Backend(self), gauge)
        self._task = group.create_task(self._live(self._agent))

    async def _live(self, agent: Agent) -> None:
        try:
            await agent.serve(Stop())
        except* errors.BusDisconnected:
            pass  # it was killed in the middle of a sentence

    def kill(self) -> None:
        """Die, and all that runs with it."""
        super().kill()
        self._task.cancel()

    def drain(self, *, on: bool) -> None:
        """Close or open the door."""
        super().drain(on=on)
        self._agent._worker.drain(on=on)

    def fault(self, *, on: bool) -> None:
        """Let it look at its backend, which fails or works again."""
        super().fault(on=on)
        self._agent._inventory.nudge()

    def mend(self) -> None:
        """Restart the engine, too: an agent gives it no new job in the slot of one on which it hangs."""
        super().mend()
        self._restart.set_result(None)
        self._restart = asyncio.get_running_loop().create_future()

    async def hang(self) -> NoReturn:
        """Work on something until the engine is restarted. Raises `BackendError`."""
        await asyncio.shield(self._restart)
        raise errors.BackendError("the engine was restarted")

    def _sent(self, delivery: Delivery) -> None:
        if ".hb." in delivery.subject:
            self.last_beat = delivery.data

    def _heard(self, delivery: Delivery) -> None:
        known = {one.reply for one in self.ledger.executions.values()}
        if delivery.subject.endswith(".job") and delivery.reply not in known:
            self.ledger.dispatched(self.name, delivery)

    def begun(self, dispatch: Dispatch) -> Execution:
        """Give the execution of a dispatch; there must be a slot for it."""
        mine = [one for one in self.ledger.by_job[dispatch.job] if one.device == self.name and not one.begun]
        execution = next(one for one in mine if one.attempt == dispatch.attempt)
        execution.begin()
        execution.prefilling = True
        running = sum(one.running for one in self.ledger.executions.values() if one.device == self.name)
        if running > self.slots:
            self.ledger.crowded(f"{self.name} runs {running} jobs in {self.slots} slots")
        return execution


class Backend(OnDevice):
    """What the agent has instead of Ollama."""

    name = "simulated"

    def __init__(self, device: RealDevice) -> None:
        self._device = device

    @property
    def continues(self) -> bool:
        return self._device.continues

    async def chat(self, dispatch: Dispatch, bill: Bill) -> AsyncGenerator[Piece, None]:
        """Answer as the mood says."""
        mood, execution = self._device.mood, self._device.begun(dispatch)
        try:
            match mood.door:
                case Door.BUSY:
                    raise errors.DeviceBusy("the backend's own queue is full")
                case Door.NO_MODEL:
                    raise errors.UnknownModel("no such model here")
                case Door.BAD_REQUEST:
                    raise errors.BadRequest("the backend refuses the request")
                case Door.DEAF | Door.LATE:
                    await self._device.hang()
                case Door.OPEN if mood.load_s + mood.first_s >= FOR_EVER_S:
                    await self._device.hang()
                case Door.OPEN:
                    await asyncio.sleep(mood.load_s + mood.first_s)
            execution.prefilling = not mood.tokens
            for number in range(mood.tokens):
                if number:
                    await asyncio.sleep(mood.gap_s)
                yield BackendText(execution.token())
            await self._end(mood.ending)
            if mood.ending is not Ending.CLOSED:
                execution.finish()
                yield BackendDone(usage=Usage(prompt_tokens=7, completion_tokens=mood.tokens))
        finally:
            execution.end()

    async def _end(self, ending: Ending) -> None:
        match ending:
            case Ending.HANG | Ending.MUTE:
                await self._device.hang()
            case Ending.BROKEN:
                raise errors.BackendError("the backend crashed")
            case Ending.FULL:
                raise errors.DeviceBusy("the backend's queue is full")
            case Ending.NOT_LOADABLE:
                raise errors.ModelNotLoadable("out of memory")
            case _:
                pass

    async def embed(self, dispatch: Dispatch, bill: Bill) -> AsyncGenerator[Piece, None]:
        """No producer of a campaign asks for it."""
        del bill
        raise errors.UnsupportedByModel(f"{dispatch.model} makes no embeddings here")
        yield BackendDone()

    async def models(self) -> tuple[ModelInfo, ...]:
        """List them, or fail."""
        if self._device.faulty:
            raise errors.BackendError("the backend does not answer")
        return tuple(ModelInfo(name=name, size_bytes=10**9, loaded=True) for name in models_of(self._device.name))

    async def in_memory(self) -> tuple[ModelInfo, ...]:
        """All of them are."""
        return await self.models()

    async def one_token(self, model: ModelInfo) -> None:
        """Prove that the backend works, or hang."""
        del model
        hangs = self._device.mood.ending in {Ending.HANG, Ending.MUTE} or self._device.mood.first_s >= FOR_EVER_S
        if hangs:
            await self._device.hang()
        await asyncio.sleep(0.1)

    async def load(self, model: ModelInfo, keep_s: float | None) -> None:
        """All of them are in memory."""

    async def version(self) -> Version:
        """Say what it is."""
        return Version("simulation", simulated=True)


class NoSensors:
    """Nothing to read."""

    def read(self) -> Readings:
        """Read nothing."""
        return Readings()


@cache
def _settings(name: str, slots: int) -> AgentSettings:
    return AgentSettings(
        bus=BusSection(),
        log=LogSection(),
        agent=AgentSection(device=name, slots=slots),
        ollama=OllamaSection(),
    )
