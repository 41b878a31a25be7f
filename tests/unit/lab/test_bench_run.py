"""How laps are run: what a fleet that goes away costs, when questions are due, and what a strategy begins with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from common.errors import BusDisconnected, BusTimeout, NoDevice, NoDispatcher, NotAllowed
from common.messages import Message, Role
from dispatcher.cli.questions import Conversation, Question
from dispatcher.lab.bench.plan import Arm, Arrival, Asked, BenchPlan, CacheMode, Load, gaps_s
from dispatcher.lab.bench.rows import BenchRow, Heard
from dispatcher.lab.bench.run import Bench
from dispatcher.lab.bench.store import open_store

GUARD_S = 30.0


class Fleet:
    """Answers at once, until `lasts` questions are answered; then it raises `error`, and is gone unless `stays`."""

    def __init__(self, lasts: int = 10**9, error: Exception | None = None, *, stays: bool = False) -> None:
        self.asked: list[str] = []
        self.caches: list[str] = []
        """What each question, and each emptying, said of the cache."""
        self._lasts = lasts
        self._error = error or BusDisconnected("the bus is gone")
        self._stays = stays

    async def ask(self, messages: Sequence[Message], fields: Mapping[str, Any]) -> Heard:
        await asyncio.sleep(0)
        if len(self.asked) >= self._lasts:
            raise self._error
        self.caches.append(str(fields.get("cache")))
        self.asked.append(f"{fields.get('model')} {fields.get('strategy')} {messages[-1].content}")
        return Heard(text="a", finish="stop", prompt_tokens=1, completion_tokens=1, route={"device": "d"}, why={})

    async def why(self, heard: Heard) -> Heard:
        return heard

    async def explain(self, strategy: str) -> dict[str, Any]:
        if len(self.asked) >= self._lasts and not self._stays:
            raise NoDispatcher("no dispatcher runs")
        return {"options": [{"device": "d", "model": "m"}], "strategy": strategy}

    async def forget(self) -> None:
        self.caches.append("emptied")


def plan(count: int, *arms: str | Arm, load: Load | None = None, turns: int = 1, repeat: int = 1) -> BenchPlan:
    asked = tuple(
        Asked(
            "s",
            Conversation(
                id=str(number),
                questions=tuple(
                    Question(messages=(Message(role=Role.USER, content=f"{number}.{turn}"),)) for turn in range(turns)
                ),
            ),
        )
        for number in range(count)
    )
    ways = tuple(Arm(arm) if isinstance(arm, str) else arm for arm in arms or ("hybrid",))
    return BenchPlan(arms=ways, asked=asked, load=load or Load(), repeat=repeat)


async def measured(plan: BenchPlan, target: Fleet, path: Path, **options: Any) -> list[BenchRow]:
    """Run what is left, and give the rows of the file, also when the fleet goes away."""
    with open_store(path, {}, fresh=False) as store:
        bench = Bench(plan=plan, target=target, tell=store.add, **{"time_factor": 1.0, **options})
        with suppress(BusDisconnected):
            async with asyncio.timeout(GUARD_S):
                await bench.run(store.known)
        return store.rows


@pytest.mark.parametrize("error", [BusDisconnected("x"), NoDispatcher("x"), BusTimeout("x")])
async def test_a_fleet_that_is_gone_ends_the_run(tmp_path: Path, error: Exception) -> None:
    """7 of 1,000 questions were answered: no row says that the others failed, and the next run asks all of them."""
    wanted = plan(500, "hybrid", "perf")
    before = await measured(wanted, Fleet(7, error), tmp_path / "q.csv")
    again = Fleet()
    after = await measured(wanted, again, tmp_path / "q.csv")

    assert (7, True, 993, 1000) == (len(before), all(row.success for row in before), len(again.asked), len(after))


@pytest.mark.parametrize("load", [Load(concurrency=4), Load(arrival=Arrival.POISSON, rate=1000.0)])
async def test_it_ends_whatever_the_load(tmp_path: Path, load: Load) -> None:
    """With several conversations under way the error comes out as itself."""
    with (
        open_store(tmp_path / "q.csv", {}, fresh=False) as store,
        pytest.raises(BusDisconnected, match="goes on there"),
    ):
        await Bench(plan=plan(50, load=load), target=Fleet(5), time_factor=1.0, tell=store.add).run(set())

    assert [] == [row for row in store.rows if not row.success]


@pytest.mark.parametrize("error", [BusTimeout("late"), NoDevice("nobody")])
async def test_a_fleet_that_is_there_fails_by_itself(tmp_path: Path, error: Exception) -> None:
    """One that still answers has failed the question, and that is a result."""
    rows = await measured(plan(5), Fleet(2, error, stays=True), tmp_path / "q.csv")

    assert [True, True, False, False, False] == [row.success for row in rows]


async def test_half_a_conversation_is_not_told_of(tmp_path: Path) -> None:
    """The fleet goes between two turns: the conversation is asked again from its first."""
    wanted = plan(3, turns=2)
    before = await measured(wanted, Fleet(3), tmp_path / "q.csv", time_factor=1.0)
    again = Fleet()
    after = await measured(wanted, again, tmp_path / "q.csv")

    assert 0 == len(before) % 2
    assert (6 - len(before), 6) == (len(again.asked), len(after))


async def test_a_late_bench_hides_no_wait(tmp_path: Path) -> None:
    """Something holds the bench up for 0.3 s: what was due meanwhile is put late, says by how much, and its latency runs from when
    it was due."""
    wanted = plan(20, load=Load(arrival=Arrival.POISSON, rate=200.0))

    class Slow(Fleet):
        async def ask(self, messages: Sequence[Message], fields: Mapping[str, Any]) -> Heard:
            if not self.asked:
                time.sleep(0.3)  # noqa: ASYNC251  # it is to hold up the loop, as a bench that has too much to do does
            return await super().ask(messages, fields)

    rows = await measured(wanted, Slow(), tmp_path / "q.csv", time_factor=2.0)
    late = [row for row in rows if (row.lag_s or 0.0) > 0.1]

    assert len(late) >= 5
    assert [] == [row for row in rows if row.lag_s is None or (row.latency_s or 0.0) < row.lag_s]
    assert [] == [
        row
        for row in late
        if abs(((row.began_unix_s or 0.0) - (row.due_unix_s or 0.0)) * 2.0 - (row.lag_s or 0.0)) > 1e-3
    ]


async def test_what_is_left_keeps_its_own_gaps(tmp_path: Path) -> None:
    """Of 40 conversations 30 were measured: the last 10 come after the gaps that they had in the whole lap, not after the first
    10 of them."""
    load = Load(arrival=Arrival.POISSON, rate=100.0)
    wanted = plan(40, load=load)
    (lap,) = wanted.laps()
    gaps = list(gaps_s(lap, load, wanted.seed))
    known = {BenchRow(strategy="hybrid", query_set="s", query_id=one.conversation.id).key for one in lap.order[:30]}
    rows: list[BenchRow] = []
    async with asyncio.timeout(GUARD_S):
        await Bench(plan=wanted, target=Fleet(), time_factor=1.0, tell=rows.extend).run(known)
    due = sorted(row.due_unix_s or 0.0 for row in rows)

    assert [later - earlier for earlier, later in pairwise(due)] == pytest.approx(gaps[31:], abs=1e-5)


async def test_each_strategy_begins_warm(tmp_path: Path) -> None:
    """What the one before it left loaded is none of its doing."""
    fleet = Fleet()
    await measured(plan(2, "hybrid", "perf"), fleet, tmp_path / "q.csv", warm_up=True)

    assert [True, False, False] * 2 == [one.startswith("m@d ") for one in fleet.asked]


CACHED = Arm("hybrid", CacheMode.ON)


async def test_each_repeat_begins_with_an_empty_cache(tmp_path: Path) -> None:
    """Twice, two questions with the cache on; the strategy without one asks for none, and leaves it alone."""
    fleet = Fleet()
    await measured(plan(2, CACHED, repeat=2), fleet, tmp_path / "on.csv")
    without = Fleet()
    await measured(plan(2, repeat=2), without, tmp_path / "off.csv")

    assert ["emptied", "semantic", "semantic"] * 2 == fleet.caches
    assert ["off"] * 4 == without.caches


async def test_what_warms_a_model_comes_from_no_cache(tmp_path: Path) -> None:
    """It asks the same of each, and a kept answer would load nothing; what it left is emptied."""
    fleet = Fleet()
    await measured(plan(1, CACHED), fleet, tmp_path / "q.csv", warm_up=True)

    assert ["off", "emptied", "semantic"] == fleet.caches


async def test_a_cache_that_can_not_be_emptied_is_told_of(tmp_path: Path) -> None:
    """The questions are asked all the same, and the reader is warned once for each repeat."""

    class Closed(Fleet):
        async def forget(self) -> None:
            raise NotAllowed("a bridge empties no cache")

    warnings: list[str] = []
    rows = await measured(plan(2, CACHED, repeat=2), Closed(), tmp_path / "q.csv", warn=warnings.append)

    assert (4, 2) == (len(rows), len(warnings))
    assert warnings[0] == (
        "hybrid, cache on, repeat 1: the cache could not be emptied, and may have answers from before "
        "(a bridge empties no cache)"
    )


async def test_a_repeat_that_goes_on_keeps_what_it_had(tmp_path: Path) -> None:
    """Its first part put answers there that the rest is to find; that they may be gone is told."""
    wanted = plan(4, CACHED)
    await measured(wanted, Fleet(2), tmp_path / "q.csv")
    again, warnings = Fleet(), list[str]()
    await measured(wanted, again, tmp_path / "q.csv", warn=warnings.append)

    assert ["semantic", "semantic"] == again.caches
    assert ["hybrid, cache on, repeat 1, goes on with what the fleet still keeps"] == [
        one.partition(" of its first part")[0] for one in warnings
    ]
