"""What a dispatcher takes in memory whose cache is full, against one that keeps nothing. Real processes.

python -m dispatcher.lab.speed.full [--answers 10000]

Both dispatchers answer the same questions, in as many contexts as fill the vectors too, each with 2 KiB of words by lot; what a
dispatcher remembers of its last jobs is in both. By default the cache has its default bounds, which is 10,000 answers.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from common import codec
from common.bus import Bus
from common.bus.nats import NatsOptions, connect_nats
from common.errors import BusError, ConfigError
from common.subjects import Subjects
from dispatcher.cli.nats_server import config, program
from dispatcher.lab.speed.cached import ANSWER
from dispatcher.lab.speed.instant import DEVICE, instant_device
from dispatcher.lab.speed.stage import READY_S, Processes, free_port, listening
from dispatcher.settings import CacheSection

IN_FLIGHT = 16
WAIT_S = 60.0
_WORDS = sorted({word for word in ANSWER.lower().split() if word.isalpha()})


@asynccontextmanager
async def house(mode: str) -> AsyncIterator[tuple[Bus, int]]:
    """Run a broker, a dispatcher and a device; gives a connection, and the dispatcher's process number."""
    chance = random.Random(1)  # noqa: S311  # the same ones each time
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="drover-full-")))
        port = free_port()
        url = f"nats://127.0.0.1:{port}"
        conf = folder / "nats.conf"
        conf.write_text(config(host="127.0.0.1", port=port, store=folder / "store"))
        env = {
            "NATS_URL": url,
            "DROVER_CACHE": mode,
            "DROVER_CACHE_TENANTS": "",
            "REDIS_URL": "",
            "LOG_LEVEL": "WARNING",
        }
        processes = Processes(closing, folder, env)
        processes.start("nats", program("nats-server"), "-c", str(conf))
        await listening(port, "nats-server")
        dispatcher = processes.python("dispatcher", "dispatcher", "dispatcher")
        async with (
            connect_nats(NatsOptions(urls=(url,), name="bench-full")) as bus,
            instant_device(bus, lambda: " ".join(chance.choices(_WORDS, k=340))),
        ):
            await _known(bus)
            yield bus, dispatcher


async def _known(bus: Bus) -> None:
    """Return when the dispatcher knows the device. Raises `ConfigError` when it never does."""
    try:
        async with asyncio.timeout(READY_S):
            while True:
                try:
                    told = await bus.request("$SRV.STATS.llm-dispatcher", b"", timeout_s=1.0)
                except BusError:
                    await asyncio.sleep(0.1)  # it does not listen yet
                    continue
                if DEVICE in str(codec.decode(told.data)):
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise ConfigError(f"the dispatcher did not hear its device within {READY_S:g} s") from None


async def filled(mode: str, answers: int) -> tuple[float, float, dict[str, Any]]:
    """Give the MiB of a dispatcher before and after, and the figures of its cache."""
    scope = CacheSection().scope_entries
    async with house(mode) as (bus, dispatcher):
        await _ask(bus, "What is this?", context=-1, cache="off")
        before = _mib(dispatcher)
        left = iter(range(answers))

        async def some() -> None:
            for number in left:
                words = " ".join(random.Random(number).choices(_WORDS, k=12))  # noqa: S311
                await _ask(bus, f"{words}?", context=number // scope)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(IN_FLIGHT):
                tasks.create_task(some())
        after = _mib(dispatcher)
        told = await bus.request(Subjects().cache("stats"), b"{}", timeout_s=WAIT_S)
        return before, after, codec.decode(told.data)


async def _ask(bus: Bus, text: str, *, context: int, **fields: str) -> None:
    messages = [{"role": "system", "content": f"Context {context}"}, {"role": "user", "content": text}]
    reply = await bus.request(
        Subjects().work("chat", "bench"), codec.encode({"messages": messages, **fields}), timeout_s=WAIT_S
    )
    if "error" in codec.decode(reply.data):
        raise RuntimeError(f"a question was not answered: {reply.data[:300]!r}")


def _mib(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m dispatcher.lab.speed.full", description=__doc__)
    parser.add_argument("--answers", type=int, default=CacheSection.model_fields["entries"].default)
    options = parser.parse_args()
    rows = {}
    for mode in ("off", "semantic"):
        before, after, told = asyncio.run(filled(mode, options.answers))
        rows[mode] = after
        sys.stdout.write(
            f"{mode:9} {before:6.1f} MiB at the start, {after:6.1f} MiB after {options.answers:,} answers\n"
        )
    store, index = told["store"], told["index"] or {}
    for what, part in (("answers", store), ("vectors", index)):
        sys.stdout.write(
            f"{part.get('entries', 0):,} {what}, {part.get('size_bytes', 0) / 2**20:.1f} MiB as it counts them\n"
        )
    sys.stdout.write(f"the full cache takes {rows['semantic'] - rows['off']:.1f} MiB\n")


if __name__ == "__main__":
    main()
