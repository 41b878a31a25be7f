"""Faults of the broker: it is killed or restarted under load, and keeps its port and its store."""

from __future__ import annotations

import asyncio

from tests.chaos.load import load
from tests.chaos.outcome import Outcome, Size, outcome, spread
from tests.chaos.questions import questions
from tests.chaos.world import Plan, world

RECOVERY_S = 3.0
ROSTER_S = 5.0
_ROUNDS = 3
_STREAMS = 16


async def restarted(size: Size) -> Outcome:
    """F6: kill -9 the broker twice, and restart it once in good order, under load."""
    firsts: list[float] = []
    alls: list[float] = []
    rosters: list[float] = []
    async with world(Plan(dispatchers=2, echo=2)) as house:
        async with load(house.nats.url, questions(house.model), jobs=size.jobs, concurrency=_STREAMS) as asked:
            for number in range(_ROUNDS):
                await asked.answered(size.jobs // (_ROUNDS + 1))
                await (house.nats.stop() if number == 1 else house.nats.kill())
                held = asked.in_flight
                await house.nats.restart()
                since_s = _now()
                async with asyncio.TaskGroup() as tasks:
                    heard = tasks.create_task(house.all_heard(since_s))
                    await asked.answered(1)
                    firsts.append(_now() - since_s)
                    await asked.ended(held)
                alls += [entry.ended_s - since_s for entry in held]
                rosters.append(heard.result() - since_s)
        return outcome(
            "F6",
            f"broker killed or restarted {_ROUNDS} times under load",
            house,
            asked,
            spread("first answer after it is back", firsts, RECOVERY_S),
            spread("jobs of before answered after it is back", alls, RECOVERY_S),
            spread("every device heard after it is back", rosters, ROSTER_S),
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
