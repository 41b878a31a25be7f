"""A device that answers each job at once with a text of the caller's; what is then measured is all the dispatcher's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from common import codec, frames
from common.bus import Bus, Delivery
from common.messages import Dispatch, Heartbeat, ModelInfo, Usage
from common.subjects import Subjects

DEVICE, MODEL = "instant", "instant:latest"
BEAT_S = 1.0


@asynccontextmanager
async def instant_device(bus: Bus, text: Callable[[], str]) -> AsyncIterator[None]:
    """Run the device; the first heartbeat is sent on entering."""
    subjects = Subjects()
    async with asyncio.TaskGroup() as tasks:

        def job(delivery: Delivery) -> None:
            codec.build(Dispatch, codec.decode(delivery.data))
            tasks.create_task(_answer(bus, delivery.reply, text()))

        hearing = await bus.subscribe(subjects.device(DEVICE, "job"), job)
        await bus.flush()
        await _beat(bus, subjects, 1)
        beats = tasks.create_task(_beats(bus, subjects))
        try:
            yield
        finally:
            beats.cancel()
            await hearing.unsubscribe()


async def _answer(bus: Bus, reply: str, text: str) -> None:
    end = frames.End(tokens=1, usage=Usage(prompt_tokens=20, completion_tokens=len(text) // 4))
    for frame in (frames.Ack(boot="instant"), frames.Token(0, text), end):
        await bus.publish(reply, codec.encode(frames.to_wire(frame)))
    await bus.publish(reply, frames.END_OF_STREAM)


async def _beats(bus: Bus, subjects: Subjects) -> None:
    seq = 1
    while True:
        await asyncio.sleep(BEAT_S)
        seq += 1
        await _beat(bus, subjects, seq)


async def _beat(bus: Bus, subjects: Subjects, seq: int) -> None:
    beat = Heartbeat(
        device=DEVICE,
        boot="instant",
        seq=seq,
        slots=256,
        models=(ModelInfo(name=MODEL, loaded=True, capabilities=("completion",)),),
        backend="bench",
        simulated=True,
    )
    await bus.publish(subjects.heartbeat(DEVICE), codec.encode(codec.plain(beat)))
