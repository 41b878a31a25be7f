"""What a request notices of a Redis that is away, slow, full or unwilling: nothing but some milliseconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from common.clock import LoopClock
from common.errors import CacheUnavailable
from dispatcher.cache.redis_client import RedisClient, redis_client
from dispatcher.cache.store import Shelter
from dispatcher.cache.store.redis import RedisAnswers
from tests.answers import HandClock, entry, key, settings
from tests.redis_server import RedisServer, needs_redis, redis_server

pytestmark = needs_redis

GUARD_S = 60.0
BUDGET_S = 0.02
AMPLE_S = 20.0
"""A budget for what must be answered, however busy the machine is."""

QUICK_S = 1.0
"""Ten questions within their budgets take a fifth of it at most; one that waits for a connection's time-out takes longer."""


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[RedisClient]:
    async with redis_client(server.url) as one:
        await one.run(("PING",))
        yield one


@pytest.fixture
def all_told() -> Iterator[None]:
    """Have good news be logged too, as in a dispatcher."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield
    structlog.configure(**before)


@pytest.fixture
def clock() -> HandClock:
    """The shelter's: its breaker opens and closes when the test says so."""
    return HandClock()


def sheltered(client: RedisClient, clock: HandClock | LoopClock, budget_s: float = BUDGET_S) -> Shelter:
    """Give a store as requests see it; what it keeps does not age."""
    return Shelter(RedisAnswers(client, settings(), HandClock()), None, kind="redis", budget_s=budget_s, clock=clock)


def events(lines: list[MutableMapping[str, Any]]) -> list[str]:
    return [line["event"] for line in lines]


async def asked(shelter: Shelter) -> bool:
    """Look for an answer as a request does."""
    return await shelter.request().get("alice", [key("one")]) != [None]


async def until_asked(shelter: Shelter, clock: HandClock) -> None:
    """Let the cool-downs pass until there is an answer."""
    async with asyncio.timeout(GUARD_S):
        while not await asked(shelter):
            clock.now_s += 30.0


@dataclass(slots=True)
class Knocks:
    """How often somebody connected."""

    count: int = 0


@asynccontextmanager
async def in_place_of(server: RedisServer) -> AsyncIterator[Knocks]:
    """Take the place of a server that is dead, and hang up on everybody."""
    knocks = Knocks()

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        knocks.count += 1
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", server.port):
        yield knocks


@pytest.mark.usefixtures("all_told")
async def test_an_answer_goes_through(client: RedisClient, clock: HandClock) -> None:
    """Where nothing is wrong, nothing is said."""
    with capture_logs() as lines:
        shelter = sheltered(client, clock, AMPLE_S)
        await shelter.put(entry())
        found = await asked(shelter)

    assert (True, ["open"], []) == (found, [one.state for one in shelter.health], events(lines))


@pytest.mark.usefixtures("all_told")
async def test_a_server_that_dies_and_comes_back(server: RedisServer, client: RedisClient, clock: HandClock) -> None:
    """Requests find nothing meanwhile; there is one line when it goes, and one when it is back."""
    shelter = sheltered(client, clock, AMPLE_S)
    await shelter.put(entry())
    with capture_logs() as lines:
        await server.kill()
        found = [await asked(shelter) for _ in range(20)]
        away = shelter.health[0]
        await server.restart()
        clock.now_s += 1.0
        await shelter.put(entry())
        await until_asked(shelter, clock)

    assert [False] * 20 == found
    assert ("away", HandClock().now_s) == (away.state, away.since_unix_s)
    assert (["cache.away", "cache.back"], "open") == (events(lines), shelter.health[0].state)


async def test_a_frozen_server_delays_nobody(server: RedisServer, client: RedisClient) -> None:
    """Thirty requests of three questions each, one after the other, wait for three budgets in all; then nobody waits."""
    shelter = sheltered(client, LoopClock())
    server.pause()
    started_s = time.monotonic()
    for _ in range(30):
        asking = shelter.request()
        await asking.get("alice", [key("one")])
        await asking.claim("alice", key("one"), "me", 60.0)
        await asking.get("alice", [key("two")])
    await shelter.put(entry())
    took_s = time.monotonic() - started_s
    server.resume()

    assert took_s < QUICK_S
    assert "slow" == shelter.health[0].state


async def test_one_request_waits_for_one_budget(server: RedisServer, client: RedisClient) -> None:
    """All that it asks comes out of the same twenty milliseconds: a hundred questions wait no longer than one."""
    shelter = sheltered(client, LoopClock())
    asking = shelter.request()
    server.pause()
    started_s = time.monotonic()
    for _ in range(100):
        await asking.get("alice", [key("one")])
    took_s = time.monotonic() - started_s
    server.resume()

    assert took_s < QUICK_S
    assert asking.left_s <= 0


async def test_a_crowd_waits_for_one_budget(server: RedisServer, client: RedisClient) -> None:
    """Two hundred requests at once wait side by side."""
    shelter = sheltered(client, LoopClock())
    server.pause()
    started_s = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        found = [tasks.create_task(asked(shelter)) for _ in range(200)]
    took_s = time.monotonic() - started_s
    server.resume()

    assert {False} == {task.result() for task in found}
    assert took_s < 5 * QUICK_S


