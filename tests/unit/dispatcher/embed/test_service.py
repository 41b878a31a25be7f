"""The service: batches off the loop, bounds, cancellation, failure without harm; the embedder is in the test's hand."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from dispatcher.embed import Bounds, Embedded, EmbedderId, EmbeddingService, Vectors, embedding, open_embedder
from dispatcher.embed.protocol import Tier
from dispatcher.embed.service import MOST_IN_BATCH, bounded

GUARD_S = 20.0


def direction(text: str) -> Vectors:
    """A unit vector that only this text has."""
    seed = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big")
    row = np.random.default_rng(seed).normal(size=8).astype(np.float32)
    return row / np.linalg.norm(row)


@dataclass(eq=False)
class Held:
    """An embedder whose calls wait at a gate once it is shut, and which counts as slow: it fails while its speed is measured."""

    identity: EmbedderId = field(default_factory=lambda: EmbedderId(name="held", version="0", dimensions=8))
    batches: list[list[str]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    broken: bool = True

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed once the gate is open."""
        if self.broken:
            raise RuntimeError("broken")
        self.batches.append(list(texts))
        self.threads.add(threading.get_ident())
        self.begun.set()
        if not self.gate.wait(GUARD_S):
            raise TimeoutError
        return np.stack([direction(text) for text in texts])


@contextmanager
def shut(held: Held) -> Iterator[None]:
    """Hold back what is asked for; open at the end, come what may."""
    held.gate.clear()
    try:
        yield
    finally:
        held.gate.set()


async def begun(held: Held) -> None:
    """Wait until a batch is in the thread."""
    assert await asyncio.to_thread(held.begun.wait, GUARD_S)


async def until_waiting(service: EmbeddingService, count: int) -> None:
    """Give the tasks that were just made, or cancelled, their first turns."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert count == service.waiting


def vector(found: Embedded) -> list[float]:
    """The vector, which must be there."""
    assert found.vector is not None, found.lacks
    return found.vector.tolist()  # type: ignore[no-any-return]


async def test_what_is_asked_for_at_once_is_embedded_in_batches_in_one_other_thread() -> None:
    """The first goes alone; those that came meanwhile go together, in their order; each caller has its own vector."""
    held = Held()
    async with embedding(held) as service, asyncio.TaskGroup() as group:
        held.broken = False
        with shut(held):
            first = group.create_task(service.embed("first"))
            await begun(held)
            rest = [group.create_task(service.embed(f"text {n}")) for n in range(MOST_IN_BATCH + 3)]
            await until_waiting(service, MOST_IN_BATCH + 3)
        found = [vector(await task) for task in [first, *rest]]

    assert [1, MOST_IN_BATCH, 3] == [len(batch) for batch in held.batches]
    assert found == [direction(text).tolist() for batch in held.batches for text in batch]
    assert {threading.get_ident()}.isdisjoint(held.threads)
    assert 1 == len(held.threads)


async def test_the_same_text_asked_for_by_many_is_embedded_once() -> None:
    """They share a place in the queue, and the vector is kept for those who come later."""
    held = Held()
    async with embedding(held) as service, asyncio.TaskGroup() as group:
        held.broken = False
        with shut(held):
            group.create_task(service.embed("other"))
            await begun(held)
            tasks = [group.create_task(service.embed("same")) for _ in range(5)]
            await until_waiting(service, 1)
        found = [vector(await task) for task in tasks]
        later = vector(await service.embed("same"))

    assert [["other"], ["same"]] == held.batches
    assert [direction("same").tolist()] * 6 == [*found, later]


async def test_a_caller_that_is_cancelled_takes_its_text_along() -> None:
    """It is not embedded, and those beside it are."""
    held = Held()
    async with embedding(held) as service, asyncio.TaskGroup() as group:
        held.broken = False
        with shut(held):
            group.create_task(service.embed("first"))
            await begun(held)
            gone, stays = (group.create_task(service.embed(text)) for text in ("gone", "stays"))
            await until_waiting(service, 2)
            gone.cancel()
            await until_waiting(service, 1)
        assert direction("stays").tolist() == vector(await stays)

    assert [["first"], ["stays"]] == held.batches
    assert gone.cancelled()


async def test_one_of_two_callers_of_a_text_may_go() -> None:
    """The other still gets its vector, also when the text is in the thread already."""
    held = Held()
    async with embedding(held) as service, asyncio.TaskGroup() as group:
        held.broken = False
        with shut(held):
            gone, stays = (group.create_task(service.embed("same")) for _ in range(2))
            await begun(held)
            gone.cancel()
            await asyncio.wait([gone])
        found = vector(await stays)

    assert (True, direction("same").tolist()) == (gone.cancelled(), found)


async def test_above_its_bound_the_queue_takes_no_more_and_says_so() -> None:
    """A job goes on without a vector at once, rather than wait in a line that grows."""
    held = Held()
    async with embedding(held, Bounds(waiting=2)) as service, asyncio.TaskGroup() as group:
        held.broken = False
        with shut(held):
            tasks = [group.create_task(service.embed("first"))]
            await begun(held)
            tasks += [group.create_task(service.embed(text)) for text in ("a", "b")]
            await until_waiting(service, 2)
            refused = await service.embed("c")
            tasks.append(group.create_task(service.embed("a")))  # it takes no place of its own
        found = [(await task).vector is not None for task in tasks]

    assert (None, "2 texts wait to be embedded") == (refused.vector, refused.lacks)
    assert [True] * 4 == found


async def test_an_embedder_that_fails_costs_the_vector_only_and_one_line() -> None:
    """Every caller gets none and the reason; the log has one line for the failures, and one when it works again."""
    held = Held()
    held.gate.set()
    async with embedding(held) as service:
        with capture_logs() as lines:
            failed = [await service.embed(f"text {n}") for n in range(3)]
            held.broken = False
            again = await service.embed("text 0")

    assert [(None, "the embedder failed")] * 3 == [(one.vector, one.lacks) for one in failed]
    assert direction("text 0").tolist() == vector(again)
    assert ["embed.failed", "embed.recovered"] == [line["event"] for line in lines]
    assert "text 0" not in str(lines)  # prompts are nobody's business


@dataclass(eq=False)
class Given:
    """An embedder that gives what it is told to."""

    rows: Callable[[Sequence[str]], Any]
    identity: EmbedderId = field(default_factory=lambda: EmbedderId(name="given", version="0", dimensions=8))
    threads: dict[str, int] = field(default_factory=dict)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give the rows, and note where."""
        self.threads |= dict.fromkeys(texts, threading.get_ident())
        return self.rows(texts)  # type: ignore[no-any-return]


