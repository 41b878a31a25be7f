"""A conversation goes on where its beginning was read: on simulated boards with real agents, and past a device that is busy."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from common.frames import End
from common.messages import Message, Role, Speed
from dispatcher.routing.warmth import trail
from tests.integration.dispatcher.house import House, Stream, memory_wires, open_house
from tests.integration.dispatcher.scripted import MODEL, Hold, answer, until
from tests.integration.dispatcher.test_limits import Sum, agent, board, ready, served

SMALL = "qwen2.5:0.5b"
LONG = "Why is the sky blue, and not violet, when violet light has the shorter waves? " * 8


def turns(*texts: str) -> list[dict[str, str]]:
    """A conversation in which the user speaks first."""
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]


async def asked(house: House, messages: list[dict[str, str]], **fields: Any) -> Stream:
    """Ask a conversation's next turn."""
    return await house.talk(messages, model=SMALL, options={"max_tokens": 8}, **fields)


def device_of(end: End) -> str:
    return str((end.route or {})["device"])


async def loaded(house: House, *names: str) -> None:
    """Wait until heartbeats say that the model is in memory there."""

    def heard() -> bool:
        known = house.pipeline.roster.fleet.devices
        return all(known[name].models[SMALL].loaded for name in names)

    await until(heard, "the model is in memory")


async def test_a_second_turn_reads_only_what_is_new() -> None:
    """It goes to the board that has read the first one, is counted whole, and takes a fraction of the other board's time to the
    first token; the route and the record say why."""
    async with open_house(memory_wires) as house, AsyncExitStack() as boards:
        for name in ("a", "b"):
            url = await boards.enter_async_context(served(board(Sum())))
            await boards.enter_async_context(agent(house.world, name, url))
        await ready(house, ("a", "b"))
        first = await asked(house, turns(LONG))
        there = device_of(await first.end())
        other = "ab".replace(there, "")
        await (await asked(house, turns("Something else. " * 12), device=other)).end()
        await loaded(house, "a", "b")
        again = turns(LONG, first.text, "And why is it red at dusk?")
        second = await asked(house, again, job="second")
        warm = await second.end()
        cold = await (await asked(house, again, device=other)).end()
        record = await house.event("second")

    assert (there, other) == (device_of(warm), device_of(cold))
    assert warm.usage.prompt_tokens == cold.usage.prompt_tokens
    assert 5 * (warm.engine.prefill_s or 9.0) < (cold.engine.prefill_s or 0.0)
    told = (warm.route or {})["features"]["warm_prefix"]
    assert [f"{SMALL}@{there}"] == list(told)
    assert f"warm prefix: {told[f'{SMALL}@{there}']} tokens" in str(record["reason"])


async def test_nobody_waits_for_a_warm_device_that_is_busy() -> None:
    """While another one is free it gets the next turn at once, however much the busy one has read."""
    speeds = {MODEL: Speed(jobs=9, prefill_tps=10.0, decode_tps=10.0)}
    async with open_house(memory_wires) as house:
        hold = Hold(then=answer("busy"))
        warm = await house.device("warm", answer("first"), hold, speeds=speeds)
        names = trail("default", (Message(role=Role.USER, content=LONG),)).names
        await (await house.stream(LONG, device="warm")).end()
        cold = await house.device("cold", answer("second"), speeds=speeds)
        known = house.pipeline.router._affinity._by_name
        busy = await house.stream("keep it busy", device="warm")
        await hold.reached.wait()
        kept = names[0] in known
        end = await (await house.talk(turns(LONG, "first", "and?"))).end()
        hold.released.set()
        await busy.end()

    assert (True, "cold", 1, 2) == (kept, device_of(end), len(cold.attempts), len(warm.attempts))
    assert f"{MODEL}@warm" in (end.route or {})["features"]["warm_prefix"]
