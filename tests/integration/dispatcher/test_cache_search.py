"""Looking through a matrix leaves the event loop when it takes long, and never mixes up rows that move meanwhile."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from dispatcher.cache.index.rows import Rows
from dispatcher.cache.index.search import INLINE_S, TELLING, Search
from dispatcher.embed.protocol import Vector


def axis(number: int) -> Vector:
    """Give a vector of norm 1 along one axis."""
    return np.eye(8, dtype=np.float32)[number]


@pytest.fixture
def rows() -> Rows:
    """Eight rows, one along each axis, under the axis' number."""
    kept = Rows(8, 100)
    for number in range(8):
        kept.add(str(number), axis(number))
    return kept


@pytest.fixture
def threaded() -> Search:
    """A search on a machine so slow that nothing is looked through on the loop."""
    search = Search()
    search.pace_s = 1.0
    return search


async def test_a_long_search_leaves_the_loop(rows: Rows, threaded: Search) -> None:
    """While it is under way the loop goes on, and what it finds is the same."""
    turns = 0
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(threaded.nearest(rows, axis(3), 1))
        while not looking.done():
            turns += 1
            await asyncio.sleep(0)

    assert turns > 0
    assert [("3", 1.0)] == [(near.exact, near.similarity) for near in looking.result()]


async def test_a_short_search_stays(rows: Rows) -> None:
    """Nothing is awaited where it takes microseconds."""
    looking = Search().nearest(rows, axis(3), 1)

    with pytest.raises(StopIteration) as done:
        looking.send(None)

    assert ["3"] == [near.exact for near in done.value.value]


async def test_a_row_that_moved_is_told_under_its_own_key(rows: Rows, threaded: Search) -> None:
    """A removal fills its hole with the last row: neither is found as what stood there when the search began."""
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(threaded.nearest(rows, axis(3), 1))
        await asyncio.sleep(0)
        rows.remove("3")

    assert [("7", 0.0)] == [(near.exact, near.similarity) for near in looking.result()]


async def test_what_was_purged_meanwhile_is_not_found(rows: Rows, threaded: Search) -> None:
    """A search that began before finds nothing."""
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(threaded.nearest(rows, axis(3), 5))
        await asyncio.sleep(0)
        rows.clear()

    assert [] == looking.result()


async def test_the_pace_is_measured(threaded: Search) -> None:
    """A machine that proves faster than was thought searches on the loop again; what is too small to tell changes nothing."""
    small, large = Rows(8, 10), Rows(1000, 200)
    small.add("0", axis(0))
    vector = np.full(1000, 1000**-0.5, dtype=np.float32)
    for number in range(TELLING // 1000 + 1):
        large.add(str(number), vector)
    await threaded.nearest(small, axis(0), 1)
    assert 1.0 == threaded.pace_s

    for _ in range(200):
        await threaded.nearest(large, vector, 1)

    assert 0 < threaded.pace_s < INLINE_S / TELLING
    assert not threaded.leaves(large.matrix)


def test_what_is_not_used_is_given_back() -> None:
    """A scope that shrank takes less memory, and holds what it held."""
    rows = Rows(8, 1000)
    for number in range(1000):
        rows.add(str(number), axis(number % 8))
    full = rows.size_bytes
    for number in range(990):
        rows.remove(str(number))

    assert rows.size_bytes < full / 20
    assert {"991", "999"} == {near.exact for near in rows.judged(np.arange(10), axis(7), 2)}
