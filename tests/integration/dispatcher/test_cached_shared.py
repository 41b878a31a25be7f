"""Two dispatchers, each with a fleet of its own, and one Redis: what one has answered the other gives. And what becomes of jobs
when the Redis is gone, frozen, full or poisoned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio as client
from pydantic import SecretStr

from common import codec
from dispatcher.cache.keys import place
from dispatcher.outcomes import Job
from dispatcher.settings import CacheSection
from tests.integration.dispatcher.house import House, memory_wires, open_house
from tests.integration.dispatcher.scripted import Hold, answer, go_on, until
from tests.integration.dispatcher.test_cached import desk
from tests.redis_server import RedisServer, needs_redis, redis_server
from tests.unit.dispatcher.builders import job

pytestmark = needs_redis


def _job(prompt: str) -> Job:
    return job(prompt, tenant="default")


def shared(server: RedisServer, *, budget_s: float = 1.0) -> CacheSection:
    """With time enough for a busy machine, unless a test is about that."""
    return CacheSection(mode="exact", redis_url=SecretStr(server.url), budget_s=budget_s)


@asynccontextmanager
async def two_houses(server: RedisServer) -> AsyncIterator[tuple[House, House]]:
    """They share nothing but the Redis."""
    async with (
        open_house(memory_wires, cache=shared(server)) as one,
        open_house(memory_wires, cache=shared(server)) as two,
    ):
        for house in (one, two):
            await until(lambda house=house: house.pipeline.cache.shelter.state == "open", "the store is there")  # type: ignore[misc]
        yield one, two


async def test_what_one_has_answered_the_other_gives() -> None:
    """Without asking a device of its own; both count the same entry."""
    async with redis_server() as server, two_houses(server) as (one, two):
        await one.device("nano", answer("Paris"))
        other = await two.device("pi5", answer("never"))
        await (await one.stream("capital of France")).end()
        stream = await two.stream("capital of France")
        end = await stream.end()
        entries = [(await desk(house, "stats"))["store"]["entries"] for house in (one, two)]

    assert ("Paris", 0, [1, 1]) == (stream.text, len(other.attempts), entries)
    assert "nano" == (end.route or {})["cache"]["source"]["device"]


async def test_many_at_once_on_both_are_one() -> None:
    """While one makes an answer the other one waits for it, and gives it to all who ask there."""
    async with redis_server() as server, two_houses(server) as (one, two):
        hold = Hold("one ", then=go_on("two"))
        await one.device("nano", hold)
        other = await two.device("pi5", answer("never"))
        first = await one.stream("hi")
        await hold.reached.wait()
        waiting = [await two.stream("hi") for _ in range(3)]
        await until(lambda: two.pipeline.running == 3, "they wait")
        hold.released.set()
        await first.end()
        for stream in waiting:
            await stream.end()

    assert ({"one two"}, 0) == ({stream.text for stream in waiting}, len(other.attempts))


async def test_a_dispatcher_that_has_died_holds_nobody_up() -> None:
    """Its claim ends by itself, and whoever waits makes the answer."""
    async with redis_server() as server, open_house(memory_wires, cache=shared(server)) as house:
        nano = await house.device("nano", answer("made here"))
        await until(lambda: house.pipeline.cache.shelter.state == "open", "the store is there")
        name = place(_job("hi"), strategy="hybrid", epoch="").exact
        assert await house.pipeline.cache.shelter._answers.claim("default", name, "dead", 1.0)
        stream = await house.stream("hi")
        await until(lambda: house.pipeline.cache.waiting == 1, "it waits")
        before = len(nano.attempts)
        await stream.end()

    assert ("made here", 0) == (stream.text, before)


async def test_somebody_at_a_screen_does_not_wait_for_another_dispatcher() -> None:
    """How urgent the other one's job is nobody knows: it may stand in a line."""
    async with redis_server() as server, open_house(memory_wires, cache=shared(server)) as house:
        await house.device("nano", answer("at once"))
        name = place(_job("hi"), strategy="hybrid", epoch="").exact
        assert await house.pipeline.cache.shelter._answers.claim("default", name, "other", 600.0)
        stream = await house.stream("hi", priority="interactive")
        await stream.end()

    assert "at once" == stream.text


async def test_a_begun_answer_is_never_followed_by_another_one() -> None:
    """The leader fails, and the other dispatcher has an answer meanwhile: who has heard a part goes on with that."""
    async with redis_server() as server, two_houses(server) as (one, two):
        hold = Hold("one ")
        nano = await one.device("nano", hold, answer("two"), slots=8)
        await two.device("pi5", answer("WHOLE OTHER ANSWER"))
        leader = await one.stream("hi", job="leader")
        await until(lambda: leader.text == "one ", "it runs")
        follower = await one.stream("hi", job="follower")
        await until(lambda: follower.text == "one ", "it hears")
        await (await two.stream("hi", priority="interactive")).end()
        await until(lambda: not len(two.pipeline.cache.flights), "the other one's answer is kept")
        await one.order("leader", "cancel")
        await leader.error()
        await follower.end()

    assert ("one two", 2) == (follower.text, len(nano.attempts))


