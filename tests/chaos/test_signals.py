"""What SIGTERM does to each process: the first lets its work end, the second ends it at once."""

from __future__ import annotations

import asyncio
import itertools
import signal

import pytest

from tests.chaos.http_load import HttpLoad
from tests.chaos.load import Load, load
from tests.chaos.members import Member
from tests.chaos.questions import Question, questions
from tests.chaos.world import Plan, World, world

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]


async def _forced(house: World, member: Member) -> int:
    """Send SIGTERM, wait until it is obeyed, send it again, and give the exit status."""
    member.ask_to_end()
    async with asyncio.timeout(20):
        while "stopping" not in member.tail() and "draining" not in member.tail():  # noqa: ASYNC110  # a log has no event
            await asyncio.sleep(0.02)
    assert member.running
    member.ask_to_end()
    return await member.ended()


async def _work(asked: Load, house: World, question: Question, *, over_http: bool) -> None:
    """Read an answer that goes on and on."""
    if over_http:
        http = HttpLoad(asked, [house.bridge_url(house.bridges[0])], itertools.repeat(question))
        await http.work(stream=True)
    else:
        await asked.ask(question)


@pytest.mark.parametrize("kind", ["dispatcher", "agent", "bridge"])
async def test_a_second_sigterm_ends_a_process_that_still_has_work(kind: str) -> None:
    """It has an hour of grace and a job that takes longer: the first signal lets it work on, the second does not."""
    knobs = {
        "DROVER_GRACE_S": "3600",
        "DROVER_AGENT_GRACE_S": "3600",
        "DROVER_HTTP_GRACE_S": "3600",
        "LOG_LEVEL": "INFO",
    }
    async with world(Plan(simulated=1, bridges=1, time_factor=1.0, knobs=knobs)) as house:
        member = {"dispatcher": house.dispatchers, "agent": [house.agents[0].member], "bridge": house.bridges}[kind][0]
        question = next(questions(house.model, words=9000))
        async with load(house.nats.url, iter(()), concurrency=0) as asked, asyncio.TaskGroup() as tasks:
            working = tasks.create_task(_work(asked, house, question, over_http=kind == "bridge"))
            await asked.tap.until_streaming()
            status = await _forced(house, member)
            working.cancel()

    assert status == 128 + signal.SIGTERM
