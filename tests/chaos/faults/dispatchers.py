"""Faults of dispatchers, and none at all: killed one of two, killed the only one, and jobs that are submitted more than once."""

from __future__ import annotations

import asyncio

from tests.chaos.ledger import Entry
from tests.chaos.load import Load, load
from tests.chaos.outcome import Figure, Outcome, Size, latencies, outcome, spread
from tests.chaos.questions import questions
from tests.chaos.world import Plan, world

RECOVERY_S = 3.0
_STREAMS = 32
_COPIES = 3


async def undisturbed(size: Size) -> Outcome:
    """F1: nothing fails. Nothing is hedged either: on a busy machine some first token is late, and a second execution by design
    would hide one by mistake."""
    async with world(Plan(dispatchers=2, echo=3, knobs={"DROVER_HEDGE_SHARE": "0"})) as house:
        began_s = _now()
        async with load(house.nats.url, questions(house.model), jobs=size.jobs, concurrency=_STREAMS) as asked:
            pass
        rate = Figure(name="answered", value=size.jobs / (_now() - began_s), unit="jobs/s")
        runs = Figure(name="executions per job", value=await house.executions() / size.jobs, unit="")
        return outcome("F1", "no fault", house, asked, spread("latency", latencies(asked.ledger)), rate, runs)


async def one_of_two_killed(size: Size) -> Outcome:
    """F2: kill -9 one of two dispatchers in the middle of the load."""
    async with world(Plan(dispatchers=2, simulated=2, echo=2, slots=16)) as house:
        async with load(house.nats.url, questions(house.model), concurrency=8, crowd=size.crowd(350.0)) as asked:
            resent: list[float] = []
            recoveries: list[float] = []
            rounds = 0
            while rounds < size.rounds or not resent:  # it may have had no job
                rounds += 1
                await asked.answered(12)
                victim = house.dispatchers[0]
                since_s = _now()
                held = asked.in_flight
                await victim.kill()
                recoveries += await _again(asked, held, since_s)
                resent += [at_s - since_s for entry in held for at_s in asked.tap.taken_s(entry.job) if at_s > since_s]
                await victim.start()
        return outcome(
            "F2",
            "kill -9 one of two dispatchers",
            house,
            asked,
            spread("its jobs sent again after", resent, RECOVERY_S),
            spread("its jobs answered after", recoveries),
        )


async def only_one_killed(size: Size) -> Outcome:
    """F2: kill -9 the only dispatcher, and start another."""
    async with world(Plan(dispatchers=1, echo=2)) as house:
        async with load(house.nats.url, questions(house.model), jobs=size.jobs, concurrency=_STREAMS) as asked:
            recoveries: list[float] = []
            firsts: list[float] = []
            for _ in range(size.rounds):
                await asked.answered(size.jobs // (size.rounds + 1))
                victim = house.dispatchers[0]
                held = asked.in_flight
                await victim.kill()
                await victim.start()
                since_s = _now()
                firsts.append(await _first(asked, since_s))
                await asked.ended(held)
                recoveries += [entry.ended_s - since_s for entry in held if entry.ended_s > since_s]
        return outcome(
            "F2",
            "kill -9 the only dispatcher, start another",
            house,
            asked,
            spread("first answer after it is back", firsts, RECOVERY_S),
            spread("jobs of before answered after it is back", recoveries, RECOVERY_S),
        )


async def submitted_twice(size: Size) -> Outcome:
    """F7: each job is submitted by several producers at once, over two dispatchers, and once more when it is done.

    One in ten streams for a while, so that copies meet it midway; the others are over at once, and copies meet what was kept.
    """
    count = size.jobs // (_COPIES + 1)
    async with world(Plan(dispatchers=2, simulated=2, echo=2, slots=16)) as house:
        async with load(house.nats.url, questions(house.model), concurrency=0) as asked:
            mixed = questions("echo", prefix="crowd"), questions(house.model, words=12)
            numbers = iter(range(count))

            async def submit() -> None:
                for number in numbers:  # shared: each takes the next one
                    question = next(mixed[number % 10 == 0])
                    async with asyncio.TaskGroup() as tasks:
                        for _ in range(_COPIES):
                            tasks.create_task(asked.ask(question))
                    await asked.ask(question)

            async with asyncio.TaskGroup() as producers:
                for _ in range(8):
                    producers.create_task(submit())
        runs = Figure(name="executions per job", value=await house.executions() / count, unit="", limit=1.0)
        return outcome("F7", f"each job submitted {_COPIES + 1} times", house, asked, runs)


async def _first(asked: Load, since_s: float) -> float:
    """Wait for the first answer from now on, and give how long it took since `since_s`."""
    await asked.answered(1)
    return _now() - since_s


async def _again(asked: Load, held: list[Entry], since_s: float) -> list[float]:
    """Wait until all that was under way has come to its end; gives how long the jobs that had to be sent again took."""
    await asked.ended(held)
    return [entry.ended_s - since_s for entry in held if len(asked.tap.taken_s(entry.job)) > 1]


def _now() -> float:
    return asyncio.get_running_loop().time()
