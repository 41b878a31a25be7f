"""What the line refuses, whom it wakes, and what it tells of the time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection
from contextlib import ExitStack
from typing import Any

import pytest

from common.errors import DeadlineInfeasible, QueueFull
from common.messages import Priority
from dispatcher.delivery.line import ASKED_AT_ONCE, Rules
from dispatcher.delivery.ticket import Ticket
from tests.unit.dispatcher.test_line import FAR_S, House, at, past, turn


def stand(house: House, stack: ExitStack, number: int = 1, **place: Any) -> list[Ticket]:
    """Let so many join; they stay until the stack closes."""
    return [stack.enter_context(house.line.join(at(**place))) for _ in range(number)]


async def stand_waiting(house: House, stack: ExitStack, number: int = 1, **place: Any) -> list[Ticket]:
    """Let so many join and wait."""
    tickets = stand(house, stack, number, **place)
    for ticket in tickets:
        await past(ticket)
    return tickets


def full_house(**rules: Any) -> House:
    house = House(rules=Rules(**rules), nano=1)
    house.fill()
    return house


async def test_above_the_limit_nobody_may_wait() -> None:
    """The line refuses one more, says how many wait, and when to come again."""
    house = full_house(limit=2)
    with ExitStack() as stack:
        await stand_waiting(house, stack, 2)
        with pytest.raises(QueueFull, match=r"2 jobs wait already \(limit 2\)") as refused:
            stand(house, stack)

    assert (5.0, 0) == (refused.value.retry_after_s, house.line.waiting)


async def test_a_limit_of_nothing_lets_nobody_wait() -> None:
    """With a limit of 0 a job runs at once or not at all, also one that lost its device."""
    house = full_house(limit=0)
    refused = 0
    for first in (False, True):
        with pytest.raises(QueueFull, match="nobody may wait"), house.line.join(at(), first=first):
            pass
        refused += 1

    assert 2 == refused


async def test_who_had_a_device_is_let_in_anyhow() -> None:
    """A job that lost its device waits for another, though the line is full: it was promised an answer."""
    house = full_house(limit=1)
    with ExitStack() as stack:
        await stand_waiting(house, stack)
        with house.line.join(at(), first=True) as again:
            await past(again)

            assert (2, 1) == (house.line.waiting, again.position)


async def test_a_higher_class_takes_the_last_place_of_the_lowest() -> None:
    """When the line is full, an interactive job comes in, and the last batch job hears that the line is full."""
    house = full_house(limit=3)
    with ExitStack() as stack:
        normal, kept, shed = [
            (await stand_waiting(house, stack, priority=one))[0]
            for one in (Priority.NORMAL, Priority.BATCH, Priority.BATCH)
        ]
        (urgent,) = await stand_waiting(house, stack, priority=Priority.INTERACTIVE)
        with pytest.raises(QueueFull, match="the line is full"):
            await shed.wait(["nano"], until_s=FAR_S)

        assert ([1, 2, 3], 3) == ([one.position for one in (urgent, normal, kept)], house.line.waiting)


async def test_one_who_waits_hears_at_once_that_its_place_is_gone() -> None:
    """A job that is shed while it waits ends then, not at its next time-out."""
    house = full_house(limit=1)
    refused: list[str] = []

    async def batch() -> None:
        try:
            await house.wait("batch", priority=Priority.BATCH)
        except QueueFull as error:
            refused.append(error.code)

    async with asyncio.TaskGroup() as jobs:
        jobs.create_task(batch())
        await turn()
        with ExitStack() as stack:
            stand(house, stack)
            await turn()
            heard = list(refused)

    assert ["queue_full"] == heard


async def let_in(house: House, stack: ExitStack) -> bool:
    """Try to let one more of another tenant wait."""
    try:
        await stand_waiting(house, stack, tenant="other")
    except QueueFull:
        return False
    return True


async def test_a_crowd_does_not_keep_others_out() -> None:
    """When one tenant has filled the line, another still gets in, up to its share of the places."""
    house = full_house(limit=10)
    with ExitStack() as stack:
        await stand_waiting(house, stack, 10, tenant="crowd")
        entered = [await let_in(house, stack) for _ in range(10)]

    assert sum(entered) in {4, 5}


async def test_a_full_line_does_not_matter_to_whom_a_slot_is_free() -> None:
    """A slot that nobody in the line can use is free for a job that can."""
    house = House(rules=Rules(limit=1), nano=1, orin=1)
    house.line.take("nano")
    with ExitStack() as stack:
        await stand_waiting(house, stack)

        assert (False, True) == (house.line.has_room("nano"), house.line.has_room("orin"))


# -- deadlines --------------------------------------------------------------------------------------------------------------


def known(house: House, *, took: float = 1.0, tenant: str = "default", kind: str = "") -> None:
    """Let answers have taken `took` times what was expected."""
    for _ in range(30):
        house.line.habits.answered((tenant, kind), asyncio.get_running_loop().time(), expected_s=1.0, took_s=took)


def paced(house: House, kind: str = "") -> None:
    """Let the line have moved at one slot a second."""
    for number in range(30):
        house.line.pace.granted(1.0 * number, kind)


async def refused(house: House, stack: ExitStack, devices: Collection[str] = ("nano",), **place: Any) -> bool:
    """Let one more join; tell whether it hears at once that it has no time."""
    first = place.pop("first", False)
    ticket = stack.enter_context(house.line.join(at(**place), first=first))
    try:
        await past(ticket, devices)
    except DeadlineInfeasible:
        return True
    return False


async def test_who_is_refused_hears_why_and_when_to_come_again() -> None:
    """Behind 40 jobs at one a second, a job with 10 s is told what its wait would be."""
    house = full_house()
    with ExitStack() as stack:
        await stand_waiting(house, stack, 40, work_s=1.0)
        known(house)
        paced(house)
        (late,) = stand(house, stack, timeout_s=10.0, priority=Priority.BATCH)
        with pytest.raises(DeadlineInfeasible) as error:
            await late.wait(["nano"], until_s=FAR_S)

    assert (40.0, 40.0, True) == (
        error.value.details["wait_s"],
        error.value.retry_after_s,
        "40 jobs are served before, which takes about 40 s" in error.value.message,
    )


@pytest.mark.parametrize(("timeout_s", "expected"), [(30.0, True), (36.0, False)])
async def test_behind_known_work_only_the_hopeless_are_refused(timeout_s: float, expected: bool) -> None:
    """40 jobs of a second take 32 s on one slot if a quarter less has to be done: with 30 s there is no point, with 36 there is."""
    house = full_house()
    known(house)
    with ExitStack() as stack:
        await stand_waiting(house, stack, 40, work_s=1.0)

        assert expected is await refused(house, stack, timeout_s=timeout_s, priority=Priority.BATCH)


@pytest.mark.parametrize(
    ("work_s", "timeout_s", "expected"), [(8.0, 30.0, True), (8.0, 36.0, False), (0.0, 1.0, False)]
)
async def test_before_anything_was_answered_jobs_may_be_an_eighth_as_long(
    work_s: float, timeout_s: float, expected: bool
) -> None:
    """40 jobs of 8 s on one slot may be over in 40, or in 32; and where no device has measured its speed nothing is ruled out."""
    house = full_house()
    with ExitStack() as stack:
        await stand_waiting(house, stack, 40, expected_s=8.0, work_s=work_s)

        assert expected is await refused(house, stack, timeout_s=timeout_s, priority=Priority.BATCH)


async def test_a_long_job_behind_short_ones_waits() -> None:
    """Those in front count for what they are, not for what the newcomer is: 30 jobs of a second are over long before 300 s."""
    house = full_house()
    with ExitStack() as stack:
        await stand_waiting(house, stack, 30, expected_s=1.0, work_s=1.0, timeout_s=250.0)

        assert not await refused(house, stack, timeout_s=300.0, expected_s=100.0, work_s=100.0)


@pytest.mark.parametrize(("tenant", "expected"), [("stories", True), ("questions", False)])
async def test_jobs_in_front_cost_what_those_of_their_tenant_do(tenant: str, expected: bool) -> None:
    """20 jobs of one whose answers are four times as long as expected take 64 s at least; those of another may be short."""
    house = full_house()
    known(house, took=4.0, tenant="stories")
    with ExitStack() as stack:
        await stand_waiting(house, stack, 20, work_s=1.0, tenant=tenant)

        assert expected is await refused(house, stack, timeout_s=50.0, tenant="other", priority=Priority.BATCH)


@pytest.mark.parametrize(("slots", "expected"), [(1, True), (4, False)])
async def test_a_device_that_comes_counts_at_once(slots: int, expected: bool) -> None:
    """40 jobs of a second are no reason to refuse one with 10 s any more when there are four times as many slots."""
    house = full_house()
    with ExitStack() as stack:
        known(house)
        await stand_waiting(house, stack, 40, work_s=1.0)
        house.slots["nano"] = slots
        house.beat_all(in_flight=slots)
        house.line.take("nano")

        assert expected is await refused(house, stack, timeout_s=10.0, priority=Priority.BATCH)


@pytest.mark.parametrize(("kind", "expected"), [("", True), ("other", False)])
async def test_who_waits_for_something_else_is_not_in_the_way(kind: str, expected: bool) -> None:
    """Behind 40 jobs for one model, a job with 10 s for the same has no time; one for another model, whose device is only
    busy now, has."""
    house = House(nano=1, orin=1)
    house.fill()
    with ExitStack() as stack:
        await stand_waiting(house, stack, 40, timeout_s=9.0, work_s=1.0)
        known(house)

        assert expected is await refused(house, stack, ["orin" if kind else "nano"], timeout_s=10.0, kind=kind)


async def two_lines(house: House, stack: ExitStack, **place: Any) -> Ticket:
    """Let 50 urgent jobs wait for nano, one for orin, and 50 of a lower class behind that one."""
    house.fill()
    for tenant in ("default", "other"):
        known(house, kind="orin's", tenant=tenant)
        known(house, kind="nano's", tenant=tenant)
    await stand_waiting(house, stack, 50, kind="nano's", priority=Priority.INTERACTIVE, work_s=1.0)
    (mine,) = stand(house, stack, kind="orin's", priority=Priority.INTERACTIVE, tenant="other", work_s=1.0, **place)
    for one in stand(house, stack, 50, kind="orin's", priority=Priority.BATCH, work_s=1.0):
        await past(one, ["orin"])
    return mine


async def test_the_next_of_its_own_kind_is_let_in_and_may_stay() -> None:
    """Whoever stands before and behind it: a job with 20 s that is the first for its own device is not refused."""
    house = House(nano=1, orin=1)
    with ExitStack() as stack:
        mine = await two_lines(house, stack, timeout_s=20.0)
        await past(mine, ["orin"])
        mine.require_time()

        assert (True, None) == (house.line.waiting == 101, mine.slot)


async def test_the_next_of_its_own_kind_gets_its_slot_though_time_is_short() -> None:
    """When its device comes free, a job of which one in ten is over in the time that is left gets the slot."""
    house = House(nano=1, orin=1)
    with ExitStack() as stack:
        mine = await two_lines(house, stack, timeout_s=0.9)
        await past(mine, ["orin"])
        for share in (0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4):
            house.line.habits.answered(
                ("other", "orin's"), asyncio.get_running_loop().time(), expected_s=1.0, took_s=share
            )
        house.line.give_back("orin")

        assert "orin" == mine.slot


async def test_who_had_a_device_is_never_told_that_it_is_hopeless() -> None:
    """A job that lost its device waits for another to the last moment, whoever stands before it."""
    house = full_house()
    with ExitStack() as stack:
        await stand_waiting(house, stack, 40, work_s=1.0, priority=Priority.INTERACTIVE)
        known(house)

        assert not await refused(house, stack, timeout_s=1.0, first=True)


async def test_a_slot_goes_to_who_can_finish() -> None:
    """When its slot comes free too late for a job, the next one gets it, of a lower class too; and the job is not refused, but
    gets what nobody else wants."""
    house = full_house()
    known(house)
    async with asyncio.TaskGroup() as jobs:
        jobs.create_task(house.wait("late", timeout_s=20.0, expected_s=100.0, priority=Priority.INTERACTIVE))
        jobs.create_task(house.wait("next"))
        await turn()
        house.line.give_back("nano")
        await turn()
        house.line.give_back("nano")

    assert [("next", "nano"), ("late", "nano")] == house.served


async def test_a_free_slot_is_never_refused_for_what_was_learnt() -> None:
    """After answers four times as long as expected, a job with little time still gets a slot that is free."""
    house = full_house()
    known(house, took=40.0)
    async with asyncio.TaskGroup() as jobs:
        jobs.create_task(house.wait("short", timeout_s=5.0))
        await turn()
        house.line.give_back("nano")

    assert [("short", "nano")] == house.served


@pytest.mark.parametrize(("load_s", "expected"), [(20.0, True), (8.0, False)])
async def test_a_load_that_takes_longer_than_there_is_time_is_refused(load_s: float, expected: bool) -> None:
    """With 3 s there is no point in a load that has taken 20, as it takes 5 out of the page cache; one of 8 s may be over in 2."""
    house = House(nano=1)
    try:
        house.line.require_load(at(timeout_s=3.0), load_s)
        told = False
    except DeadlineInfeasible:
        told = True

    assert expected is told


@pytest.mark.parametrize(("crowd", "expected"), [(30, True), (3, False)])
async def test_who_was_overtaken_is_refused_before_its_time_is_over(crowd: int, expected: bool) -> None:
    """A job that was let in behind nobody hears that it waits in vain once 30 of a higher class stand before it, and not for 3."""
    house = full_house()
    with ExitStack() as stack:
        (ticket,) = await stand_waiting(house, stack, timeout_s=10.0)
        await stand_waiting(house, stack, crowd, priority=Priority.INTERACTIVE, work_s=1.0)
        known(house)
        told = False
        try:
            ticket.require_time()
        except DeadlineInfeasible:
            told = True

        assert expected is told


async def test_who_will_be_cut_anyhow_is_nobody_s_reason_to_wait() -> None:
    """Jobs that have too little time left themselves are not in the way of one with more, of a lower class too."""
    house = full_house()
    with ExitStack() as stack:
        await stand_waiting(house, stack, 3, timeout_s=0.5, work_s=1.0)
        (mine,) = await stand_waiting(house, stack, timeout_s=30.0, priority=Priority.BATCH)
        known(house)
        house.line.give_back("nano")

        assert "nano" == mine.slot


async def test_the_hop_to_a_device_is_no_time_for_it() -> None:
    """A job whose time is just enough without the way there gets its slot after one that has enough with it."""
    house = full_house()
    known(house)
    async with asyncio.TaskGroup() as jobs:
        jobs.create_task(house.wait("cut", timeout_s=1.05))
        jobs.create_task(house.wait("whole", timeout_s=2.0))
        await turn()
        house.line.give_back("nano")
        await turn()
        house.line.give_back("nano")

    assert [("whole", "nano"), ("cut", "nano")] == house.served


async def test_the_wait_is_told_by_the_pace() -> None:
    """The third in a line that gives out one slot a second waits some three seconds; before the pace is known, nothing is said."""
    house = full_house()
    with ExitStack() as stack:
        *_, third = await stand_waiting(house, stack, 3)
        before = third.eta_s
        paced(house)

        assert (None, 3.0) == (before, third.eta_s)


# -- who is woken -----------------------------------------------------------------------------------------------------------


class Choosers:
    """Jobs that wait for two devices, and note each time they choose again; then they want the new one as well."""

    def __init__(self, house: House, number: int, devices: Collection[str] = ("nano", "pi5")) -> None:
        self.house = house
        self.number = number
        self.devices = devices
        self.chose: list[int] = []
        self.got: list[tuple[int, str]] = []

    async def one(self, number: int, more: Collection[str]) -> None:
        wanted = list(self.devices)
        with self.house.line.join(at()) as ticket:
            while (device := await ticket.wait(wanted, until_s=FAR_S * 1e6)) is None:
                self.chose.append(number)
                wanted = [*more, *self.devices]
            self.got.append((number, device))

    def start(self, jobs: asyncio.TaskGroup, more: Collection[str] = ("orin",)) -> list[asyncio.Task[None]]:
        return [jobs.create_task(self.one(number, more)) for number in range(self.number)]


async def with_choosers(choosers: Choosers, change: Any, turns: int, **more: Any) -> None:
    """Let them wait, change the fleet, and give them so many turns."""
    async with asyncio.TaskGroup() as jobs:
        tasks = choosers.start(jobs, **more)
        await turn()
        change(choosers.house)
        await turn(turns)
        for task in tasks:
            task.cancel()


def comes(house: House, *, slots: int) -> None:
    house.slots["orin"] = slots
    house.beat_all()


async def test_a_device_that_comes_wakes_as_many_as_it_has_slots() -> None:
    """Of a hundred who wait, the next three choose again and run; the others keep waiting undisturbed."""
    house = House(nano=1, pi5=1)
    house.fill()
    choosers = Choosers(house, 100)
    await with_choosers(choosers, lambda house: comes(house, slots=3), 50)

    assert ([0, 1, 2], [(0, "orin"), (1, "orin"), (2, "orin")]) == (choosers.chose, choosers.got)


async def test_a_large_device_wakes_few_at_a_time() -> None:
    """However many slots come, only so many choose again in one turn of the loop, and all slots are used in the end."""
    house = House(nano=1, pi5=1)
    house.fill()
    choosers = Choosers(house, 100)
    seen: list[int] = []

    async def watch() -> None:
        while len(choosers.got) < 60:
            seen.append(len(choosers.chose))
            await asyncio.sleep(0)

    async with asyncio.timeout(30), asyncio.TaskGroup() as jobs:
        tasks = choosers.start(jobs)
        await turn()
        comes(house, slots=60)
        await watch()
        for task in tasks:
            task.cancel()
    steps = [after - before for before, after in itertools.pairwise(seen)]

    assert (60, True) == (len(choosers.got), max(steps) <= 2 * ASKED_AT_ONCE)


async def test_who_does_not_want_the_new_device_lets_the_next_have_it() -> None:
    """Its slot is kept while the first in line chooses again, and goes on when that one has no use for it."""
    house = House(nano=1, pi5=1)
    house.fill()
    choosers = Choosers(house, 1)
    async with asyncio.TaskGroup() as jobs:
        tasks = choosers.start(jobs, more=())
        await turn()
        tasks += Choosers.start(others := Choosers(house, 1), jobs)
        await turn()
        comes(house, slots=1)
        behind = house.line.has_room("orin")
        await turn(5)
        for task in tasks:
            task.cancel()

    assert (False, [0], [], [(0, "orin")]) == (behind, choosers.chose, choosers.got, others.got)


async def test_who_leaves_while_being_asked_lets_the_next_have_it() -> None:
    """A job that is cancelled before it has chosen again keeps no slot from the others."""
    house = House(nano=1, pi5=1)
    house.fill()
    choosers = Choosers(house, 2)
    async with asyncio.TaskGroup() as jobs:
        tasks = choosers.start(jobs)
        await turn()
        comes(house, slots=1)
        tasks[0].cancel()
        await turn(5)
        tasks[1].cancel()

    assert [(1, "orin")] == choosers.got


async def test_who_gets_another_slot_while_being_asked_lets_the_next_have_it() -> None:
    """A slot that waited for a job's choice goes on when the job runs elsewhere meanwhile."""
    house = House(nano=1, pi5=1)
    house.fill()
    choosers = Choosers(house, 2)
    async with asyncio.TaskGroup() as jobs:
        tasks = choosers.start(jobs)
        await turn()
        comes(house, slots=1)
        house.line.give_back("nano")
        await turn(5)
        for task in tasks:
            task.cancel()

    assert [(0, "nano"), (1, "orin")] == choosers.got


