"""What it costs to keep an answer: microseconds to find, to miss and to put one, and bytes, in this process and in Redis.

python -m dispatcher.lab.speed.answers [--rounds 5] [--entries 5000]

The answers are 2 KiB of English words, drawn by lot. The Redis is one of our own on this machine, as empty as it starts; where none
is installed its figures are missing. Bytes are what an entry takes beside its own packed ones.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import random
import shutil
import socket
import sys
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter

from common.clock import LoopClock
from common.errors import CacheUnavailable
from common.messages import Usage
from dispatcher.cache.protocols import AnswerStore
from dispatcher.cache.redis_client import RedisClient, redis_client
from dispatcher.cache.store import MemoryAnswers
from dispatcher.cache.store.packing import Bounds, pack
from dispatcher.cache.store.redis import RedisAnswers
from dispatcher.cache.values import Entry, Place, Receipt
from dispatcher.lab.speed.fleet import QUESTION
from dispatcher.settings.cache import CacheSection

CALLS = 500
ENTRIES = 5000
START_S = 15.0
_SETTINGS = CacheSection.model_construct(
    **CacheSection().model_dump() | {"entries": 1_000_000, "size_mb": 4096, "prefix": "drover-bench"}
)
_WORDS = sorted({*f"{__doc__} {QUESTION} {CacheSection.__doc__} {AnswerStore.__doc__}".split()})


def figures(rounds: int = 1, entries: int = ENTRIES) -> dict[str, float]:
    """Give microseconds, the best of several rounds, and bytes. Not to be called in a running loop."""
    return asyncio.run(_figures(rounds, entries))


async def _figures(rounds: int, entries: int) -> dict[str, float]:
    clock = LoopClock()
    gc.collect()
    tracemalloc.start()
    store = MemoryAnswers(_SETTINGS, clock)
    await _fill(store, entries)
    gc.collect()
    beside = tracemalloc.get_traced_memory()[0] / entries - _packed_bytes()
    tracemalloc.stop()
    measured = {"answer_packed_bytes": float(_packed_bytes()), "memory_beside_bytes": beside}
    measured |= await _times("memory", store, rounds, entries)
    if shutil.which("redis-server") is None:
        return measured
    async with _redis() as client:
        kept = RedisAnswers(client, _SETTINGS, clock)
        await kept.put(_entry(0))  # with the first one come scripts, which are no entry's
        before = int((await client.info("memory"))["used_memory"])
        await _fill(kept, entries)
        taken = int((await client.info("memory"))["used_memory"]) - before
        measured["redis_beside_bytes"] = taken / entries - _packed_bytes()
        return measured | await _times("redis", kept, rounds, entries)


async def _times(name: str, store: AnswerStore, rounds: int, entries: int) -> dict[str, float]:
    found = [_key(number * 7919 % entries) for number in range(CALLS)]
    fresh = [_entry(entries + number) for number in range(CALLS)]
    return {
        f"{name}_hit_us": await _best_us(rounds, lambda at: store.get("bench", [found[at]])),
        f"{name}_miss_us": await _best_us(rounds, lambda at: store.get("bench", [f"none{at}"])),
        f"{name}_used_us": await _best_us(rounds, lambda at: store.used("bench", found[at])),
        f"{name}_put_us": await _best_us(rounds, lambda at: store.put(fresh[at])),
    }


async def _best_us(rounds: int, call: Callable[[int], Awaitable[object]]) -> float:
    best_s = float("inf")
    for _ in range(rounds):
        began_s = perf_counter()
        for at in range(CALLS):
            await call(at)
        best_s = min(best_s, perf_counter() - began_s)
    return best_s / CALLS * 1e6


async def _fill(store: AnswerStore, entries: int) -> None:
    for number in range(entries):
        await store.put(_entry(number))


def _key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _entry(number: int) -> Entry:
    return Entry(
        place=Place(tenant="bench", exact=_key(number), scope=_key(-1), question=f"{number}: {QUESTION}"),
        text=" ".join(random.Random(number).choices(_WORDS, k=340)),  # noqa: S311  # the same ones each time
        receipt=Receipt(job=f"job-{number}", device="nano-1", model="qwen3:0.6b", usage=Usage(prompt_tokens=30)),
        created_unix_s=LoopClock().unix_s(),
    )


def _packed_bytes() -> int:
    packed = pack(_entry(4242), Bounds(answer_bytes=1 << 20))
    return len(packed or b"")


@asynccontextmanager
async def _redis() -> AsyncIterator[RedisClient]:
    """Run a server of our own, that keeps nothing on disk."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="drover-bench-") as directory:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""]
        server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        try:
            async with redis_client(f"redis://127.0.0.1:{port}/0") as client:
                await _answering(client)
                yield client
        finally:
            server.kill()
            await server.wait()


async def _answering(client: RedisClient) -> None:
    async with asyncio.timeout(START_S):
        while True:
            try:
                await client.run(("PING",))
            except CacheUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m dispatcher.lab.speed.answers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    options = parser.parse_args()
    for name, figure in figures(options.rounds, options.entries).items():
        sys.stdout.write(f"{name:24} {figure:9.1f}\n")


if __name__ == "__main__":
    main()
