"""The line of waiting jobs: slots go to who is next, and none is ever lost or given twice."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import QueueFull
from common.messages import DeviceState, Heartbeat, Priority
from dispatcher.delivery.flow import Place
from dispatcher.delivery.line import Line, Rules
from dispatcher.delivery.ticket import Ticket
from dispatcher.roster import Roster
from tests.unit.dispatcher.builders import beat

FAR_S = 3600.0


def at(timeout_s: float = FAR_S, **fields: Any) -> Place:
    """A place with plenty of time."""
    return Place(deadline_s=asyncio.get_running_loop().time() + timeout_s, **fields)


class House:
    """A roster, its line, and the jobs that wait there; `served` are those that got a slot, in that order."""

    def __init__(self, *, rules: Rules | None = None, **slots: int) -> None:
        self.roster = Roster(dispatcher="here")
        self.line = Line(self.roster, rules)
        self.slots = slots
        self.seq = 1
        self.served: list[tuple[str, str]] = []
        self.called = 0
        self.rounds = 0
        self.full = 0
        self.beat_all()

    def beat_all(self, **fields: Any) -> None:
        """Let every device send a heartbeat."""
        self.seq += 1
        for name, slots in self.slots.items():
            self.roster.observe(beat(name, seq=self.seq, slots=slots, **fields), 0.0)

    def stopped(self, name: str) -> Heartbeat:
        """The good-bye of a device."""
        self.seq += 1
        return beat(name, seq=self.seq, state=DeviceState.STOPPED)

    def own(self) -> dict[str, int]:
        return {name: device.own for name, device in self.roster.fleet.devices.items()}

    async def wait(
        self,
        job: str,
        devices: Collection[str] = ("nano",),
        *,
        first: bool = False,
        rounds_s: Sequence[float] = (FAR_S,),
        **place: Any,
    ) -> None:
        """Stand in the line until a slot comes, in rounds of so many seconds; the last length is that of all further ones."""
        now = asyncio.get_running_loop().time
        with self.line.join(at(**place), first=first) as ticket:
            for number in itertools.count():
                try:
                    device = await ticket.wait(devices, until_s=now() + rounds_s[min(number, len(rounds_s) - 1)])
                except TimeoutError:
                    self.rounds += 1
                    continue
                if device is not None:
                    self.served.append((job, device))
                    return
                self.called += 1

    async def try_wait(self, job: str, devices: Collection[str], **how: Any) -> None:
        """Wait, unless there is no room to wait in."""
        try:
            await self.wait(job, devices, **how)
        except QueueFull:
            self.full += 1

    def fill(self) -> None:
        """Take every slot that is free."""
        for name, device in self.roster.fleet.devices.items():
            for _ in range(device.free_slots):
                self.line.take(name)


async def turn(times: int = 3) -> None:
    """Let the loop run what is ready."""
    for _ in range(times):
        await asyncio.sleep(0)


async def past(ticket: Ticket, devices: Collection[str] = ("nano",)) -> None:
    """Wait until a moment that is past, which takes in the choice."""
    with pytest.raises(TimeoutError):
        await ticket.wait(devices, until_s=asyncio.get_running_loop().time())


async def test_first_come_first_served() -> None:
    """Slots go to those who wait in the order in which they came."""
    house = House(nano=1)
    house.fill()
    async with asyncio.TaskGroup() as jobs:
        for job in "abc":
            jobs.create_task(house.wait(job))
        await turn()
        for _ in "abc":
            house.line.give_back("nano")
            await turn()

    assert [("a", "nano"), ("b", "nano"), ("c", "nano")] == house.served


async def test_a_free_slot_is_taken_at_once() -> None:
    """Whoever joins while a slot is free does not wait for anything to happen."""
    house = House(nano=1)
    await house.wait("a")

    assert ([("a", "nano")], {"nano": 1}) == (house.served, house.own())


async def test_the_best_free_device_is_given() -> None:
    """Of several free devices the first of the list is given."""
    house = House(nano=1, orin=1)
    await house.wait("a", ("orin", "nano"))

    assert [("a", "orin")] == house.served


async def test_a_slot_goes_to_the_first_who_can_use_it() -> None:
    """Who waits for another device is passed over, and keeps the place."""
    house = House(nano=1, orin=1)
    house.fill()
    async with asyncio.TaskGroup() as jobs:
        jobs.create_task(house.wait("a", ("orin",)))
        jobs.create_task(house.wait("b", ("nano", "orin")))
        await turn()
        house.line.give_back("nano")
        await turn()
        house.line.give_back("orin")

    assert [("b", "nano"), ("a", "orin")] == house.served


async def test_a_job_that_lost_its_device_is_next() -> None:
    """A job that had a device already stands at the head of the line."""
    house = House(nano=1)
    house.fill()
    async with asyncio.TaskGroup() as jobs:
        jobs.create_task(house.wait("a"))
        await turn()
        jobs.create_task(house.wait("again", first=True))
        await turn()
        house.line.give_back("nano")
        await turn()
        house.line.give_back("nano")

    assert ["again", "a"] == [job for job, _ in house.served]


async def test_a_ticket_keeps_its_place_over_time_outs() -> None:
    """Waiting in rounds, to tell the producer that it waits, costs no place."""
    house = House(nano=1)
    house.fill()
    async with asyncio.timeout(10), asyncio.TaskGroup() as jobs:
        jobs.create_task(house.wait("a", rounds_s=(0.0, 0.0, FAR_S)))
        await turn(1)
        jobs.create_task(house.wait("b"))
        while house.rounds < 2:
            await turn(1)
        house.line.give_back("nano")
        await turn()
        house.line.give_back("nano")

    assert ["a", "b"] == [job for job, _ in house.served]


async def test_positions_count_from_one() -> None:
    """A ticket knows how many stand before it, and moves up."""
    house = House(nano=1)
    line = house.line
    house.fill()
    with line.join(at()) as one, line.join(at()) as two, line.join(at(), first=True) as head, line.join(at()) as late:
        for ticket in (one, two, head):
            await past(ticket)
        positions = [ticket.position for ticket in (head, one, two, late)]
        waiting = line.waiting

    assert ([1, 2, 3, 4], 4, 0) == (positions, waiting, line.waiting)


async def test_the_end_of_waiting_is_a_time_out() -> None:
    """A ticket that is not served by its time raises, and has taken nothing."""
    house = House(nano=1)
    house.fill()
    raised = False
    with house.line.join(at()) as ticket:
        try:
            await ticket.wait(["nano"], until_s=asyncio.get_running_loop().time())
        except TimeoutError:
            raised = True

    assert (True, {"nano": 1}) == (raised, house.own())


async def test_a_slot_granted_in_the_moment_of_a_cancel_comes_back() -> None:
    """When a job is cancelled after its slot was granted and before it knows, the slot goes to the next in line."""
    house = House(nano=1)
    house.fill()
    async with asyncio.TaskGroup() as jobs:
        first = jobs.create_task(house.wait("a"))
        jobs.create_task(house.wait("b"))
        await turn()
        house.line.give_back("nano")
        first.cancel()

    assert ([("b", "nano")], {"nano": 1}) == (house.served, house.own())


async def test_a_slot_granted_in_the_moment_of_a_time_out_is_kept() -> None:
    """When the time is over after the slot was granted and before the job knows, the job has its slot."""
    house = House(nano=1)
    house.fill()
    got: list[str | None] = []

    async def impatient() -> None:
        with house.line.join(at()) as ticket:
            got.append(await ticket.wait(["nano"], until_s=asyncio.get_running_loop().time()))

    async with asyncio.TaskGroup() as jobs:
        jobs.create_task(impatient())
        await asyncio.sleep(0)  # it waits, and its time-out is due in the next turn
        house.line.give_back("nano")

    assert (["nano"], {"nano": 1}) == (got, house.own())


async def test_a_ticket_stays_entitled_while_its_holder_is_busy() -> None:
    """A slot that comes free while a job tells its producer that it waits is that job's, not the next one's."""
    house = House(nano=1)
    house.fill()
    async with asyncio.TaskGroup() as jobs:
        with house.line.join(at()) as ticket:
            await past(ticket)
            behind = jobs.create_task(house.wait("b"))
            await turn()
            house.line.give_back("nano")
            await turn()
            before = list(house.served)
            device = await ticket.wait(["nano"], until_s=0.0)
        behind.cancel()

    assert ([], "nano") == (before, device)


async def test_a_slot_that_nobody_fetched_goes_on() -> None:
    """Who leaves the line without having heard of the slot that it was given loses it to the next."""
    house = House(nano=1)
    house.fill()
    async with asyncio.TaskGroup() as jobs:
        with house.line.join(at()) as ticket:
            await past(ticket)
            jobs.create_task(house.wait("b"))
            await turn()
            house.line.give_back("nano")
        await turn()

    assert ([("b", "nano")], {"nano": 1}) == (house.served, house.own())


async def test_a_slot_that_is_not_wanted_any_more_goes_on() -> None:
    """A job that has chosen otherwise meanwhile gives back the slot that was kept for it."""
    house = House(nano=1, orin=1)
    house.fill()
    async with asyncio.TaskGroup() as jobs:
        with house.line.join(at()) as ticket:
            await past(ticket)
            jobs.create_task(house.wait("b"))
            await turn()
            house.line.give_back("nano")
            await past(ticket, ("orin",))
        await turn()

    assert ([("b", "nano")], {"nano": 1, "orin": 1}) == (house.served, house.own())


async def test_a_change_of_the_fleet_lets_all_choose_again() -> None:
    """When a device joins, is lost or comes back, each job that waits asks routing again."""
    house = House(nano=1)
    house.fill()
    async with asyncio.TaskGroup() as jobs:
        jobs.create_task(house.wait("a", ("orin", "nano")))
        jobs.create_task(house.wait("b", ("orin", "nano")))
        await turn()
        house.slots["orin"] = 2
        house.beat_all()
        await turn()

    assert (2, [("a", "orin"), ("b", "orin")]) == (house.called, house.served)


@pytest.mark.parametrize(
    ("change", "called"),
    [
        (lambda house: house.roster.observe(beat("orin"), 0.0), True),  # one has come: all choose again
        (lambda house: house.roster.sweep(1000.0), True),  # the one that it waits for is gone
        (
            lambda house: house.roster.observe(beat("nano", seq=9, jobs_by_dispatcher={"there": 1}), 0.0),
            False,
        ),  # fuller
    ],
    ids=["joined", "lost", "fuller"],
)
async def test_a_change_between_two_rounds_is_not_missed(change: Callable[[House], None], called: bool) -> None:
    """What happens to the fleet while a job tells its producer that it waits is known to it when it waits again."""
    house = House(nano=1)
    house.fill()
    now = asyncio.get_running_loop().time
    heard = False
    with house.line.join(at()) as ticket:
        for wait_s in (0.0, 0.05):
            try:
                heard = await ticket.wait(["nano"], until_s=now() + wait_s) is None
            except TimeoutError:
                change(house)

    assert called == heard


async def test_a_device_that_is_well_again_lets_all_choose_again() -> None:
    """A job that did not count on a faulty device hears at once that it is ready."""
    house = House(nano=1)
    house.fill()
    house.slots["orin"] = 1
    house.beat_all(state=DeviceState.FAULTY)
    async with asyncio.TaskGroup() as jobs:
        waiting = jobs.create_task(house.wait("a"))
        await turn()
        house.called = 0
        house.beat_all()
        await turn()
        waiting.cancel()

    assert 1 == house.called


async def test_room_that_others_made_is_used() -> None:
    """A slot that another dispatcher's job leaves goes to whoever waits here."""
    house = House(nano=1)
    house.beat_all(jobs_by_dispatcher={"there": 1})
    async with asyncio.TaskGroup() as jobs:
        jobs.create_task(house.wait("a"))
        await turn()
        before = list(house.served)
        house.beat_all()

    assert ([], [("a", "nano")]) == (before, house.served)