async def test_who_gives_up_an_answer_holds_nobody_up() -> None:
    """Its job is cancelled, and the other dispatcher makes the answer."""
    async with redis_server() as server, two_houses(server) as (one, two):
        hold = Hold("one ")
        await one.device("nano", hold)
        await two.device("pi5", answer("made here"))
        first = await one.stream("hi", job="first")
        await hold.reached.wait()
        second = await two.stream("hi")
        await until(lambda: two.pipeline.running == 1, "it waits")
        await one.order("first", "cancel")
        await first.error()
        await second.end()

    assert "made here" == second.text


async def test_a_redis_that_goes_costs_no_job() -> None:
    """Killed, and back empty: jobs run meanwhile, the state is told, and then answers are kept again."""
    async with redis_server() as server, open_house(memory_wires, cache=shared(server)) as house:
        nano = await house.device("nano", answer("x"))
        await (await house.stream("hi")).end()
        await server.kill()
        for _ in range(5):
            await (await house.stream("hi")).end()
        told = await desk(house, "stats")
        await server.restart()
        await until(lambda: house.pipeline.cache.shelter.state != "open", "it was noticed")
        ran = len(nano.attempts)

        async def kept() -> bool:
            stream = await house.stream("hi")
            return "hit" == ((await stream.end()).route or {})["cache"]["outcome"]

        async with asyncio.timeout(30.0):
            while not await kept():  # noqa: ASYNC110  # the breaker cools down, which nobody is told
                await asyncio.sleep(0.1)

    assert 6 == ran
    assert "open" != told["store"]["state"]


async def test_a_frozen_redis_costs_milliseconds() -> None:
    """Each job goes on after its budget, and after a few of them none asks any more."""
    async with redis_server() as server, open_house(memory_wires, cache=shared(server, budget_s=0.02)) as house:
        await house.device("nano", answer("x"))
        await (await house.stream("warm up")).end()
        server.pause()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number in range(20):
            await (await house.stream(f"hi {number}")).end()
        took_s = loop.time() - began_s
        told = await desk(house, "stats")
        server.resume()

    assert took_s < 10.0  # a client that waits a second for its server would need twenty
    assert told["store"]["state"] in {"slow", "away"}


async def test_a_full_redis_costs_nothing_and_is_told() -> None:
    """What can't be kept is not kept."""
    full = ("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")
    async with redis_server(*full) as server, open_house(memory_wires, cache=shared(server)) as house:
        nano = await house.device("nano", answer("x"))
        for _ in range(3):
            await (await house.stream("hi")).end()
            await until(lambda: not len(house.pipeline.cache.flights), "it was tried to keep the answer")
        told = await desk(house, "stats")

    assert (3, "full") == (len(nano.attempts), told["store"]["state"])


async def test_an_entry_of_another_tenant_under_ones_own_key_is_none() -> None:
    """Whoever can write to the Redis still gives nobody another tenant's answer: what lies there says whose it is."""
    async with redis_server() as server, open_house(memory_wires, cache=shared(server)) as house:
        nano = await house.device("nano", answer("secret of a"), answer("answer to b"))
        for tenant in ("a", "b"):
            await (await house.send(codec.encode({"prompt": "hi", "stream": True}), tenant=tenant)).end()
        async with client.Redis.from_url(server.url) as raw:
            names = [name async for name in raw.scan_iter("*:e:*")]
            values = [await raw.get(name) for name in names]
            for name, value in zip(names, reversed(values), strict=True):
                await raw.set(name, value or b"")
        stream = await house.send(codec.encode({"prompt": "hi", "stream": True}), tenant="b")
        await stream.end()

    assert (2, 3) == (len(names), len(nano.attempts))
    assert "secret of a" != stream.text


async def test_a_wrong_password_is_told_and_costs_nothing() -> None:
    """The state says that it is refused; no log and no figure shows the word."""
    async with redis_server("--requirepass", "right") as server:
        url = SecretStr(server.url.replace("redis://", "redis://:wrong-canary@"))
        async with open_house(memory_wires, cache=CacheSection(mode="exact", redis_url=url, budget_s=1.0)) as house:
            nano = await house.device("nano", answer("x"))
            for _ in range(4):
                await (await house.stream("hi")).end()
            told = await desk(house, "stats")

    assert 4 == len(nano.attempts)
    assert told["store"]["state"] in {"refused", "away"}
    assert "canary" not in str(told)