async def test_a_device_that_goes_wakes_only_those_who_have_no_other() -> None:
    """Who can still wait for another device waits on; who can't chooses again, few in each turn."""
    house = House(nano=1, pi5=1)
    house.fill()
    lonely, others = Choosers(house, 50, ["nano"]), Choosers(house, 50)
    most = 0
    async with asyncio.TaskGroup() as jobs:
        tasks = lonely.start(jobs, more=()) + others.start(jobs)
        await turn()
        house.slots = {"pi5": 1}
        house.seq += 1
        house.roster.observe(house.stopped("nano"), 0.0)
        for _ in range(30):
            before = len(lonely.chose)
            await turn(1)
            most = max(most, len(lonely.chose) - before)
        for task in tasks:
            task.cancel()

    assert (list(range(50)), [], True) == (lonely.chose, others.chose, most <= 2 * ASKED_AT_ONCE)


async def test_positions_are_counted_rarely() -> None:
    """A thousand tickets that ask for their place at once cost one count of the line."""
    house = full_house()
    counted = 0
    ranking = house.line._order.ranking

    def counting(now_s: float) -> Any:
        nonlocal counted
        counted += 1
        return ranking(now_s)

    with ExitStack() as stack:
        tickets = await stand_waiting(house, stack, 1000)
        house.line._order.ranking = counting  # type: ignore[method-assign]
        positions = [ticket.position for ticket in tickets]

    assert (list(range(1, 1001)), True) == (positions, counted <= 3)
