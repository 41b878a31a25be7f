"""Jobs that limits on watts keep waiting: they go on when a limit opens, in their order, and never exceed it together; over the
real roster, line and decision."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dispatcher.hours import Window
from dispatcher.outcomes import Candidate, Decision
from dispatcher.routing import RoutingPolicy
from dispatcher.routing.ask import Caps
from dispatcher.routing.limits import Limit, When
from dispatcher.routing.power import shut
from dispatcher.routing.table import Table
from tests.unit.dispatcher.builders import ask, model
from tests.unit.dispatcher.test_seat import House, turns

CLOSED = RoutingPolicy(limits=(Limit(name="night", watts=0.0, when=When(window=Window())),))


class Fleet(House):
    """Boards of 3 W idle and 10 W with a job, one slot each unless told otherwise; and who sits where."""

    def add(self, *names: str, **fields: Any) -> Fleet:
        for name in names:
            self.reports(name, **{"models": (model(),), "idle_w": 3.0, "busy_w": 10.0} | fields)
        return self

    @property
    def drawn_w(self) -> float:
        return sum(10.0 if one.own else 3.0 for one in self.roster.fleet.devices.values())

    def reopen(self) -> None:
        """What the dispatcher does a few times a second."""
        self.line.reopen(shut(Table().view(self.roster.fleet), self.policy))

    def job(self, tasks: asyncio.TaskGroup, device: str | None = None) -> asyncio.Task[Candidate]:
        """Let a job look for a seat; perhaps on one device alone."""
        finder, wish = self.finder(), replace(ask(), device=device)

        def choose(excluded: Mapping[str, str], spent_usd: float) -> Decision:
            self.asked = wish
            return self.choose(excluded, spent_usd)

        finder.choose = choose
        return tasks.create_task(finder.take({}, first=False))


async def test_a_job_goes_on_when_its_hours_are_over() -> None:
    """The limit ends, no device says anything new, and the job has its seat."""
    house = Fleet(policy=CLOSED).add("pi")
    async with asyncio.TaskGroup() as tasks:
        waiting = house.job(tasks)
        await turns(lambda: house.line.waiting > 0)
        house.reopen()
        asked = len(house.decisions)
        house.policy = RoutingPolicy()
        house.reopen()
        seat = await waiting

    assert (1, "pi") == (asked, seat.device)


async def test_a_job_goes_on_when_a_device_has_cooled_down() -> None:
    """A heartbeat that tells of less heat is no change of the fleet, but opens a device all the same."""
    house = Fleet(policy=RoutingPolicy(caps=Caps(celsius=80.0))).add("pi", temperature_c=85.0)
    async with asyncio.TaskGroup() as tasks:
        waiting = house.job(tasks)
        await turns(lambda: house.line.waiting > 0)
        house.add("pi", seq=2, temperature_c=60.0, models=house.roster.fleet.devices["pi"].beat.models)
        house.reopen()
        seat = await waiting

    assert "pi" == seat.device


async def test_as_many_are_asked_as_have_room() -> None:
    """Fifty wait for the end of a limit, and two slots open: two choose again and get them, and not all fifty."""
    house = Fleet(policy=CLOSED).add("a", "b")
    async with asyncio.TaskGroup() as tasks:
        jobs = [house.job(tasks) for _ in range(50)]
        await turns(lambda: house.line.waiting == 50)
        house.policy = RoutingPolicy(caps=Caps(fleet_w=20.0))
        before = len(house.decisions)
        house.reopen()
        await turns(lambda: house.line.waiting == 48)
        asked = len(house.decisions) - before
        for one in jobs:
            one.cancel()

    assert {"a": 1, "b": 1} == {name: one.own for name, one in house.roster.fleet.devices.items()}
    assert asked <= 4  # each once to choose, and once more with the slot in hand


async def test_jobs_of_a_burst_stay_below_the_limit_together() -> None:
    """Forty jobs at once over eight boards, of which four may work: no board reports meanwhile, each job gets its seat when another
    one ends, and the watts never exceed the limit."""
    house = Fleet(policy=RoutingPolicy(caps=Caps(fleet_w=55.0))).add(*"abcdefgh")  # 8 x 3, and 4 x 7 more: 52
    seen: list[float] = []

    async def run(job: asyncio.Task[Candidate]) -> None:
        seat = await job
        seen.append(house.drawn_w)
        await asyncio.sleep(0)
        house.line.give_back(seat.device)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(40):
            tasks.create_task(run(house.job(tasks)))

    assert (40, 52.0, 0) == (len(seen), max(seen), house.line.waiting)


async def test_a_job_that_the_limit_keeps_from_its_device_has_its_turn() -> None:
    """The limit lets one board work. Who waits for the other one came first, and gets the watts of the job that ends; not whoever
    came later for the board that was busy."""
    house = Fleet(policy=RoutingPolicy(caps=Caps(fleet_w=13.0))).add("a", "b")
    house.roster.take("a")
    async with asyncio.TaskGroup() as tasks:
        first = house.job(tasks, "b")
        await turns(lambda: house.line.waiting == 1)
        second = house.job(tasks, "a")
        await turns(lambda: house.line.waiting == 2)
        house.line.give_back("a")
        seat = await first
        waits = not second.done()
        house.line.give_back("b")
        other = await second

    assert ("b", True, "a") == (seat.device, waits, other.device)


async def test_a_slot_goes_on_to_the_next_when_the_first_has_no_use_for_it() -> None:
    """The one who comes first may still not use its device: the slot that came free is not held back for it."""
    house = (
        Fleet(policy=RoutingPolicy(caps=Caps(fleet_w=13.0, celsius=80.0)))
        .add("a", slots=2)
        .add("b", temperature_c=85.0)
    )
    house.roster.take("a")
    house.roster.take("a")
    async with asyncio.TaskGroup() as tasks:
        hot = house.job(tasks, "b")
        await turns(lambda: house.line.waiting == 1)
        second = house.job(tasks, "a")
        await turns(lambda: house.line.waiting == 2)
        house.line.give_back("a")
        seat = await second
        hot.cancel()

    assert ("a", True) == (seat.device, hot.cancelled())
