"""A fleet in one process: devices that beat once a second, with figures that never stand still, and answer what they are asked; it
measures nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic

from common import codec, frames
from common.bus import Bus, Delivery
from common.energy import Energy
from common.messages import Dispatch, EngineTimings, Heartbeat, ModelInfo, Speed, Usage
from common.subjects import Subjects

MODEL = "herd:1b"
MODELS = (MODEL, "herd:3b", "herd:7b", "herd-embed:latest")
SLOTS = 2
WORKED_S = 1.0
"""So long a job runs while pages look on."""

GB = 10**9


class Herd:
    """So many devices. Open it with `herd`."""

    def __init__(self, bus: Bus, devices: int, tasks: asyncio.TaskGroup) -> None:
        self._bus = bus
        self._tasks = tasks
        self.names = tuple(f"bench-{number:02d}" for number in range(devices))
        self.work_s = 0.0
        """How long a job takes; at first none."""

    def take(self, delivery: Delivery) -> None:
        """Answer a job."""
        codec.build(Dispatch, codec.decode(delivery.data))
        self._tasks.create_task(self._answer(delivery.reply))

    async def _answer(self, reply: str) -> None:
        await self._say(reply, frames.Ack(boot="bench"))
        for number in range(4):
            await asyncio.sleep(self.work_s / 4)
            await self._say(reply, frames.Token(number, "word "))
        engine = EngineTimings(prefill_s=0.01, decode_s=max(0.01, self.work_s))
        energy = Energy(joules=5.0, idle_joules=3.0, source="simulated", tokens=4)
        usage = Usage(prompt_tokens=20, completion_tokens=4)
        await self._say(reply, frames.End(tokens=4, usage=usage, engine=engine, energy=energy))
        await self._bus.publish(reply, frames.END_OF_STREAM)

    async def _say(self, reply: str, frame: frames.Frame) -> None:
        await self._bus.publish(reply, codec.encode(frames.to_wire(frame)))

    async def beat(self) -> None:
        """Beat for all of them, spread evenly over each second as a real fleet's are, until cancelled."""
        began_s, beats = monotonic(), 0
        while True:
            seq, number = divmod(beats, len(self.names))
            said = heartbeat(self.names[number], seq + 1)
            await self._bus.publish(Subjects().heartbeat(said.device), codec.encode(codec.plain(said)))
            beats += 1
            await asyncio.sleep(max(0.0, began_s + beats / len(self.names) - monotonic()))


def heartbeat(device: str, seq: int) -> Heartbeat:
    """Give what a device tells at one of its beats: watts, heat and memory are never those of the one before, so each is news."""
    models = tuple(
        ModelInfo(
            name=name,
            size_bytes=GB,
            loaded=name == MODEL,
            memory_bytes=GB,
            parameters_b=1.0,
            capabilities=("completion",),
        )
        for name in MODELS
    )
    return Heartbeat(
        device=device,
        boot="bench",
        seq=seq,
        slots=SLOTS,
        models=models,
        speeds={name: Speed(jobs=seq, prefill_tps=100.0, decode_tps=10.0) for name in MODELS},
        topics=("chat", "writing"),
        memory_total_bytes=8 * GB,
        memory_available_bytes=4 * GB + seq,
        temperature_c=50.0 + seq % 7 / 4,
        idle_w=3.0,
        busy_w=9.0,
        watts=4.0 + seq % 11 / 4,
        watts_measured=True,
        watts_source="simulated",
        backend="bench",
        simulated=True,
        uptime_s=float(seq),
    )


@asynccontextmanager
async def herd(bus: Bus, devices: int) -> AsyncIterator[Herd]:
    """Run them for the life of the context."""
    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as closing:
        fleet = Herd(bus, devices, tasks)
        for name in fleet.names:
            hearing = await bus.subscribe(Subjects().device(name, "job"), fleet.take)
            closing.push_async_callback(hearing.unsubscribe)
        beats = tasks.create_task(fleet.beat())
        closing.callback(beats.cancel)
        yield fleet
