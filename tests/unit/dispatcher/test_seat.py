"""Seats: what a job holds and has made while it takes one, or waits for one; over the real roster, line and decision."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from common.clock import loop_s
from common.errors import NoDevice
from dispatcher.delivery.line import Line
from dispatcher.delivery.seat import SlotFinder
from dispatcher.outcomes import Candidate, Decision
from dispatcher.roster import Roster
from dispatcher.routing import Ask, RoutingPolicy, Table, decide, nobody
from dispatcher.routing.ask import Caps
from dispatcher.routing.table import View
from tests.unit.dispatcher.builders import ask, beat, job, model

ASK, POLICY = ask(), RoutingPolicy()


class Unheard:
    """`AnswerSink` of a job that has told nothing."""

    text = ""
    visible_chars = 0
    streams = True

    async def keep_alive(self, frame: object) -> None:
        """Nobody listens."""


@dataclass
class House:
    """A roster and a line, and what routing was asked."""

    policy: RoutingPolicy = POLICY
    asked: Ask = ASK
    roster: Roster = field(default_factory=Roster)
    spent: list[float] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.line, self._table = Line(self.roster), Table()

    def reports(self, name: str, seq: int = 1, **fields: Any) -> None:
        fields.setdefault("models", (model("a:1b"), model("b:3b"), model("c:7b")))
        self.roster.observe(beat(name, seq=seq, **fields), 0.0)

    def finder(self) -> SlotFinder:
        now_s = loop_s()
        return SlotFinder(
            roster=self.roster,
            line=self.line,
            job=replace(job(), received_s=now_s, deadline_s=now_s + 60.0),
            choose=self.choose,
            nobody=lambda decision: nobody(self.asked, decision, self.roster.fleet),
            out=Unheard(),  # type: ignore[arg-type]  # a seat tells nothing else
            settled_s=0.0,
        )

    def choose(self, excluded: Mapping[str, str], spent_usd: float) -> Decision:
        self.spent.append(spent_usd)
        decision = decide(self.asked, self.roster.fleet, self.policy, excluded, self._table)
        self.decisions.append(decision)
        return decision


async def begun(finder: SlotFinder, tasks: asyncio.TaskGroup, house: House) -> asyncio.Task[Candidate]:
    """Let a job take its place in the line."""
    waiting = tasks.create_task(finder.take({}, first=False))
    await turns(lambda: house.line.waiting > 0)
    return waiting


async def turns(fact: Callable[[], bool]) -> None:
    """Let others run until something is so."""
    for _ in range(1000):
        if fact():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be")


async def refused(finder: SlotFinder) -> NoDevice:
    """What a job is told that gets no seat."""
    with pytest.raises(NoDevice) as raised:
        await finder.take({}, first=False)
    return raised.value


def made(decision: Decision) -> int:
    """How many candidates were made of a decision."""
    kept: Any = decision.candidates
    return len(kept._made)


async def test_a_slot_that_is_free_costs_one_candidate() -> None:
    """Of a hundred devices with three models each, the one that the job gets is made, and no other."""
    house = House()
    for number in range(100):
        house.reports(f"pi-{number:03}")
    await house.finder().take({}, first=False)

    assert [1] == [made(one) for one in house.decisions]


async def test_the_first_with_room_is_taken_and_no_other_looked_at() -> None:
    """A hundred devices are full and one is not: the one candidate that is made is on that."""
    house = House()
    for number in range(100):
        house.reports(f"pi-{number:03}")
        if number != 70:
            house.roster.take(f"pi-{number:03}")
    seat = await house.finder().take({}, first=False)

    assert ("pi-070", [1]) == (seat.device, [made(one) for one in house.decisions])


async def test_who_waits_holds_nothing_of_its_decision() -> None:
    """A job in the line keeps no view of the fleet alive, but what its record needs."""
    house = House()
    house.reports("pi")
    house.roster.take("pi")
    finder = house.finder()
    async with asyncio.TaskGroup() as tasks:
        waiting = await begun(finder, tasks, house)
        house.decisions.clear()
        house._table = Table()
        gc.collect()
        views = [one for one in gc.get_objects() if isinstance(one, View) and "pi" in one.blocks]
        told = finder.settled
        house.line.give_back("pi")
        seat = await waiting

    assert ([], "pi") == (views, seat.device)
    assert told is not None
    assert ["pi"] == [one.device for one in told.leaders]
    assert told.brief["options_in_all"] == 3


async def test_a_seat_after_waiting_is_told_with_the_figures_of_now() -> None:
    """What was predicted when the job began to wait is worked out anew for the slot that it gets, which is not in its own way."""
    house = House()
    house.reports("pi", temperature_c=50.0)
    house.roster.take("pi")
    async with asyncio.TaskGroup() as tasks:
        waiting = await begun(house.finder(), tasks, house)
        house.reports("pi", seq=2, temperature_c=85.0, models=house.roster.fleet.devices["pi"].beat.models)
        house.line.give_back("pi")
        seat = await waiting
    cool = house.decisions[0].candidates[0]

    assert seat.terms.health < cool.terms.health
    assert seat.predicted_wait_s == 0.0
    assert house.roster.fleet.devices["pi"].own == 1


async def test_a_slot_on_a_device_that_is_no_choice_any_more_goes_back() -> None:
    """A device that has become too hot while the job waited: the job keeps its place, and takes the next one."""
    house = House(policy=RoutingPolicy(caps=Caps(celsius=70.0)))
    for name in ("hot", "pi"):
        house.reports(name)
        house.roster.take(name)
    async with asyncio.TaskGroup() as tasks:
        waiting = await begun(house.finder(), tasks, house)
        house.reports("hot", seq=2, temperature_c=75.0, models=house.roster.fleet.devices["hot"].beat.models)
        house.line.give_back("hot")
        await turns(lambda: len(house.decisions) > 1)
        house.line.give_back("pi")
        seat = await waiting
    own = {name: device.own for name, device in house.roster.fleet.devices.items()}

    assert ("pi", {"hot": 0, "pi": 1}) == (seat.device, own)


async def test_a_choice_that_fails_leaves_no_slot_taken() -> None:
    """Routing raises when the slot is there: the error is told, and the slot is free for others."""
    house = House()
    house.reports("pi")
    house.roster.take("pi")
    finder, calls = house.finder(), iter([house.choose])

    def choose(excluded: Mapping[str, str], spent_usd: float) -> Decision:
        for once in calls:
            return once(excluded, spent_usd)
        raise NoDevice("the owner's rules changed")

    finder.choose = choose
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(refused(finder))
        await turns(lambda: house.line.waiting > 0)
        house.line.give_back("pi")

    assert "the owner's rules changed" == waiting.result().message

    assert (0, 0) == (house.roster.fleet.devices["pi"].own, house.line.waiting)


async def test_routing_hears_what_was_spent() -> None:
    """What a job's attempts may have cost is said with each choice."""
    house = House()
    house.reports("pi")
    finder = house.finder()
    finder.spent_usd = 0.02
    await finder.take({}, first=True)

    assert [0.02] == house.spent
