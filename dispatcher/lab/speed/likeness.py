"""What finding a like question costs: a look-up over small and large scopes, against a bare product of the same matrix and vector.

python -m dispatcher.lab.speed.likeness [--rounds 5] [--redis /usr/bin/redis-server] [--entries 20000]

The questions are vectors by lot: a search by numpy takes the same time for any. The embedder is measured apart. With a redis-server
at hand the same is measured over it; its own vector sets as well where it has them, which by lot is their worst case.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import numpy as np

from common import codec
from dispatcher.cache.index import IndexBounds, MemoryIndex
from dispatcher.cache.index.redis_durable import DurableIndex
from dispatcher.cache.index.redis_vectors import VectorSetIndex
from dispatcher.cache.protocols import VectorIndex
from dispatcher.cache.redis_client import redis_client
from dispatcher.embed import Embedder, Tier, Vector, Vectors, open_embedder
from dispatcher.lab.speed import one_thread
from dispatcher.lab.speed.fleet import QUESTION
from dispatcher.lab.speed.stage import Processes, free_port, listening

ENTRIES = (1_000, 10_000, 100_000)
ENTRIES_IN_REDIS = (1_000, 10_000)
"""Filling it with ten times as many takes longer than all the rest."""

LOOKS = 40
AT_ONCE = 100
PIECE = 170
"""Vectors that one look at least brings of a scope that this process does not know yet, of 384 numbers each."""

TENANT, SCOPE = "bench", "0" * 64


async def figures(embedder: Embedder, redis: str | None, entries: tuple[int, ...] = ()) -> dict[str, float]:
    """Give microseconds for a look-up and its ratio to the bare product, bytes for an entry, and microseconds for an embedding.
    `redis` is the server's program."""
    vectors = _by_lot(max(entries or ENTRIES), embedder.identity.dimensions)
    measured = {"embed_question_us": await _median_us(lambda _: _embedded(embedder), vectors)}
    for count in entries or ENTRIES:
        index = MemoryIndex(_bounds(count))
        measured |= await _looked(f"near_{count}", index, embedder, vectors[:count])
    measured["near_entry_bytes"] = await _entry_bytes(embedder, vectors[: ENTRIES[1]])
    if redis is not None:
        measured |= await _in_redis(redis, embedder, vectors, entries or ENTRIES_IN_REDIS)
    return measured


async def _in_redis(program: str, embedder: Embedder, vectors: Vectors, entries: tuple[int, ...]) -> dict[str, float]:
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="drover-bench-")))
        port = free_port()
        processes = Processes(closing, folder, {})
        processes.start(
            "redis", program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)
        )
        await listening(port, "redis-server")
        measured: dict[str, float] = {}
        async with redis_client(f"redis://127.0.0.1:{port}/0") as client:
            measured["redis_trip_us"] = await _median_us(lambda _: client.run(("PING",)), vectors)
            kinds: dict[str, type[DurableIndex | VectorSetIndex]] = {"redis": DurableIndex}
            if await client.has("VSIM"):
                kinds["sets"] = VectorSetIndex
            for count in entries:
                for name, kind in kinds.items():
                    index = kind(client, "bench", _bounds(count))
                    measured |= await _looked(f"near_{name}_{count}", index, embedder, vectors[:count])
                    await index.purge(None)
    return measured


def _bounds(count: int) -> IndexBounds:
    return IndexBounds(scope_entries=count, entries=count)


async def _looked(name: str, index: VectorIndex, embedder: Embedder, vectors: Vectors) -> dict[str, float]:
    """Fill an index, and look things up in it, each time beside the bare product."""
    await _fill(index, embedder, vectors)
    asked = _by_lot(LOOKS, vectors.shape[1], seed=2)
    # A copy of what Redis has comes in pieces; what is in this process is whole from the start.
    pieces = () if isinstance(index, MemoryIndex) else vectors[:: PIECE // 2]
    for vector in (*asked, *pieces):
        await index.nearest(TENANT, SCOPE, embedder.identity, vector, count=1)
    looks, bare = [], []
    for vector in asked:
        looks.append(await _timed_us(lambda one: index.nearest(TENANT, SCOPE, embedder.identity, one, count=5), vector))
        bare.append(await _timed_us(lambda one: _product(vectors, one), vector))
    look_us, bare_us = statistics.median(looks), statistics.median(bare)
    return {f"{name}_us": look_us, f"{name}_bare_us": bare_us, f"{name}_ratio": look_us / bare_us}


async def _fill(index: VectorIndex, embedder: Embedder, vectors: Vectors) -> None:
    for start in range(0, len(vectors), AT_ONCE):
        async with asyncio.TaskGroup() as tasks:
            for number in range(start, min(start + AT_ONCE, len(vectors))):
                tasks.create_task(index.add(TENANT, SCOPE, embedder.identity, vectors[number], _key(number)))


async def _entry_bytes(embedder: Embedder, vectors: Vectors) -> float:
    """Give what an entry takes in this process, all told."""
    index = MemoryIndex(_bounds(len(vectors)))
    tracemalloc.start()
    try:
        await _fill(index, embedder, vectors)
        return tracemalloc.get_traced_memory()[0] / len(vectors)
    finally:
        tracemalloc.stop()


async def _product(matrix: Vectors, vector: Vector) -> int:
    return int((matrix @ vector).argmax())


async def _embedded(embedder: Embedder) -> Vectors:
    return embedder.embed([QUESTION])


async def _median_us(call: Callable[[Vector], Awaitable[object]], vectors: Vectors) -> float:
    return statistics.median([await _timed_us(call, vector) for vector in vectors[:LOOKS]])


async def _timed_us(call: Callable[[Vector], Awaitable[object]], vector: Vector) -> float:
    began_s = perf_counter()
    await call(vector)
    return (perf_counter() - began_s) * 1e6


def _by_lot(count: int, dimensions: int, seed: int = 1) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, dimensions), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _key(number: int) -> str:
    return f"{number:064x}"


def measured(*arguments: str) -> dict[str, float]:
    """Give the figures of one round, from a process of its own."""
    return one_thread.measured("dispatcher.lab.speed.likeness", "--once", *arguments)


def _once(redis: str | None, entries: tuple[int, ...]) -> dict[str, float]:
    embedder = open_embedder(Tier.STATIC)
    if embedder is None:
        raise RuntimeError("the static tier is shipped, and is not here")
    return asyncio.run(figures(embedder, redis or shutil.which("redis-server"), entries))


def main() -> None:
    """Measure and print the medians of some rounds."""
    parser = argparse.ArgumentParser(prog="python -m dispatcher.lab.speed.likeness", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--redis", help="the program of a redis-server; without it the one that is installed, if any")
    parser.add_argument("--entries", type=int, nargs="*", default=[], help="sizes of a scope, with and without Redis")
    parser.add_argument("--once", action="store_true", help="one round, as JSON, in this process")
    options = parser.parse_args()
    if options.once:
        sys.stdout.write(codec.encode_pretty(_once(options.redis, tuple(options.entries))))
        return
    rounds = [measured(*sys.argv[1:]) for _ in range(options.rounds)]
    for name in rounds[0]:
        sys.stdout.write(f"{name:28} {statistics.median(one[name] for one in rounds):12.2f}\n")
    if not any(name.startswith("near_redis") for name in rounds[0]):
        sys.stdout.write("Redis is left out: no redis-server is installed\n")


if __name__ == "__main__":
    main()
