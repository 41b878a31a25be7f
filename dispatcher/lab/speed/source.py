"""A device whose model is as fast as the bus, run as `python -m dispatcher.lab.speed.source <nats-url>`.

It answers each job with many small frames at once, and sends the same frames to whoever asks on a subject of its own, without a
dispatcher between: the baseline of the relay.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

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

SLOTS = 256


async def source(bus: Bus, stop: Stop) -> None:
    """Be a device whose model is as fast as the bus."""
    subjects = Subjects()
    burst = [codec.encode(frames.to_wire(frames.Token(n, CHUNK)), Encoding.MSGPACK) for n in range(CHUNKS)]
    end = frames.End(tokens=CHUNKS, usage=Usage(completion_tokens=CHUNKS))
    last = codec.encode(frames.to_wire(end), Encoding.MSGPACK)
    ack = codec.encode(frames.to_wire(frames.Ack(boot="bench")), Encoding.MSGPACK)

    async def pour(reply: str) -> None:
        await bus.publish(reply, ack)
        for payload in burst:
            await bus.publish(reply, payload)
        await bus.publish(reply, last)
        await bus.publish(reply, frames.END_OF_STREAM)

    async with asyncio.TaskGroup() as tasks:

        def job(delivery: Delivery) -> None:
            codec.build(Dispatch, codec.decode(delivery.data))
            tasks.create_task(pour(delivery.reply))

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
        await bus.publish(subjects.heartbeat(SOURCE_DEVICE), codec.encode(codec.plain(beat)))
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
