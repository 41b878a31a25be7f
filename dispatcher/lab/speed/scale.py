"""Scale: what a thousand heartbeating devices cost a dispatcher, and whether its memory stays flat over many jobs. Real processes.

python -m dispatcher.lab.speed.scale [--devices 1000] [--seconds 20] [--jobs 200000]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from time import monotonic

import psutil

from common import codec
from common.bus import Bus
from common.bus.nats import NatsOptions, connect_nats
from common.codec import Encoding
from common.messages import Heartbeat, ModelInfo, Speed
from common.subjects import Subjects
from dispatcher.lab.speed import raw
from dispatcher.lab.speed.stage import Stage, stage

MODELS = 4
"""Each device has so many on disk, and speeds of each."""

STEPS = 20
"""So often memory is read while the jobs run."""

WARM_UP_SHARE = 0.1
"""Caches fill during the first jobs; growth is counted after them."""

IN_FLIGHT = 64

JOIN_S = 30.0
DISPATCHER_STATS = "$SRV.STATS.llm-dispatcher"


async def heartbeats(where: Stage, devices: int, seconds: float) -> tuple[float, float]:
    """Give the dispatcher's share of a core without and with so many devices, each beating once a second."""
    subjects = Subjects()
    async with connect_nats(NatsOptions(urls=(where.nats_url,), name="bench-fleet")) as bus:
        idle = await _share(where.dispatcher_pid, seconds)
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(_fleet(bus, subjects, devices))
            await _joined(bus, devices)
            busy = await _share(where.dispatcher_pid, seconds)
            beating.cancel()
    return idle, busy


async def _joined(bus: Bus, devices: int) -> None:
    """Return when the dispatcher says that it has them all. Raises `TimeoutError`."""
    async with asyncio.timeout(JOIN_S):
        while True:
            stats = codec.decode((await bus.request(DISPATCHER_STATS, b"", timeout_s=JOIN_S)).data)
            if sum(len(endpoint["data"]["devices"]) for endpoint in stats["endpoints"]) >= devices:
                return
            await asyncio.sleep(0.2)


async def _fleet(bus: Bus, subjects: Subjects, devices: int) -> None:
    """Beat for all devices, spread evenly over each second as a real fleet's are."""
    began_s, beats = monotonic(), 0
    while True:
        seq, device = divmod(beats, devices)
        beat = _beat(device, seq + 1)
        await bus.publish(subjects.heartbeat(beat.device), codec.encode(codec.plain(beat)))
        beats += 1
        ahead_s = began_s + beats / devices - monotonic()
        if ahead_s > 0.01:
            await asyncio.sleep(ahead_s)


def _beat(device: int, seq: int) -> Heartbeat:
    models = tuple(
        ModelInfo(name=f"model{n}:1b", size_bytes=10**9, loaded=n == 0, capabilities=("completion",))
        for n in range(MODELS)
    )
    speeds = {model.name: Speed(jobs=seq, prefill_tps=100.0 + seq % 7, decode_tps=10.0) for model in models}
    return Heartbeat(
        device=f"bench-{device}", boot="bench", seq=seq, models=models, speeds=speeds, temperature_c=50.0 + seq % 5
    )


async def _share(pid: int, seconds: float) -> float:
    process = psutil.Process(pid)
    before, began_s = process.cpu_times(), monotonic()
    await asyncio.sleep(seconds)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (monotonic() - began_s)


async def memory(where: Stage, jobs: int) -> list[tuple[int, float, float]]:
    """Run jobs one after the other, many at once; give (jobs so far, MiB of the dispatcher, MiB of the agent) at each step."""
    body = codec.encode({"prompt": "Why is the sky blue?", "model": "echo", "cache": "off"}, Encoding.MSGPACK)
    subject = Subjects().work("chat", "bench")
    rows = [(0, _mib(where.dispatcher_pid), _mib(where.agent_pid))]
    async with raw.client(where.nats_url) as client:
        for step in range(1, STEPS + 1):
            await raw.batch(client, subject, body, count=jobs // STEPS, in_flight=IN_FLIGHT)
            rows.append((step * (jobs // STEPS), _mib(where.dispatcher_pid), _mib(where.agent_pid)))
            sys.stderr.write(f"\r{rows[-1][0]} of {jobs} jobs, dispatcher {rows[-1][1]:.1f} MiB ")
    sys.stderr.write("\n")
    return rows


def _mib(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 2**20


async def scale(devices: int, seconds: float, jobs: int) -> None:
    """Measure and print."""
    async with stage() as where:
        idle, busy = await heartbeats(where, devices, seconds)
        sys.stdout.write(
            f"{devices} devices, a heartbeat a second each: {100 * (busy - idle):.1f} % of a core (idle {100 * idle:.1f} %)\n"
        )
    async with stage() as where:
        rows = await memory(where, jobs)
    first = next(row for row in rows if row[0] >= WARM_UP_SHARE * jobs)
    for name, column in (("dispatcher", 1), ("agent", 2)):
        grown = rows[-1][column] - first[column]
        sys.stdout.write(
            f"{name}: {first[column]:.1f} MiB after {first[0]} jobs, {rows[-1][column]:.1f} MiB after {rows[-1][0]}: "
            f"{grown:+.1f} MiB, {grown * 2**20 / max(1, rows[-1][0] - first[0]):+.1f} bytes a job\n"
        )


def main() -> int:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m dispatcher.lab.speed.scale", description=__doc__)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--jobs", type=int, default=200_000)
    given = parser.parse_args()
    asyncio.run(scale(given.devices, given.seconds, given.jobs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
