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
from functools import lru_cache
from time import perf_counter

import numpy as np

from common.logs import get_logger
from dispatcher.embed.protocol import Embedder, EmbedderId, Vector, Vectors

log = get_logger("embed")

INLINE_S = 0.001
"""An embedder that takes less for an ordinary prompt embeds texts on the event loop that can't take it longer, whatever they hold:
the way to a thread and back costs a good part of it, and more when the loop is busy."""

ASTRAY = 0.01
"""A vector's norm is 1, give or take this: what is further off is no vector."""

MOST_IN_BATCH = 32
"""A batch of the slow tiers then takes half a second at most: that long may a stop have to wait."""

_ORDINARY = (
    "Write a Python function that merges two sorted lists, and explain why it takes linear time. Then show how it behaves when one "
    "of the lists is empty, when both hold the same numbers, and when the numbers are negative. Keep the answer short, please."
)

_WORST = ("ж" * 100 + " ") * 3
"""What costs a splitter of words most for each of its letters, as far as we found: the longest words that it still takes apart."""

Rows = list[Vector | None]
"""A vector for each text, or none."""


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
        self.inline_chars = 0
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

    async def embed(self, text: str, *, of: str = "") -> Embedded:
        """Embed one text. Raises nothing of its own; a caller that is cancelled leaves no trace.

        Vectors are remembered apart for each `of`, a tenant: that one is there already would tell what another tenant asked.
        """
        if self._embedder is None:
            return self._without("no embedder is set (DROVER_EMBEDDER)")
        text = bounded(text, self.bounds.chars)
        key = hashlib.blake2b(f"{of}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        vector = self._remembered(key)
        if vector is None and len(text) <= self.inline_chars:
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
        [vector] = self._tried(embedder, [text])
        if vector is not None:
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

    def _hand_out(self, batch: Sequence[tuple[bytes, str, list[asyncio.Future[Vector | None]]]], rows: Rows) -> None:
        for (key, _, waiters), row in zip(batch, rows, strict=True):
            vector = None if row is None else row.copy()  # a view would keep the whole batch in memory
            if vector is not None:
                self._keep(key, vector)
            for future in waiters:
                if not future.done():
                    future.set_result(vector)

    def _tried(self, embedder: Embedder, texts: Sequence[str]) -> Rows:
        """Embed, or log once that it fails; one line more when it works again. A text whose vector is none goes without, alone."""
        try:
            rows = _checked(embedder.embed(texts), len(texts), embedder.identity.dimensions)
        except Exception as error:  # noqa: BLE001  # a border: routing goes on without
            return self._failed(embedder, type(error).__name__, [None] * len(texts))
        if any(row is None for row in rows):
            return self._failed(embedder, "no vector", rows)
        if self.failing:
            log.warning("embed.recovered", embedder=str(embedder.identity))
        self.failing = False
        return rows

    def _failed(self, embedder: Embedder, error: str, rows: Rows) -> Rows:
        if not self.failing:
            log.warning("embed.failed", embedder=str(embedder.identity), error=error, texts=len(rows))
        self.failing = True
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
        took_s, service.inline_chars = await asyncio.get_running_loop().run_in_executor(pool, _measured, embedder)
        took_us = None if took_s is None else round(took_s * 1e6)
        log.info("embed.ready", embedder=str(embedder.identity), text_us=took_us, inline_chars=service.inline_chars)
        async with asyncio.TaskGroup() as group:
            worker = group.create_task(service.work(embedder, pool))
            try:
                yield service
            finally:
                worker.cancel()
                service.drop()


@lru_cache(maxsize=4)  # many services of one process may share an embedder, and each measurement takes milliseconds
def _measured(embedder: Embedder) -> tuple[float | None, int]:
    """Give the seconds for an ordinary prompt, and how long a text may be to take less than `INLINE_S` whatever it holds; `None`
    and 0 for an embedder that fails, which the first request will log."""
    try:
        ordinary_s, worst_s = (_median_s(embedder, text) for text in (_ORDINARY, _WORST))
    except Exception:  # noqa: BLE001  # as above
        return None, 0
    return ordinary_s, 0 if ordinary_s >= INLINE_S else int(len(_WORST) * INLINE_S / worst_s)


def _median_s(embedder: Embedder, text: str, rounds: int = 7) -> float:
    took: list[float] = []
    for _ in range(rounds):
        start = perf_counter()
        embedder.embed([text])
        took.append(perf_counter() - start)
    return statistics.median(took)


def _checked(rows: Vectors, count: int, dimensions: int) -> Rows:
    """Give the vectors, and `None` for each that is none. Raises `ValueError` for others than were asked for."""
    rows = np.asarray(rows, dtype=np.float32)
    if rows.shape != (count, dimensions):
        raise ValueError(f"asked for {count} vectors of {dimensions} numbers, and got {rows.shape}")
    with np.errstate(all="ignore"):
        sound = np.abs(np.linalg.norm(rows, axis=1) - 1.0) <= ASTRAY  # which no NaN is
    return [row if fine else None for row, fine in zip(rows, sound, strict=True)]
