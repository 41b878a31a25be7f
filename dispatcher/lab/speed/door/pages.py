"""What open pages take of a bridge and its ledger, beside a small and a large fleet that is at work. Real processes.

python -m dispatcher.lab.speed.door.pages [--rounds 5] [--seconds 15]

A page follows the stream of events, and asks what the two hungriest views ask again and again, Latency and Energy, as if both were
shown at once: no page does more. Its own stream, too: a browser has one for all its tabs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from urllib.parse import urlencode

import psutil

from common import codec
from common.bus import Bus
from common.bus.nats import NatsOptions, connect_nats
from common.codec import Encoding
from common.subjects import Subjects
from dispatcher.cli.nats_server import config, program
from dispatcher.lab import http
from dispatcher.lab.speed.door.herd import MODEL, SLOTS, WORKED_S, Herd, herd
from dispatcher.lab.speed.door.reader import reading
from dispatcher.lab.speed.stage import Processes, free_port, healthy, listening, until

FLEETS = (3, 50)
PAGES = (1, 20)
JOBS_PER_S = 4.0
JOB_S = 30.0
FIRST_S = 30.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
"""CPU time is counted in these."""

LATENCY_S, ENERGY_S = 5.0, 30.0
"""How often the views ask: Latency at its shorter periods, and Energy, which asks for four sums. Held to the views by
tests/unit/lab/test_polling.py, and what they ask by tests/e2e/web/test_polled.py."""


@dataclass(frozen=True, slots=True)
class House:
    """One fleet with its bridge and ledger."""

    port: int
    herd: Herd
    bus: Bus
    bridge: psutil.Process
    ledger: psutil.Process


async def opened(rounds: int, seconds: float, kept: int) -> list[dict[str, float]]:
    """Give each round's figures of both fleets, each without pages, with one and with many; `kept` jobs lie in the ledger."""
    found: list[dict[str, float]] = [{} for _ in range(rounds)]
    for devices in FLEETS:
        async with house(devices) as where:
            await _filled(where, kept)
            async with asyncio.TaskGroup() as tasks:
                working = tasks.create_task(_jobs(where))
                for figures in found:
                    figures.update(await _round(where, devices, seconds))
                working.cancel()
    return found


async def _round(where: House, devices: int, seconds: float) -> dict[str, float]:
    """Measure without pages, then with them: what each of them adds, and how much more that is than without any."""
    name = f"door_pages_{devices}"
    alone = await _share(where, seconds)
    found = {f"{name}_none_{process}_percent": percent for process, percent in alone.items()}
    for pages in PAGES:
        async with asyncio.TaskGroup() as tasks:
            looking = [Page(where.port, number / pages) for number in range(pages)]
            follows = [tasks.create_task(page.follow()) for page in looking]
            await _told(looking)
            busy = await _share(where, seconds)
            for follow in follows:
                follow.cancel()
        for process, percent in busy.items():
            found[f"{name}_{pages}_{process}_percent"] = (percent - alone[process]) / pages
        # Without pages it may have rested for less than can be counted.
        found[f"{name}_{pages}_ratio"] = busy["bridge"] / max(alone["bridge"], 100 * TICK_S / seconds)
    return found