def sound(texts: Sequence[str]) -> Vectors:
    """A unit vector for each text."""
    return np.stack([direction(text) for text in texts])


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize(
    "rows",
    [
        lambda _: np.empty((0, 8), dtype=np.float32),
        lambda texts: np.ones((len(texts) + 1, 8), dtype=np.float32),
        lambda texts: np.ones((len(texts), 7), dtype=np.float32),
        lambda texts: np.ones(len(texts), dtype=np.float32),
        lambda texts: np.full((len(texts), 8), np.nan, dtype=np.float32),
        lambda texts: np.full((len(texts), 8), np.inf, dtype=np.float32),
        lambda texts: np.full((len(texts), 8), 1e30, dtype=np.float32),
        lambda texts: np.full((len(texts), 8), 1e300),
        lambda texts: np.zeros((len(texts), 8), dtype=np.float32),
        lambda texts: [["a"] * 8 for _ in texts],
        lambda texts: [[None] * 8 for _ in texts],
        lambda _: None,
        lambda texts: (direction(text) for text in texts),
    ],
)
async def test_what_is_no_vector_is_none(rows: Callable[[Sequence[str]], Any], *, quick: bool) -> None:
    """Too few rows, too many, other lengths, numbers that are none or of another norm: a request goes without, also when several
    wait, and the next one finds the service at work."""
    given = Given(rows)
    async with embedding(given) as service:
        service.inline_chars = 1000 if quick else 0
        with capture_logs() as lines:
            failed = await asyncio.gather(*(service.embed(f"text {n}") for n in range(3)))
            given.rows = sound
            again = await service.embed("text 0")

    assert [(None, "the embedder failed")] * 3 == [(one.vector, one.lacks) for one in failed]
    assert direction("text 0").tolist() == vector(again)
    assert ["embed.failed", "embed.recovered"] == [line["event"] for line in lines]


async def test_a_text_without_a_vector_costs_those_beside_it_nothing() -> None:
    """One row of a batch is none: its text alone goes without, and it is not kept."""

    def one_bad(texts: Sequence[str]) -> Vectors:
        return np.stack([direction(text) * (np.nan if text == "bad" else 1.0) for text in texts])

    async with embedding(Given(one_bad)) as service:
        service.inline_chars = 0
        found = await asyncio.gather(*(service.embed(text) for text in ("a", "bad", "b")))

    assert [True, False, True] == [one.vector is not None for one in found]


