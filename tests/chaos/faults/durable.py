"""The faults again, with jobs that lie in the durable queue: whatever dies, each has one result in the end, or is a dead letter."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator

from common.bus import Delivery
from common.durable import Stage
from tests.chaos.durable_load import DurableLoad, durable_load
from tests.chaos.members import Member
from tests.chaos.outcome import Figure, Outcome, Size, outcome, spread
from tests.chaos.questions import Question, questions
from tests.chaos.world import Plan, World, world
from tests.proxy import Proxy, tcp_proxy

ACK_WAIT_S = 2.0
"""Shorter than the usual 10 s: what a dead dispatcher had is soon another's, and there is time for more kills."""

RECOVERY_S = ACK_WAIT_S + 1.0
BROKER_S = 3.0

_KNOBS = {
    "DROVER_DURABLE_ACK_WAIT_S": str(ACK_WAIT_S),
    "DROVER_DURABLE_FIRST_DELAY_S": "0.1",
    # A killed broker may forget that a job was acknowledged and never deliver it again: a sweep finds it, usually within a minute.
    "DROVER_DURABLE_SWEEP_S": str(ACK_WAIT_S),
    "LOG_LEVEL": "INFO",
}
_FLEET = Plan(dispatchers=2, simulated=1, echo=3, slots=8, time_factor=16.0, knobs=_KNOBS)
_LONG = 50
"""One job in so many streams for a while."""


def _mixed(house: World) -> Iterator[Question]:
    long, short = questions(house.model), questions("echo", prefix="short")
    for number in itertools.count(1):
        yield next(long) if number % _LONG == 0 else next(short)


async def dispatchers_killed(size: Size) -> Outcome:
    """F2: kill -9 dispatchers: at any point, at the moment when a result is stored and its job not yet acknowledged, and both."""
    kills: list[tuple[float, list[str]]] = []
    async with world(_FLEET) as house:
        async with durable_load(house.nats.url, _mixed(house), jobs=size.jobs) as asked:
            for number in range(3 * size.rounds):
                await asked.over(size.jobs // (3 * size.rounds + 1))
                victims = house.dispatchers if number % 3 == 2 else house.dispatchers[:1]
                if number % 3:
                    await _until_result(house)
                kills.append((time.time(), [entry.job for entry in asked.open_jobs]))
                for victim in victims:
                    await victim.kill()
                for victim in victims:
                    await victim.start()
                house.dispatchers.reverse()
        return outcome(
            "F2",
            f"durable: kill -9 dispatchers, one or both, {len(kills)} times",
            house,
            asked,
            _recovered("jobs open at the kill over after", asked, kills, RECOVERY_S),
            *_common(house, asked),
        )


async def _until_result(house: World) -> None:
    """Return in the moment in which a final note is stored: its dispatcher has not acknowledged the job."""
    told = asyncio.Event()

    def hear(delivery: Delivery) -> None:
        if f'"{Stage.DONE}"'.encode() in delivery.data:
            told.set()

    subscription = await house.bus.subscribe("llm.v1.result.>", hear)
    try:
        async with asyncio.timeout(ACK_WAIT_S):
            await told.wait()
    except TimeoutError:
        pass  # none came: then it is any moment
    finally:
        await subscription.unsubscribe()


async def agents_killed(size: Size) -> Outcome:
    """F3: kill -9 an agent that has durable jobs, in turn."""
    kills = 0
    async with world(_FLEET) as house:
        async with durable_load(house.nats.url, _mixed(house), jobs=size.jobs) as asked:
            for number in range(2 * size.rounds):
                await asked.over(size.jobs // (2 * size.rounds + 1))
                victim = house.agents[number % len(house.agents)].member
                await victim.kill()
                await victim.start()
                kills += 1
        return outcome("F3", f"durable: kill -9 an agent, {kills} times", house, asked, *_common(house, asked))


async def broker_killed(size: Size) -> Outcome:
    """F6: kill -9 the broker twice and restart it once in good order, while jobs are submitted and run."""
    firsts: list[float] = []
    kills: list[float] = []
    async with world(_FLEET) as house:
        async with durable_load(house.nats.url, _mixed(house), jobs=size.jobs) as asked:
            for number in range(3):
                await asked.over(size.jobs // 4)
                await (house.nats.stop() if number == 1 else house.nats.kill())
                await house.nats.restart()
                since_s = _now()
                kills.append(time.time())
                await asked.next_final()
                firsts.append(_now() - since_s)
        return outcome(
            "F6",
            "durable: broker killed or restarted 3 times while jobs come and run",
            house,
            asked,
            spread("first result after it is back", firsts, BROKER_S),
            *_common(house, asked),
        )


async def submitted_twice(size: Size) -> Outcome:
    """F7: each job is submitted twice at once over lines that lose the acknowledgement, one in ten once more when it is over; a
    dispatcher that is frozen for longer than the ack wait works on, when it is thawed, on what others have done meanwhile."""
    losses = 0
    async with world(_FLEET) as house, tcp_proxy(house.nats.port) as one, tcp_proxy(house.nats.port) as other:
        lines = (one, other)
        urls = [line.url for line in lines]
        async with durable_load(house.nats.url, _mixed(house), jobs=size.jobs, copies=2, lines=urls) as asked:
            for number in range(2 * size.rounds):
                await asked.over(size.jobs // (2 * size.rounds + 1))
                await _lose_acks(lines[number % 2])
                losses += 1
                if number % 2 == 0:
                    await _frozen(house.dispatchers[number // 2 % 2])
        again = Figure(name="submissions that the queue knew", value=asked.known, unit="")
        return outcome(
            "F7",
            f"durable: each job submitted twice, PubAcks lost {losses} times, jobs delivered again",
            house,
            asked,
            again,
            *_common(house, asked),
        )


async def _lose_acks(line: Proxy) -> None:
    """Let what is sent arrive, keep the answers back, then break the line: the producer can't know that its job is there."""
    line.blackhole(up=False)
    await asyncio.sleep(0.2)  # the fault's own length: some submissions are on their way
    line.reset()
    line.heal()


async def _frozen(member: Member) -> None:
    """Freeze a dispatcher until its jobs are another's."""
    member.freeze()
    await asyncio.sleep(ACK_WAIT_S + 0.5)  # the fault's own length
    member.thaw()


def _common(house: World, asked: DurableLoad) -> list[Figure]:
    """Give what is told of all durable faults."""
    stood = sum(member.log.read_text(errors="replace").count("durable.known") for member in house.dispatchers)
    return [
        Figure(name="jobs tried more than once", value=sum(entry.attempts > 1 for entry in asked.ledger), unit=""),
        Figure(name="found answered when delivered again", value=stood, unit=""),
        Figure(name="dead letters", value=asked.letters.total(), unit=""),
        Figure(name="left in the queue", value=asked.left, unit="", limit=0),
    ]


def _recovered(name: str, asked: DurableLoad, kills: list[tuple[float, list[str]]], limit_s: float) -> Figure:
    """Give how long after a kill the jobs were over that the queue had then: those of the dead one are the last of them."""
    known = asked.finals
    times = [known[job][0].at_unix_s - kill for kill, jobs in kills for job in jobs if job in known]
    return spread(name, [max(0.0, time_s) for time_s in times], limit_s)


def _now() -> float:
    return asyncio.get_running_loop().time()