async def test_a_device_that_takes_no_work_gets_none() -> None:
    """Free slots of a draining device are given to nobody, until it is ready again."""
    house = House(nano=1)
    house.beat_all(state=DeviceState.DRAINING)
    async with asyncio.TaskGroup() as jobs:
        jobs.create_task(house.wait("a"))
        await turn()
        before = list(house.served)
        house.beat_all()

    assert ([], [("a", "nano")]) == (before, house.served)


# -- conservation -----------------------------------------------------------------------------------------------------------

DEVICES = ("nano", "orin", "pi5")

MOVES = st.one_of(
    st.tuples(st.just("join"), st.sets(st.sampled_from(DEVICES), min_size=1), st.booleans()),
    st.tuples(st.just("impatient"), st.sets(st.sampled_from(DEVICES), min_size=1), st.booleans()),
    st.tuples(st.just("cancel"), st.integers(0, 9), st.none()),
    st.tuples(st.just("finish"), st.integers(0, 9), st.none()),
    st.tuples(st.just("beat"), st.sampled_from(list(DeviceState)), st.none()),
    st.tuples(st.just("silence"), st.sampled_from([3.0, 9.0]), st.none()),
    st.tuples(st.just("turn"), st.none(), st.none()),
)


async def play(moves: list[tuple[str, object, object]]) -> tuple[dict[str, int], bool, int, list[str]]:
    """Play moves, end everything, and give the own counts, whether a device was ever overfilled, who still waits, and the devices
    that had a slot for somebody who waited, and kept it."""
    house = House(nano=1, orin=2, pi5=3, rules=Rules(limit=5, guard_s=0.001, weights={"a": 2.0}))
    waiting: list[asyncio.Task[None]] = []
    finished, overfilled = 0, False
    async with asyncio.TaskGroup() as jobs:
        for kind, what, first in moves:
            match kind:
                case "join" | "impatient":
                    rounds_s = (FAR_S if kind == "join" else 0.0,)
                    kinds = list(Priority)
                    place = {"tenant": "ab"[len(waiting) % 2], "priority": kinds[len(waiting) % 3]}
                    wait = house.try_wait("job", sorted(what), first=bool(first), rounds_s=rounds_s, **place)  # type: ignore[call-overload]
                    waiting.append(jobs.create_task(wait))
                case "cancel" if waiting:
                    waiting.pop(int(str(what)) % len(waiting)).cancel()
                case "finish" if finished < len(house.served):
                    house.line.give_back(house.served[finished][1])
                    finished += 1
                case "beat":
                    house.beat_all(state=what)
                case "silence":
                    house.roster.sweep(float(str(what)))
                case "turn":
                    await turn(1)
            overfilled |= any(house.own()[name] > slots for name, slots in house.slots.items())
        await turn(20)
        kept = [
            name
            for ticket in house.line._tickets
            for name in ticket.devices
            if house.line._room(name) and not ticket._called
        ]
        for task in waiting:
            task.cancel()
    for _, device in house.served[finished:]:
        house.line.give_back(device)
    return house.own(), overfilled, house.line.waiting, kept


@settings(deadline=None)
@given(st.lists(MOVES, max_size=40))
def test_slots_are_conserved(moves: list[tuple[str, object, object]]) -> None:
    """After any sequence of joins, cancels, time-outs, ends and changes of the fleet no slot is lost, none was given twice, and
    none is free while somebody waits for it."""
    assert (dict.fromkeys(DEVICES, 0), False, 0, []) == asyncio.run(play(moves))
