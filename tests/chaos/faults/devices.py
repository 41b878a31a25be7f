"""Faults of devices: an agent is killed, frozen, or cut off from the bus.

Each world has devices that stream for half a second, so that a fault meets answers midway, and echo agents that a crowd of short
jobs runs on, so that it meets jobs at every other point as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from tests.chaos.load import Load, load
from tests.chaos.outcome import Figure, Moves, Outcome, Size, moves, outcome, spread
from tests.chaos.questions import questions
from tests.chaos.world import Agent, Plan, World, world

FALLBACK_S = 0.25
ACCEPT_S = 0.5
STALL_S = 3.0

_STREAMS = 4
"""Fewer than the fleet has slots with one device gone: what is measured is the finding, not the queue."""

_FLEET = Plan(dispatchers=2, simulated=3, echo=3, slots=4)
_MANY = Plan(dispatchers=2, simulated=3, echo=3, slots=4, proxied=True)

_SHORT_S = 4.0
"""A second more than the stall clock: what an echo agent held when it was frozen is found in it."""

_SOON_S = 0.25
"""Less than the accept clock: the job that comes to a frozen agent must not have left it when the agent is killed."""


async def killed(size: Size) -> Outcome:
    """F3: kill -9 an agent, once before it accepts a job and once in the middle of a stream, `rounds` times."""
    early: list[float] = []
    midway: list[float] = []
    async with world(_FLEET) as house:
        async with _load(house, size, per_s=300.0) as asked:
            await asked.answered(4)
            rounds = 0
            while rounds < size.rounds or not (early and midway):  # the stream may have been at its end
                rounds += 1
                victim = await _streaming(house, asked)
                midway += (await _kill(asked, victim)).held
                early += (await _kill(asked, await _given(house, asked))).held
        return outcome(
            "F3",
            "kill -9 an agent, mid-stream and before it accepts",
            house,
            asked,
            spread("fallback starts, mid-stream,", midway, FALLBACK_S),
            spread("fallback starts, before accept,", early, FALLBACK_S),
        )


async def _kill(asked: Load, victim: Agent) -> Moves:
    """Kill an agent and start it again; gives how long each of its jobs took to be given to another."""
    since_s = _now()
    await victim.member.kill()
    await asked.answered(_STREAMS)
    found = moves(asked, victim.name, since_s)
    await victim.member.start()
    return found


async def frozen(size: Size) -> Outcome:
    """F4: kill -STOP an agent that has streams, and let it go on later: what it sends then is nobody's answer.

    Meanwhile the echo agents are frozen for some seconds, one after the other.
    """
    async with world(_FLEET) as house:
        async with _load(house, size, per_s=260.0) as asked:
            await asked.answered(4)
            victim = await _streaming(house, asked)
            since_s = _now()
            victim.member.freeze()
            short = Moves([], [])
            number = 0
            while _now() < since_s + size.freeze_s:
                found = await _shortly(house, asked, min(_SHORT_S, size.freeze_s))
                short.held.extend(found.held)
                short.new.extend(found.new)
                number += 1
            away = moves(asked, victim.name, since_s)
            victim.member.thaw()
            back = await _back(asked, victim)
        return outcome(
            "F4",
            f"kill -STOP an agent for {size.freeze_s:g} s, and {number} for {_SHORT_S:g} s, then CONT",
            house,
            asked,
            spread("mid-stream found", away.held + short.held, STALL_S),
            spread("for new jobs found", away.new + short.new, ACCEPT_S),
            Figure(name="serves again after", value=back, unit="s"),
        )


async def _shortly(house: World, asked: Load, lasting_s: float) -> Moves:
    """Freeze an echo agent for some seconds, one to which jobs come."""
    since_s = _now()
    victim = await _given(house, asked)
    await asyncio.sleep(lasting_s)  # the fault's own length
    found = moves(asked, victim.name, since_s)
    victim.member.thaw()
    await _back(asked, victim)
    return found


async def partitioned(size: Size) -> Outcome:
    """F5: nothing passes between two agents and the bus: in neither direction, then in one, then in the other."""
    found = Moves([], [])
    figures: list[Figure] = []
    async with world(_MANY) as house:
        async with _load(house, size, per_s=220.0) as asked:
            await asked.answered(4)
            for number, (way, closed) in enumerate(_WAYS.items()):
                victims = [await _streaming(house, asked), house.echoes[number % len(house.echoes)]]
                back_s = await _cut_off(asked, victims, closed, size.freeze_s / 2, found)
                figures.append(Figure(name=f"cut off {way}: serve again after", value=back_s, unit="s"))
        return outcome(
            "F5",
            "agents cut off from the bus, both ways and one way, then healed",
            house,
            asked,
            spread("mid-stream found", found.held, STALL_S),
            spread("for new jobs found", found.new, ACCEPT_S),
            *figures,
        )


_WAYS: Mapping[str, Mapping[str, bool]] = {"both ways": {}, "to bus": {"down": False}, "from bus": {"up": False}}


async def _cut_off(asked: Load, victims: list[Agent], closed: Mapping[str, bool], away_s: float, found: Moves) -> float:
    """Let agents be cut off for some time, and add how fast that was found; gives how long they took to serve again."""
    since_s = _now()
    proxies = [victim.proxy for victim in victims if victim.proxy is not None]
    for proxy in proxies:
        proxy.blackhole(**closed)
    await asyncio.sleep(away_s)  # the fault's own length
    for victim in victims:
        moved = moves(asked, victim.name, since_s)
        found.held.extend(moved.held)
        found.new.extend(moved.new)
    for proxy in proxies:
        proxy.heal()
    return max([await _back(asked, victim) for victim in victims])


async def _streaming(house: World, asked: Load) -> Agent:
    """Give an agent that is in the middle of an answer."""
    placed = await asked.tap.until_streaming({agent.name for agent in house.simulated})
    return house.agent(placed.device)


async def _given(house: World, asked: Load) -> Agent:
    """Freeze an echo agent, and give it when a job has come to it that it can't accept any more."""
    names = {agent.name for agent in house.echoes}
    while True:
        victim = house.agent((await asked.tap.until_placed(lambda placed: placed.device in names)).device)
        victim.member.freeze()
        try:
            await asked.tap.until_placed(lambda placed: placed.device == victim.name, within_s=_SOON_S)  # noqa: B023
        except TimeoutError:
            victim.member.thaw()
        else:
            return victim


async def _back(asked: Load, victim: Agent) -> float:
    """Give how long it takes until the agent answers again a job that only it may answer."""
    since_s = _now()
    source = (
        questions("echo", prefix=f"pinned-{since_s:.6f}".replace(".", "-"))
        if victim.device is None
        else asked.questions
    )
    await asked.ask(next(source), device=victim.name)
    return _now() - since_s


def _load(house: World, size: Size, *, per_s: float) -> AbstractAsyncContextManager[Load]:
    return load(house.nats.url, questions(house.model), concurrency=_STREAMS, crowd=size.crowd(per_s))


def _now() -> float:
    return asyncio.get_running_loop().time()
