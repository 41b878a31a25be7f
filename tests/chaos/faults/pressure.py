"""Too much work, too few devices, producers that don't read, and time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import psutil

from common.client import Drover
from common.errors import FleetError
from tests.chaos.ledger import ANSWERED, percentile
from tests.chaos.load import Load, load
from tests.chaos.outcome import Figure, Outcome, Size, latencies, outcome, spread
from tests.chaos.questions import Question, questions
from tests.chaos.world import Plan, World, world
from tests.proxy import Proxy, tcp_proxy

REFUSAL_S = 0.05
GOODPUT = 0.8
OVERLOAD = 5.0
DEADLINE_S = 5.0
RSS_MB = 64.0
"""More than this, and the dispatcher keeps what slow producers don't read: their answers have some 10 kB each."""

WARM_S = 30.0
"""After this long a fleet under load has loaded, cached and allocated what it ever will."""

_SLOW = 6


async def slow_producers(size: Size) -> Outcome:
    """F8: producers behind a line that carries one packet a second; nobody else must notice."""
    async with (
        world(Plan(dispatchers=1, simulated=3, slots=4, time_factor=8.0)) as house,
        tcp_proxy(house.nats.port) as line,
    ):
        async with load(house.nats.url, questions(house.model), concurrency=4) as asked:
            long = questions(house.model, words=600, prefix="long")
            before = await _beside(asked, line, long, size.overload_s / 4, latency_s=0.0)
            rss = _rss_mb(house)
            during = await _beside(asked, line, long, size.overload_s / 4, latency_s=1.0)
            grown = _rss_mb(house) - rss
        ratio = percentile(during, 0.99) / percentile(before, 0.99)
        return outcome(
            "F8",
            f"{_SLOW} producers that read one packet a second",
            house,
            asked,
            Figure(name="others' p99, against fast readers,", value=ratio, unit="x", limit=1.2),
            spread("others' latency", during),
            Figure(name="dispatcher grew by", value=grown, unit="MB", limit=RSS_MB),
        )


async def _beside(
    asked: Load, line: Proxy, source: Iterator[Question], lasting_s: float, *, latency_s: float
) -> list[float]:
    """Have long answers read over a line of its own; gives the latencies of all other jobs meanwhile."""
    since = len(asked.ledger)
    async with Drover.connect(line.url, tenant="slow") as drover:
        line.latency_s = latency_s
        stopped = asyncio.Event()

        async def read() -> None:
            while not stopped.is_set():
                question = next(source)
                try:
                    async with aclosing(drover.chat(question.prompt, model=question.model, cache="off")) as stream:
                        async for _ in stream:
                            pass
                except FleetError:
                    continue  # what becomes of a producer that doesn't read is its own affair

        async with asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(read()) for _ in range(_SLOW)]
            await asyncio.sleep(lasting_s)
            stopped.set()
            for reader in readers:
                reader.cancel()
        line.latency_s = 0.0
    return latencies(asked.ledger[since:])


