"""Vectors for whoever asks, off the event loop and in batches; it knows no tier, and what a vector is for.

A request never fails for want of a vector: it gets none, with the reason.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

from common.logs import get_logger
from dispatcher.embed.protocol import Embedder, EmbedderId, Vector, Vectors

log = get_logger("embed")

INLINE_S = 0.001
"""An embedder that takes less for an ordinary prompt runs on the event loop: the way to a thread and back costs a good part of it,
and more when the loop is busy."""

MOST_IN_BATCH = 32
"""A batch of the slow tiers then takes half a second at most: that long may a stop have to wait."""

_ORDINARY = (
    "Write a Python function that merges two sorted lists, and explain why it takes linear time. Then show how it behaves when one "
    "of the lists is empty, when both hold the same numbers, and when the numbers are negative. Keep the answer short, please."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A text's vector, or the reason why there is none; `identity` says whose vectors these would be."""

    vector: Vector | None
    lacks: str | None
    identity: EmbedderId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """`chars`: what is read of a text, its head and tail; `waiting`: texts that may wait; `kept`: vectors in memory."""

    chars: int = 2000
    waiting: int = 256
    kept: int = 2048


def bounded(text: str, chars: int) -> str:
    """Give the head and the tail of a long text, three to one: what is asked stands at either end of a pasted document."""
    if len(text) <= chars:
        return text
    tail = chars // 4
    return f"{text[: chars - tail - 1]} {text[len(text) - tail :]}"


class EmbeddingService:
    """Embeds texts one by one or in batches. Made by `embedding`; all methods belong to the event loop."""

    def __init__(self, embedder: Embedder | None, bounds: Bounds) -> None:
        self.bounds = bounds
        self.inline = False
        self.failing = False
        self._embedder = embedder
        self._kept: OrderedDict[bytes, Vector] = OrderedDict()
        self._asked: dict[bytes, tuple[str, list[asyncio.Future[Vector | None]]]] = {}
        self._wake = asyncio.Event()

    @property
    def identity(self) -> EmbedderId | None:
        """Give the embedder's identity, or `None` if there is none."""
        return None if self._embedder is None else self._embedder.identity

    @property
    def waiting(self) -> int:
        """How many texts wait for the thread."""
        return len(self._asked)

    async def embed(self, text: str) -> Embedded:
        """Embed one text. Raises nothing of its own; a caller that is cancelled leaves no trace."""
        if self._embedder is None:
            return self._without("no embedder is set (DROVER_EMBEDDER)")
        text = bounded(text, self.bounds.chars)
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        vector = self._remembered(key)
        if vector is None and self.inline:
            vector = self._now(self._embedder, key, text)
        elif vector is None:
            if key not in self._asked and len(self._asked) >= self.bounds.waiting:
                return self._without(f"{len(self._asked)} texts wait to be embedded")
            vector = await self._later(key, text)
        return self._without("the embedder failed") if vector is None else self._with(vector)

    def _with(self, vector: Vector) -> Embedded:
        return Embedded(vector=vector, lacks=None, identity=self.identity)

    def _without(self, reason: str) -> Embedded:
        return Embedded(vector=None, lacks=reason, identity=self.identity)

    def _remembered(self, key: bytes) -> Vector | None:
        vector = self._kept.get(key)
        if vector is not None:
            self._kept.move_to_end(key)
        return vector

    def _keep(self, key: bytes, vector: Vector) -> None:
        vector.flags.writeable = False  # many hold it
        self._kept[key] = vector
        while len(self._kept) > self.bounds.kept:
            self._kept.popitem(last=False)

    def _now(self, embedder: Embedder, key: bytes, text: str) -> Vector | None:
        rows = self._tried(embedder, [text])
        if rows is None:
            return None
        vector: Vector = rows[0]
        self._keep(key, vector)
        return vector

    async def _later(self, key: bytes, text: str) -> Vector | None:
        """Wait for the thread, together with whoever asked for the same text."""
        future: asyncio.Future[Vector | None] = asyncio.get_running_loop().create_future()
        _, waiters = self._asked.setdefault(key, (text, []))
        waiters.append(future)
        self._wake.set()
        try:
            return await future
        finally:
            waiters.remove(future)
            if not waiters and self._asked.get(key, (None, None))[1] is waiters:
                del self._asked[key]

    async def work(self, embedder: Embedder, pool: ThreadPoolExecutor) -> None:
        """Embed what is asked for, batch by batch, until cancelled; then the running batch is waited for."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._asked:
                keys = list(self._asked)[:MOST_IN_BATCH]
                batch = [(key, *self._asked.pop(key)) for key in keys]
                running = loop.run_in_executor(pool, self._tried, embedder, [text for _, text, _ in batch])
                try:
                    rows = await asyncio.shield(running)
                except asyncio.CancelledError:
                    self._hand_out(batch, await running)
                    raise
                self._hand_out(batch, rows)

    def _hand_out(
        self, batch: Sequence[tuple[bytes, str, list[asyncio.Future[Vector | None]]]], rows: Vectors | None
    ) -> None:
        for place, (key, _, waiters) in enumerate(batch):
            vector = None if rows is None else rows[place].copy()  # a view would keep the whole batch in memory
            if vector is not None:
                self._keep(key, vector)
            for future in waiters:
                if not future.done():
                    future.set_result(vector)

    def _tried(self, embedder: Embedder, texts: Sequence[str]) -> Vectors | None:
        """Embed, or log once that it fails; one line more when it works again."""
        try:
            rows = embedder.embed(texts)
        except Exception as error:  # noqa: BLE001  # a border: routing goes on without
            if not self.failing:
                log.warning(
                    "embed.failed", embedder=str(embedder.identity), error=type(error).__name__, texts=len(texts)
                )
            self.failing = True
            return None
        if self.failing:
            log.warning("embed.recovered", embedder=str(embedder.identity))
        self.failing = False
        return rows

    def drop(self) -> None:
        """Answer all that wait with nothing: the service ends."""
        asked, self._asked = self._asked, {}
        for _, waiters in asked.values():
            for future in waiters:
                if not future.done():
                    future.set_result(None)


@asynccontextmanager
async def embedding(embedder: Embedder | None, bounds: Bounds | None = None) -> AsyncIterator[EmbeddingService]:
    """Run a service over an embedder, or over none. Where it runs, on the loop or in a thread, is measured once."""
    service = EmbeddingService(embedder, bounds or Bounds())
    if embedder is None:
        log.info("embed.none", lacks="vectors: routing goes by text features alone")
        yield service
        return
    with ThreadPoolExecutor(1, thread_name_prefix="embed") as pool:
        took_s = await asyncio.get_running_loop().run_in_executor(pool, _typical_s, embedder)
        service.inline = took_s is not None and took_s < INLINE_S
        took_us = None if took_s is None else round(took_s * 1e6)
        log.info("embed.ready", embedder=str(embedder.identity), text_us=took_us, inline=service.inline)
        async with asyncio.TaskGroup() as group:
            worker = group.create_task(service.work(embedder, pool))
            try:
                yield service
            finally:
                worker.cancel()
                service.drop()


def _typical_s(embedder: Embedder, rounds: int = 7) -> float | None:
    """Give the median seconds for an ordinary prompt; `None` for an embedder that fails, which the first request will log."""
    took: list[float] = []
    for _ in range(rounds):
        start = perf_counter()
        try:
            embedder.embed([_ORDINARY])
        except Exception:  # noqa: BLE001  # as above
            return None
        took.append(perf_counter() - start)
    return statistics.median(took)