async def test_a_quick_embedder_takes_short_texts_on_the_loop_and_long_ones_off_it() -> None:
    """Words may be made up that take a splitter a hundred times as long as others: the length alone bounds what they cost."""
    given = Given(sound)
    async with embedding(given) as service:
        service.inline_chars = 100
        await service.embed("s" * 100)
        await service.embed("l" * 101)

    assert (True, False) == tuple(given.threads[text] == threading.get_ident() for text in ("s" * 100, "l" * 101))


async def test_how_long_a_text_may_be_on_the_loop_is_measured_by_the_worst() -> None:
    """An embedder that takes its time for long words is slow, however fast it is with ordinary ones."""

    def slow_with_long_words(texts: Sequence[str]) -> Vectors:
        if any(len(word) > 50 for text in texts for word in text.split()):
            threading.Event().wait(0.02)
        return sound(texts)

    async with embedding(Given(slow_with_long_words)) as service:
        found = service.inline_chars

    assert found <= 15  # 303 letters in 20 ms at least


async def test_the_shipped_table_takes_no_long_text_on_the_loop() -> None:
    """Two thousand letters in words of a hundred take it ten times as long as the loop may be held up."""
    async with embedding(open_embedder(Tier.STATIC)) as service:
        found = service.inline_chars

    assert found < service.bounds.chars


async def test_the_end_of_the_service_answers_those_who_wait() -> None:
    """The running batch is waited for; nobody hangs, and no thread is left."""
    held = Held()
    with shut(held):
        async with asyncio.TaskGroup() as group:
            async with embedding(held) as service:
                held.broken = False
                running = group.create_task(service.embed("running"))
                await begun(held)
                waiting = group.create_task(service.embed("waiting"))
                await until_waiting(service, 1)
                asyncio.get_running_loop().call_soon(held.gate.set)
            ends = [await running, await waiting]

    assert direction("running").tolist() == vector(ends[0])
    assert (None, "the embedder failed") == (ends[1].vector, ends[1].lacks)
    assert [] == [thread.name for thread in threading.enumerate() if thread.name.startswith("embed")]


async def test_without_an_embedder_there_are_no_vectors_but_a_reason() -> None:
    """Routing goes on, and says what it lacks."""
    async with embedding(None) as service:
        found = await service.embed("anything")

    assert (None, "no embedder is set (DROVER_EMBEDDER)", None) == (found.vector, found.lacks, found.identity)


async def test_the_shipped_table_serves_many_at_once() -> None:
    """A hundred callers, ten texts: each gets what the embedder itself says, wherever it ran."""
    embedder = open_embedder(Tier.STATIC)
    assert embedder is not None
    texts = [f"What is {n} times {n}?" for n in range(10)]
    expected = embedder.embed(texts)
    async with embedding(embedder) as service, asyncio.TaskGroup() as group:
        tasks = [group.create_task(service.embed(texts[n % 10])) for n in range(100)]
    found = [task.result() for task in tasks]

    assert [expected[n % 10].tolist() for n in range(100)] == [vector(one) for one in found]
    assert {embedder.identity} == {one.identity for one in found}


async def test_what_is_kept_is_bounded_and_the_oldest_goes() -> None:
    """Two vectors are kept: the third pushes out the one that was used longest ago."""
    held = Held()
    held.gate.set()
    async with embedding(held, Bounds(kept=2)) as service:
        held.broken = False
        for text in ("a", "b", "a", "c", "a", "b"):
            await service.embed(text)

    assert [["a"], ["b"], ["c"], ["b"]] == held.batches


async def test_a_kept_vector_can_t_be_changed_by_who_holds_it() -> None:
    """It is everybody's."""
    async with embedding(open_embedder(Tier.STATIC)) as service:
        found = await service.embed("a")
    assert found.vector is not None

    with pytest.raises(ValueError, match="read-only"):
        found.vector[0] = 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("short", "short"), ("a" * 20, "a" * 20), ("a" * 16 + "b" * 100 + "c" * 5, "a" * 14 + " " + "c" * 5)],
)
def test_of_a_long_text_the_head_and_the_tail_are_read(text: str, expected: str) -> None:
    """20 characters: 14 of the head, a space, 5 of the tail."""
    assert expected == bounded(text, 20)
