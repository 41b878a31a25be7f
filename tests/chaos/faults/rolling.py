"""Everything is restarted in good order, one process at a time, under load."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

from tests.chaos.http_load import HttpLoad
from tests.chaos.load import load
from tests.chaos.members import Member
from tests.chaos.outcome import Figure, Outcome, Size, latencies, outcome, spread
from tests.chaos.questions import questions
from tests.chaos.world import Plan, world

_STREAMS = 6


async def everything(size: Size) -> Outcome:
    """F9: every process but the broker is restarted, bridges included, under producers on the bus and over HTTP."""
    rounds = (size.rounds + 1) // 2
    async with world(Plan(dispatchers=2, simulated=3, echo=2, slots=4, bridges=2)) as house:
        source = questions(house.model)
        async with load(house.nats.url, source, concurrency=_STREAMS // 2, crowd=size.crowd(220.0)) as asked:
            urls = [house.bridge_url(member) for member in house.bridges]
            http = HttpLoad(asked, urls, questions(house.model, prefix="http"))
            async with asyncio.TaskGroup() as tasks:
                for stream, pooled in itertools.product((False, True), repeat=2):
                    tasks.create_task(http.work(stream=stream, pooled=pooled))
                await asked.answered(_STREAMS)
                ends: list[str] = []
                for _ in range(rounds):
                    ends += await _roll(house.members)
                http.stop()
        errors = Figure(name="errors", value=sum(asked.account().errors.values()), unit="", limit=0)
        times = spread("latency", latencies(asked.ledger))
        title = f"SIGTERM every process in turn, bridges too, {rounds} times"
        return outcome("F9", title, house, asked, errors, times, troubles=ends)


async def _roll(members: Sequence[Member]) -> list[str]:
    """Restart each; gives what is wrong with how one ended."""
    ends = []
    for member in members:
        status = await member.restart()
        if status != 0:
            ends.append(f"{member.name} ended with {status} after SIGTERM: {member.tail(400)}")
    return ends