async def no_device(size: Size) -> Outcome:
    """F10: there is no device at all: every job is refused at once, by name."""
    async with world(Plan(dispatchers=1, knobs={"DROVER_SETTLE_S": "0"})) as house:
        async with load(house.nats.url, questions("echo"), jobs=size.jobs // 20, concurrency=2, patience_s=0) as asked:
            pass
        return outcome("F10", "no device", house, asked, _refused(asked, "no_device"))


async def all_busy(size: Size) -> Outcome:
    """F10: all slots are taken: some jobs wait in the line, and are answered; those for whom it is full are refused at once."""
    plan = Plan(dispatchers=1, simulated=1, slots=1, knobs={"DROVER_QUEUE_LIMIT": "4"})
    async with world(plan) as house:
        async with load(house.nats.url, questions(house.model), concurrency=0, patience_s=0) as asked:
            source = questions(house.model)
            for _ in range(size.rounds):
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(12):
                        tasks.create_task(asked.ask(next(source)))
        return outcome("F10", "12 jobs at once for 1 slot and a line of 4", house, asked, _refused(asked, "queue_full"))


def _refused(asked: Load, code: str) -> Figure:
    return spread(f"{code} after", [entry.took_s for entry in asked.ledger if entry.outcome == code], REFUSAL_S)


async def overload(size: Size) -> Outcome:
    """F11: five times as many jobs as the fleet can do, each with a deadline; it must go on doing what it can."""
    async with world(Plan(dispatchers=2, simulated=3, slots=2, time_factor=4.0)) as house:
        source = questions(house.model, words=30)
        async with load(house.nats.url, source, concurrency=9, patience_s=0) as warm:
            await warm.answered(12)
            began_s = _now()
            count = len(warm.ledger)
            await asyncio.sleep(max(3.0, size.overload_s / 4))
            peak = sum(one.outcome == ANSWERED for one in warm.ledger[count:]) / (_now() - began_s)
        async with load(house.nats.url, source, concurrency=0, patience_s=0) as asked:
            began_s = _now()
            async with asyncio.TaskGroup() as tasks:
                while _now() < began_s + size.overload_s:
                    tasks.create_task(asked.ask(next(source), timeout_s=DEADLINE_S))
                    await asyncio.sleep(max(0.0, began_s + len(asked.ledger) / (OVERLOAD * peak) - _now()))
            until_s = began_s + size.overload_s
            done = sum(one.outcome == ANSWERED and one.ended_s <= until_s for one in asked.ledger)
        goodput = done / size.overload_s / peak
        refusals = [one.took_s for one in asked.ledger if one.outcome not in (ANSWERED, "deadline")]
        beside = sum(one.beside for one in asked.ledger)
        return outcome(
            "F11",
            f"{OVERLOAD:g}x overload for {size.overload_s:g} s, deadline {DEADLINE_S:g} s",
            house,
            asked,
            Figure(
                name="goodput", value=goodput, unit="of peak", limit=GOODPUT, least=True, detail=f"peak {peak:.3g}/s"
            ),
            spread("refused after", refusals),
            Figure(name="hedges", value=beside, unit="", limit=0),
        )


async def soak(size: Size) -> Outcome:
    """F13: ordinary load for some time: memory, subscriptions and open files stay what they are."""
    async with world(Plan(dispatchers=1, echo=2)) as house:
        async with load(house.nats.url, questions(house.model), concurrency=16) as asked:
            await asyncio.sleep(min(size.soak_s / 3, WARM_S))  # until buffers and allocators have what they need
            first, since, began_s = await _levels(house), len(asked.ledger), _now()
            await asyncio.sleep(size.soak_s)
            last, jobs, took_s = await _levels(house), len(asked.ledger) - since, _now() - began_s
        figures = [
            Figure(
                name=f"{name} grew by",
                value=last[name] - first[name],
                unit=unit,
                limit=limit,
                detail=f"from {first[name]:.4g}, {(last[name] - first[name]) * 3600 / took_s:+.3g} an hour, {jobs} jobs",
            )
            for name, unit, limit in _DRIFTS
        ]
        return outcome("F13", f"soak for {size.soak_s:g} s", house, asked, *figures)


_DRIFTS = (
    ("dispatcher", "MB", 4.0),
    ("agent", "MB", 4.0),
    ("subscriptions", "", 0.0),
    ("files", "", 0.0),
    ("threads", "", 0.0),
)


async def _levels(house: World) -> dict[str, float]:
    """Measure what a leak shows in. Tasks can't be counted from outside: one that never ends holds the memory of its job."""
    dispatcher, agent = psutil.Process(house.dispatchers[0].pid), psutil.Process(house.agents[0].member.pid)
    return {
        "dispatcher": dispatcher.memory_info().rss / 1e6,
        "agent": agent.memory_info().rss / 1e6,
        "subscriptions": float(await house.subscriptions()),
        "files": float(dispatcher.num_fds() + agent.num_fds()),
        "threads": float(dispatcher.num_threads() + agent.num_threads()),
    }


def _rss_mb(house: World) -> float:
    return psutil.Process(house.dispatchers[0].pid).memory_info().rss / 1e6


def _now() -> float:
    return asyncio.get_running_loop().time()