async def test_nobody_connects_while_the_breaker_is_open(
    server: RedisServer, client: RedisClient, clock: HandClock
) -> None:
    """Three failures open it; however many ask then, there is no further connection until its time is over, and then one."""
    shelter = sheltered(client, clock, AMPLE_S)
    await server.kill()
    async with in_place_of(server) as knocks:
        for _ in range(3):
            await asked(shelter)
        before = knocks.count
        for _ in range(100):
            await asked(shelter)
            await shelter.put(entry())
        inside = knocks.count - before
        clock.now_s += 1.0
        async with asyncio.TaskGroup() as tasks:
            for _ in range(100):
                tasks.create_task(asked(shelter))

    assert (3, 0, 1) == (before, inside, knocks.count - before)


async def test_the_cool_down_doubles_to_half_a_minute(
    server: RedisServer, client: RedisClient, clock: HandClock
) -> None:
    """1, 2, 4, 8, 16 and 30 s, and then every 30 s, one request tries."""
    shelter = sheltered(client, clock, AMPLE_S)
    await server.kill()
    waits: list[float] = []
    async with in_place_of(server) as knocks:
        for _ in range(3):
            await asked(shelter)
        before, began_s = knocks.count, clock.now_s
        while len(waits) < 7:
            clock.now_s += 0.5
            await asked(shelter)
            if knocks.count != before:
                waits.append(clock.now_s - began_s)
                before, began_s = knocks.count, clock.now_s

    assert [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] == waits


@pytest.mark.usefixtures("all_told")
async def test_a_full_server_is_still_read(client: RedisClient, clock: HandClock) -> None:
    """What was kept is given, what is new is not kept, and health says why; with room it is open again."""
    shelter = sheltered(client, clock, AMPLE_S)
    await shelter.put(entry("one"))
    with capture_logs() as lines:
        await client.run(("CONFIG", "SET", "maxmemory", "64kb"))
        for _ in range(5):
            await shelter.put(entry("two"))
        found, full = await asked(shelter), shelter.health[0].state
        await client.run(("CONFIG", "SET", "maxmemory", "0"))
        await shelter.put(entry("two"))

    assert (True, "full", "open") == (found, full, shelter.health[0].state)
    assert ["cache.full", "cache.room"] == events(lines)


async def test_a_password_that_is_not_accepted(clock: HandClock) -> None:
    """Requests go on without; health and log say what is wrong, and none of it has the password."""
    async with (
        redis_server("--requirepass", "richtig") as server,
        redis_client(server.url.replace("//", "//:geheim@")) as client,
    ):
        shelter = sheltered(client, clock, AMPLE_S)
        with capture_logs() as lines:
            found = [await asked(shelter) for _ in range(5)]
        (stats,) = await shelter.stats()

    assert ([False] * 5, "refused", "refused") == (found, shelter.health[0].state, stats.state)
    assert "password" in shelter.health[0].why
    assert "geheim" not in f"{lines} {stats} {shelter.health}"


async def test_operators_are_told(server: RedisServer, client: RedisClient, clock: HandClock) -> None:
    """To forget, to list and to look fail aloud: a purge that did nothing must not look like one that did."""
    shelter = sheltered(client, clock)
    await server.kill()

    for order in (
        shelter.purge("alice"),
        shelter.purge(None),
        shelter.remove("alice", [key("one")]),
        shelter.listed(None, limit=5),
        shelter.found("alice", [key("one")]),
    ):
        with pytest.raises(CacheUnavailable):
            await order


async def test_figures_are_given_whatever_happens(server: RedisServer, client: RedisClient, clock: HandClock) -> None:
    """Away, they are those that were known last, with the state and why."""
    shelter = sheltered(client, clock, AMPLE_S)
    await shelter.put(entry())
    (before,) = await shelter.stats()
    await server.kill()
    for _ in range(3):
        await asked(shelter)

    (after,) = await shelter.stats()

    assert (("open", 1), ("away", 1)) == ((before.state, before.entries), (after.state, after.entries))
    assert str(server.port) in after.detail


async def test_who_leaves_during_the_trial_hands_it_on(
    server: RedisServer, client: RedisClient, clock: HandClock
) -> None:
    """A request that is cancelled while it tries for all is no failure, and the next one tries."""
    shelter = sheltered(client, clock, AMPLE_S)
    await shelter.put(entry())
    await server.kill()
    for _ in range(3):
        await asked(shelter)
    await server.restart()
    server.pause()
    clock.now_s += 1.0
    async with asyncio.TaskGroup() as tasks:
        trial = tasks.create_task(asked(shelter))
        await asyncio.sleep(0)
        trial.cancel()
    server.resume()
    await shelter.put(entry())

    assert await asked(shelter)


async def test_a_claim_that_nobody_can_know_of_is_held(
    server: RedisServer, client: RedisClient, clock: HandClock
) -> None:
    """Where Redis is away each dispatcher makes its answers, as if it were alone."""
    shelter = sheltered(client, clock)
    await server.kill()

    assert [True] * 5 == [await shelter.request().claim("alice", key("one"), "me", 60.0) for _ in range(5)]