class Page:
    """One open page; `phase` is its place among others, which don't all ask at the same moment."""

    def __init__(self, port: int, phase: float) -> None:
        self._port = port
        self._phase = phase
        self.told = asyncio.Event()
        """Set when its stream has said what the fleet is like."""

    async def follow(self) -> None:
        """Read the stream and ask as the views do, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._events())
            tasks.create_task(self._asks(latency_asks(), LATENCY_S))
            # One after the other and not all at once, so that each stretch of time has its share of them.
            tasks.create_task(self._asks(energy_asks(), ENERGY_S / len(energy_asks())))

    async def _events(self) -> None:
        async with reading(self._port) as reader:
            await reader.ask("/ui/events")
            while data := await reader.block():
                if b"event: devices" in data:
                    self.told.set()
        raise RuntimeError("/ui/events ended while a page was open")

    async def _asks(self, paths: Sequence[str], every_s: float) -> None:
        connection = await http.connect("127.0.0.1", self._port)
        try:
            await asyncio.sleep(every_s * self._phase)
            while True:
                for path in paths:
                    status, answer = await connection.call("GET", path)
                    if status != 200:
                        raise RuntimeError(f"{path} answered {status}: {answer[:200]!r}")
                    await asyncio.sleep(every_s)
        finally:
            connection.abandon()


def latency_asks() -> tuple[str, ...]:
    """Give what the view of an hour asks."""
    return ("/api/v1/latency?since_s=3600",)


def energy_asks() -> tuple[str, ...]:
    """Give what the view of a day asks: its quarters of an hour and those of the day before, and sums by device and by model."""
    day_s = 86_400
    midnight = int(time.time()) // day_s * day_s
    asked = (("time", midnight), ("time", midnight - day_s), ("device", midnight), ("model", midnight))
    return tuple(
        "/api/v1/energy?"
        + urlencode(
            {"by": by, "since_unix_s": since, "until_unix_s": since + day_s, "limit": 1000}
            | ({"step_s": 900} if by == "time" else {})
        )
        for by, since in asked
    )


async def _told(pages: Sequence[Page]) -> None:
    """Return when all streams have begun. Raises `TimeoutError`."""
    async with asyncio.timeout(FIRST_S):
        for page in pages:
            await page.told.wait()


async def _share(where: House, seconds: float) -> dict[str, float]:
    """Give the percents of a core that both processes take now."""
    processes = {"bridge": where.bridge, "ledger": where.ledger}
    before, began_s = {name: one.cpu_times() for name, one in processes.items()}, perf_counter()
    await asyncio.sleep(seconds)
    taken_s = perf_counter() - began_s
    after = {name: one.cpu_times() for name, one in processes.items()}
    return {
        name: 100 * (after[name].user + after[name].system - before[name].user - before[name].system) / taken_s
        for name in processes
    }


async def _jobs(where: House) -> None:
    """Have the fleet answer questions at a steady pace, until cancelled: as fast as three small devices can."""
    where.herd.work_s = WORKED_S
    async with asyncio.TaskGroup() as tasks:
        while True:
            tasks.create_task(_ask(where.bus))
            await asyncio.sleep(1 / JOBS_PER_S)


async def _filled(where: House, kept: int) -> None:
    """Have so many jobs answered at once, and wait until the ledger has them."""
    left = iter(range(kept))

    async def some() -> None:
        for _ in left:
            await _ask(where.bus)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(SLOTS * len(where.herd.names)):
            tasks.create_task(some())
    connection = await http.connect("127.0.0.1", where.port)

    async def there() -> bool:
        _, told = await connection.call("GET", latency_asks()[0])
        return bool(codec.decode(told).get("outcomes", {}).get("answered", 0) >= kept)

    await until(there, f"the ledger did not have {kept} jobs")
    await connection.close()


async def _ask(bus: Bus) -> None:
    body = codec.encode({"prompt": "one two three four", "model": MODEL, "cache": "off"}, Encoding.MSGPACK)
    told = await bus.request(Subjects().work("chat", "default"), body, timeout_s=JOB_S)
    if "error" in codec.decode(told.data):
        raise RuntimeError(f"a question was not answered: {told.data[:300]!r}")


@asynccontextmanager
async def house(devices: int) -> AsyncIterator[House]:
    """Start everything on free ports in a temporary directory. Raises `ConfigError` when something does not come up."""
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="drover-pages-")))
        nats_port, port = free_port(), free_port()
        url = f"nats://127.0.0.1:{nats_port}"
        conf = folder / "nats.conf"
        conf.write_text(config(host="127.0.0.1", port=nats_port, store=folder / "store"))
        env = {
            "NATS_URL": url,
            "DROVER_STATE_DIR": str(folder),
            "DROVER_EMBEDDER": "none",
            "DROVER_HTTP_PORT": str(port),
            "DROVER_HTTP_KEYS": "off",
            "LOG_LEVEL": "INFO",
            "LOG_FORMAT": "json",
        }
        processes = Processes(closing, folder, env)
        processes.start("nats", program("nats-server"), "-c", str(conf))
        await listening(nats_port, "nats-server")
        ledger = processes.python("ledger", "dispatcher", "ledger", "serve")
        processes.python("dispatcher", "dispatcher", "dispatcher")
        bridge = processes.python("bridge", "dispatcher", "bridge")
        async with AsyncExitStack() as open_:
            bus = await open_.enter_async_context(connect_nats(NatsOptions(urls=(url,), name="bench-herd")))
            fleet = await open_.enter_async_context(herd(bus, devices))
            await healthy(port, folder)
            yield House(port, fleet, bus, psutil.Process(bridge), psutil.Process(ledger))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m dispatcher.lab.speed.door.pages", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each figure; views ask every 5 and 30")
    parser.add_argument("--jobs", type=int, default=2000, help="that lie in the ledger")
    given = parser.parse_args()
    rounds = asyncio.run(opened(given.rounds, given.seconds, given.jobs))
    for name in rounds[0]:
        values = [one[name] for one in rounds]
        sys.stdout.write(f"{name:34}{statistics.median(values):8.2f}   {min(values):.2f} to {max(values):.2f}\n")


if __name__ == "__main__":
    main()
