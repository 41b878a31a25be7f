"""A device whose model is as fast as the bus, and one that is full, run as `python -m dispatcher.lab.speed.source <nats-url>`.

It answers each job with many small frames at once, and sends the same frames to whoever asks on a subject of its own, without a
dispatcher between: the baseline of the relay.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from dataclasses import replace

from common import codec, frames
from common.bus import Bus, Delivery
from common.bus.nats import NatsOptions, connect_nats
from common.codec import Encoding
from common.lifecycle import Stop, run
from common.messages import Dispatch, Heartbeat, ModelInfo, Usage
from common.subjects import Subjects

SOURCE_SUBJECT = "bench.source"
SOURCE_DEVICE = "bench-source"
SOURCE_MODEL = "source:latest"
CHUNK = "x" * 64
CHUNKS = 200
"""64 bytes a chunk, 200 a stream: the shape of an answer of some 200 tokens, sent as fast as it goes."""

MOST_CHUNKS = 10_000
"""Who wants a longer answer says so by `max_tokens`, as for any model."""

SLOTS = 256

FULL_DEVICE = "bench-full"
FULL_MODEL = "full:latest"
"""A device that says that others keep it busy: what asks for it waits in the line."""


async def source(bus: Bus, stop: Stop) -> None:
    """Be a device whose model is as fast as the bus."""
    subjects = Subjects()
    burst = [codec.encode(frames.to_wire(frames.Token(n, CHUNK)), Encoding.MSGPACK) for n in range(MOST_CHUNKS)]
    ack = codec.encode(frames.to_wire(frames.Ack(boot="bench")), Encoding.MSGPACK)

    async def pour(reply: str, chunks: int = CHUNKS) -> None:
        await bus.publish(reply, ack)
        for payload in burst[:chunks]:
            await bus.publish(reply, payload)
        end = frames.End(tokens=chunks, usage=Usage(completion_tokens=chunks))
        await bus.publish(reply, codec.encode(frames.to_wire(end), Encoding.MSGPACK))
        await bus.publish(reply, frames.END_OF_STREAM)

    async with asyncio.TaskGroup() as tasks:

        def job(delivery: Delivery) -> None:
            asked = codec.build(Dispatch, codec.decode(delivery.data))
            tasks.create_task(pour(delivery.reply, asked.options.max_tokens or CHUNKS))

        def bare(delivery: Delivery) -> None:
            tasks.create_task(pour(delivery.reply))

        await bus.subscribe(subjects.device(SOURCE_DEVICE, "job"), job)
        await bus.subscribe(SOURCE_SUBJECT, bare)
        beats = tasks.create_task(_beat(bus, subjects))
        await stop.wait()
        beats.cancel()


async def _beat(bus: Bus, subjects: Subjects) -> None:
    for seq in itertools.count():
        beat = Heartbeat(
            device=SOURCE_DEVICE,
            boot="bench",
            seq=seq,
            slots=SLOTS,
            models=(ModelInfo(name=SOURCE_MODEL, loaded=True, capabilities=("completion",)),),
            backend="bench",
            simulated=True,
        )
        full = replace(
            beat,
            device=FULL_DEVICE,
            slots=1,
            in_flight=1,
            jobs_by_dispatcher={"another": 1},
            models=(ModelInfo(name=FULL_MODEL, loaded=True, capabilities=("completion",)),),
        )
        for one in (beat, full):
            await bus.publish(subjects.heartbeat(one.device), codec.encode(codec.plain(one)))
        await asyncio.sleep(beat.interval_s)


def main() -> int:
    """Run until SIGTERM."""
    url = sys.argv[1]

    async def connected(stop: Stop) -> None:
        async with connect_nats(NatsOptions(urls=(url,), name="bench-source")) as bus:
            await source(bus, stop)

    return run(connected)


if __name__ == "__main__":
    sys.exit(main())
