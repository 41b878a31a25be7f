"""Faults of devices: an agent is killed, frozen, or cut off from the bus."""

from __future__ import annotations

import asyncio

from tests.chaos.load import Load, load
from tests.chaos.outcome import Figure, Moves, Outcome, Size, moves, outcome, spread
from tests.chaos.questions import questions
from tests.chaos.world import Agent, Plan, World, world

FALLBACK_S = 0.25
ACCEPT_S = 0.5
STALL_S = 3.0

_SHORTLY_S = 0.4
"""Less than the accept clock: the job that comes to a frozen agent must not have left it when the agent is killed."""

_STREAMS = 4
"""Fewer than the fleet has slots with one device gone: what is measured is the finding, not the queue."""


async def killed(size: Size) -> Outcome:
    """F3: kill -9 an agent, once before it accepts a job and once in the middle of a stream, `rounds` times."""
    early: list[float] = []
    midway: list[float] = []
    async with world(Plan(dispatchers=2, simulated=3, slots=4)) as house:
        async with load(house.nats.url, questions(house.model), concurrency=_STREAMS) as asked:
            await asked.answered(4)
            for _ in range(size.rounds):
                midway += (await _kill(house, asked, accepted=True)).held
                early += (await _kill(house, asked, accepted=False)).held
        return outcome(
            "F3",
            "kill -9 an agent, mid-stream and before it accepts",
            house,
            asked,
            spread("fallback starts, mid-stream,", midway, FALLBACK_S),
            spread("fallback starts, before accept,", early, FALLBACK_S),
        )


async def _kill(house: World, asked: Load, *, accepted: bool) -> Moves:
    """Kill the agent that is given the next job; gives how long each of its jobs took to be given to another."""
    victim = house.agent((await asked.tap.until_streaming()).device)
    while not accepted:
        # The next job goes to it as long as it is believed to be well; else it is some other's turn.
        victim.member.freeze()
        try:
            await asked.tap.until_placed(lambda placed: placed.device == victim.name, within_s=_SHORTLY_S)  # noqa: B023
            break
        except TimeoutError:
            victim.member.thaw()
            victim = house.agent(asked.tap.placed[-1].device)
    since_s = _now()
    await victim.member.kill()
    await asked.answered(2 * _STREAMS)
    found = moves(asked, victim.name, since_s)
    await victim.member.start()
    await asked.answered(_STREAMS)
    return found


async def frozen(size: Size) -> Outcome:
    """F4: kill -STOP an agent that has streams, and let it go on later: what it sends then is nobody's answer."""
    async with world(Plan(dispatchers=2, simulated=3, slots=4)) as house:
        async with load(house.nats.url, questions(house.model), concurrency=_STREAMS) as asked:
            await asked.answered(4)
            victim = house.agent((await asked.tap.until_streaming()).device)
            victim.member.freeze()
            figures = await _away(asked, victim, size.freeze_s)
            victim.member.thaw()
            figures.append(await _back(asked, victim))
        return outcome("F4", f"kill -STOP an agent for {size.freeze_s:g} s, then CONT", house, asked, *figures)


async def partitioned(size: Size) -> Outcome:
    """F5: nothing passes between an agent and the bus: in neither direction, then in one, then in the other."""
    figures: list[Figure] = []
    async with world(Plan(dispatchers=2, simulated=3, slots=4, proxied=True)) as house:
        async with load(house.nats.url, questions(house.model), concurrency=_STREAMS) as asked:
            await asked.answered(4)
            for way, closed in _WAYS.items():
                victim = house.agent((await asked.tap.until_streaming()).device)
                assert victim.proxy is not None
                victim.proxy.blackhole(**closed)
                figures += await _away(asked, victim, size.freeze_s / 2, note=f"{way}: ")
                victim.proxy.heal()
                figures.append(await _back(asked, victim, note=f"{way}: "))
        return outcome("F5", "agent cut off from the bus, both ways and one way, then healed", house, asked, *figures)


_WAYS = {"both": {}, "to bus": {"down": False}, "from bus": {"up": False}}


async def _away(asked: Load, victim: Agent, away_s: float, *, note: str = "") -> list[Figure]:
    """Let an agent be away for some time; gives how fast that was found, for jobs it had and for those it was given then."""
    since_s = _now()
    await asyncio.sleep(away_s)  # the fault's own length
    found = moves(asked, victim.name, since_s)
    return [
        spread(f"{note}mid-stream found", found.held, STALL_S),
        spread(f"{note}for new jobs found", found.new, ACCEPT_S),
    ]


async def _back(asked: Load, victim: Agent, *, note: str = "") -> Figure:
    """Give how long it takes until the agent answers again a job that only it may answer."""
    since_s = _now()
    question = next(asked.questions)
    await asked.ask(question, device=victim.name)
    await asked.answered(2 * _STREAMS)
    return Figure(name=f"{note}serves again after", value=_now() - since_s, unit="s")


def _now() -> float:
    return asyncio.get_running_loop().time()
