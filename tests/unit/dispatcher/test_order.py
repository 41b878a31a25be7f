"""The order of service: classes, fair shares, deadlines, and nobody starves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messages import Priority
from dispatcher.delivery.flow import Chance, Place, Waiter, level
from dispatcher.delivery.order import MOST_IDLE, Judge, Order

GUARD_S = 10.0
ALL = frozenset({"nano"})


def good(_place: Place, _now_s: float) -> Chance:
    return Chance.GOOD


def an_order(judge: Judge = good, **weights: float) -> Order:
    return Order(judge, guard_s=GUARD_S, weights=weights)


def join(order: Order, *, now_s: float = 0.0, first: bool = False, **fields: Any) -> Waiter:
    """Let one more wait; without a word on it for an hour."""
    devices = fields.pop("devices", ALL)
    waiter = Waiter(Place(**{"deadline_s": now_s + 3600.0} | fields), first=first, joined_s=now_s)
    waiter.devices = devices
    order.add(waiter, now_s)
    return waiter


def anybody(_waiter: Waiter) -> bool:
    return True


def serve(order: Order, now_s: float = 0.0, fits: Callable[[Waiter], bool] = anybody) -> Waiter:
    """Serve who is next."""
    waiter = order.pick(fits, now_s)
    assert waiter is not None
    order.serve(waiter)
    return waiter


def drained(order: Order, now_s: float = 0.0) -> list[Waiter]:
    return [serve(order, now_s) for _ in range(len(order))]


@pytest.mark.parametrize(
    ("priority", "waited_s", "expected"),
    [
        (Priority.INTERACTIVE, 0.0, 0),
        (Priority.NORMAL, 9.9, 1),
        (Priority.NORMAL, 10.0, 0),
        (Priority.BATCH, 0.0, 2),
        (Priority.BATCH, 10.0, 1),
        (Priority.BATCH, 20.0, 0),
        (Priority.BATCH, 1e6, 0),
    ],
)
def test_the_class_that_a_job_counts_for(priority: Priority, waited_s: float, expected: int) -> None:
    """Its own, and one higher for each guard that it has waited."""
    assert expected == level(priority, waited_s, GUARD_S)


def test_classes_are_served_strictly() -> None:
    """Interactive jobs go before normal ones, and these before batch, however they came."""
    order = an_order()
    waiters = [join(order, priority=one) for one in (Priority.BATCH, Priority.NORMAL, Priority.INTERACTIVE)]

    assert waiters[::-1] == drained(order)


def test_inside_a_tenant_the_earliest_deadline_goes_first() -> None:
    """A lost device before all, then the deadlines, then the order of arrival."""
    order = an_order()
    late, early, again, same = (
        join(order, deadline_s=9.0),
        join(order, deadline_s=5.0),
        join(order, deadline_s=9.5, first=True),
        join(order, deadline_s=9.0),
    )

    assert [again, early, late, same] == drained(order)


def test_a_job_that_lost_its_device_is_first_of_its_own_only() -> None:
    """It overtakes neither a higher class, nor a tenant that has had less."""
    order = an_order()
    join(order, tenant="a", expected_s=100.0)
    join(order, tenant="b")
    serve(order)
    again = join(order, tenant="a", first=True)
    other, interactive = join(order, tenant="b"), join(order, tenant="a", priority=Priority.INTERACTIVE)
    order_of_service = drained(order)

    assert (interactive, "b", again, other) == (
        order_of_service[0],
        order_of_service[1].place.tenant,
        order_of_service[-1],
        order_of_service[2],
    )


def test_who_can_use_the_slot_is_served() -> None:
    """Those who wait for another device are passed over."""
    order = an_order()
    join(order, devices={"orin"})
    nano = join(order)

    assert nano is order.pick(lambda waiter: "nano" in waiter.devices, 0.0)


def test_poor_chances_come_last_in_their_class() -> None:
    """A job that will hardly make its deadline goes after those of its class that will, and before lower classes."""
    order = an_order(lambda place, now_s: Chance.POOR if place.deadline_s - now_s < 10.0 else Chance.GOOD)
    poor, fine = join(order, deadline_s=5.0), join(order, deadline_s=50.0, tenant="other")
    batch = join(order, priority=Priority.BATCH)

    assert [fine, poor, batch] == drained(order)


def test_who_has_next_to_no_chance_comes_after_all_others() -> None:
    """A job that will almost surely be cut goes after the lower classes too, and still gets a slot that nobody else wants."""
    order = an_order(lambda place, now_s: Chance.SLIGHT if place.deadline_s - now_s < 10.0 else Chance.GOOD)
    slight, batch = join(order, deadline_s=5.0, priority=Priority.INTERACTIVE), join(order, priority=Priority.BATCH)

    assert [batch, slight] == drained(order)


def test_who_had_a_device_is_not_set_back() -> None:
    """A job that lost its device goes first, whatever its chance."""
    order = an_order(lambda place, now_s: Chance.SLIGHT if place.deadline_s - now_s < 10.0 else Chance.GOOD)
    fine, again = join(order), join(order, deadline_s=5.0, first=True)

    assert [again, fine] == drained(order)


def test_those_in_front_are_those_served_before() -> None:
    """Before a newcomer are the higher classes, the tenant's own earlier deadlines, and nobody behind."""
    order = an_order()
    urgent, earlier, _later, _batch = (
        join(order, priority=Priority.INTERACTIVE),
        join(order, deadline_s=10.0),
        join(order, deadline_s=100.0),
        join(order, priority=Priority.BATCH),
    )
    newcomer = Waiter(Place(deadline_s=50.0), first=False, joined_s=0.0)
    newcomer.devices = ALL

    assert [urgent, earlier] == list(order.ahead(newcomer))


def test_a_tenant_that_comes_one_by_one_pays_as_well() -> None:
    """Who never has two jobs waiting gets no more than its share beside one that always has."""
    order = an_order()
    served: Counter[str] = Counter()
    for _ in range(10):
        join(order, tenant="crowd")
    waiting = join(order, tenant="single")
    for _ in range(10):
        one = serve(order)
        served[one.place.tenant] += 1
        if one is waiting:
            waiting = join(order, tenant="single")

    assert {"crowd": 5, "single": 5} == dict(served)


def test_nothing_is_saved_up_by_not_asking() -> None:
    """A tenant that comes after an hour of another's work shares from then on, and takes no more."""
    order = an_order()
    for _ in range(100):
        join(order, tenant="busy")
    for _ in range(50):
        serve(order)
    for _ in range(10):
        join(order, tenant="new")
    served = Counter(serve(order).place.tenant for _ in range(10))

    assert {"busy": 5, "new": 5} == dict(served)


def test_one_who_waits_in_vain_gives_others_no_credit() -> None:
    """A job for a device that is away stands where it came; who comes later shares with those who want the same devices."""
    order, fleet = an_order(), {"nano", "orin", "pi5"}
    join(order, tenant="stuck", devices={"nano"})
    for _ in range(100):
        join(order, tenant="busy", devices=fleet)
    for _ in range(50):
        serve(order, fits=lambda waiter: waiter.place.tenant != "stuck")
    for _ in range(10):
        join(order, tenant="new", devices=fleet)
    served = Counter(serve(order, fits=lambda waiter: waiter.place.tenant != "stuck").place.tenant for _ in range(10))

    assert {"busy": 5, "new": 5} == dict(served)


def test_jobs_that_rose_take_a_fifth() -> None:
    """Beside the interactive jobs of a tenant, old batch jobs get a quarter as much, however many there are."""
    order = an_order()
    for _ in range(50):
        join(order, priority=Priority.BATCH)
    for _ in range(50):
        join(order, now_s=20.0, priority=Priority.INTERACTIVE)
    served = Counter(serve(order, 20.0).place.priority for _ in range(50))

    assert {Priority.BATCH: 10, Priority.INTERACTIVE: 40} == dict(served)


def test_another_fleet_in_the_fleet_sets_nobody_back() -> None:
    """What a tenant did on devices of its own does not count against those who come to others."""
    order = an_order()
    for _ in range(100):
        join(order, tenant="own", devices={"gpu"})
    join(order, tenant="b")
    for _ in range(50):
        serve(order, fits=lambda waiter: "gpu" in waiter.devices)
    for tenant in ("a", "b") * 5:
        join(order, tenant=tenant)
    served = Counter(serve(order, fits=lambda waiter: "nano" in waiter.devices).place.tenant for _ in range(6))

    assert {"a": 3, "b": 3} == dict(served)


def test_accounts_of_strangers_are_bounded() -> None:
    """However many tenants come and go, only so many are remembered."""
    order = an_order()
    join(order, tenant="stays")
    for number in range(2 * MOST_IDLE):
        join(order, tenant=f"t{number}", expected_s=500.0)
        serve(order, fits=lambda waiter: waiter.place.tenant != "stays")

    assert len(order._idle) <= MOST_IDLE


@pytest.mark.parametrize(
    ("newcomer", "displaced"),
    [
        ({"priority": Priority.INTERACTIVE}, True),
        ({"tenant": "other"}, True),  # it has had, and waits for, less
        ({}, False),  # the own tenant's jobs in the same class
        ({"deadline_s": 1.0}, False),  # likewise, however urgent
        ({"tenant": "other", "priority": Priority.BATCH}, False),
        ({"tenant": "other", "expected_s": 500.0}, False),  # its turn would be over after theirs
    ],
)
def test_who_goes_when_there_is_no_room(newcomer: Mapping[str, Any], displaced: bool) -> None:
    """The last of all goes, if the newcomer would be served before it."""
    order = an_order()
    waiters = [join(order, tenant="t", expected_s=10.0) for _ in range(5)]
    place = Place(**{"deadline_s": 3600.0, "tenant": "t", "expected_s": 10.0} | newcomer)
    gone = order.displaced_by(Waiter(place, first=False, joined_s=0.0))

    assert (waiters[-1] if displaced else None) is gone


# -- properties -------------------------------------------------------------------------------------------------------------

PRIORITIES = st.sampled_from(Priority)
TENANTS = st.sampled_from("abc")
COSTS_S = st.floats(0.1, 10.0)
PLACES = st.builds(
    lambda priority, tenant, cost_s, left_s: Place(
        priority=priority, tenant=tenant, expected_s=cost_s, deadline_s=left_s
    ),
    PRIORITIES,
    TENANTS,
    COSTS_S,
    st.floats(1.0, 3600.0),
)


@given(
    st.dictionaries(TENANTS, st.floats(0.1, 10.0), min_size=2),
    st.lists(COSTS_S, min_size=60, max_size=60),
    st.integers(1, 20),
)
def test_shares_keep_to_the_weights(weights: dict[str, float], costs_s: list[float], picks: int) -> None:
    """Between two tenants that wait all the time, the seconds served by weight never differ by more than one job of each."""
    order = an_order(**weights)
    names = sorted(weights)
    for number, cost_s in enumerate(costs_s):
        join(order, tenant=names[number % len(names)], expected_s=cost_s)
    served_s = dict.fromkeys(names, 0.0)
    for _ in range(picks):
        one = serve(order).place
        served_s[one.tenant] += one.expected_s
    apart = [
        abs(served_s[a] / weights[a] - served_s[b] / weights[b]) - max(costs_s) * (1 / weights[a] + 1 / weights[b])
        for a in names
        for b in names
    ]

    assert max(apart) <= 1e-6


@given(st.lists(st.tuples(TENANTS, PRIORITIES, COSTS_S), min_size=1, max_size=40), PRIORITIES)
def test_nobody_starves(flood: list[tuple[str, Priority, float]], priority: Priority) -> None:
    """Under a flood of whatever classes and tenants, which never lets up, every job has its turn in bounded time."""
    order = an_order()
    target = join(order, tenant="quiet", priority=priority)
    for step in range(2000):
        tenant, urgent, cost_s = flood[step % len(flood)]
        join(order, now_s=float(step), tenant=tenant, priority=urgent, expected_s=cost_s)
        join(order, now_s=float(step), tenant=tenant, priority=Priority.INTERACTIVE, expected_s=cost_s)
        if serve(order, float(step)) is target:
            break

    # Two guards to rise, then its turn among at most 9 other flows: each gets at most one job more than its share meanwhile.
    assert target.flow is None
    assert step <= 2 * GUARD_S + 9 * 2


@given(st.lists(st.tuples(PLACES, st.booleans()), max_size=30))
def test_positions_are_the_order_of_service(places: list[tuple[Place, bool]]) -> None:
    """Who is served, one after the other, are those that the ranking says, in that order."""
    order = an_order(a=3.0, b=0.5)
    for place, first in places:
        waiter = Waiter(place, first=first, joined_s=0.0)
        waiter.devices = ALL
        order.add(waiter, 0.0)
    ranking = order.ranking(0.0)

    assert ranking == drained(order)


@given(st.lists(st.tuples(PLACES, st.booleans()), min_size=2, max_size=30))
def test_inside_a_flow_deadlines_decide(places: list[tuple[Place, bool]]) -> None:
    """Of one tenant and class, those that lost a device are served first, and each kind by deadline."""
    order = an_order()
    for place, first in places:
        waiter = Waiter(place, first=first, joined_s=0.0)
        waiter.devices = ALL
        order.add(waiter, 0.0)
    flows: dict[tuple[str, Priority], list[tuple[bool, float]]] = {}
    for one in drained(order):
        flows.setdefault((one.place.tenant, one.place.priority), []).append((not one.first, one.place.deadline_s))

    assert all(keys == sorted(keys) for keys in flows.values())


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("join"), PLACES),
        st.tuples(st.just("serve"), st.none()),
        st.tuples(st.just("leave"), st.integers(0, 99)),
        st.tuples(st.just("wait"), st.floats(0.0, 15.0)),
    ),
    max_size=60,
)


@given(MOVES)
def test_the_books_are_kept(moves: list[tuple[str, Any]]) -> None:
    """After any moves those who wait are those who came and neither left nor were served, each in the class that its age gives."""
    order = an_order(lambda place, now_s: Chance.POOR if place.deadline_s - now_s < 60.0 else Chance.GOOD)
    waiting: list[Waiter] = []
    now_s = 0.0
    for kind, what in moves:
        match kind:
            case "join":
                waiter = Waiter(what, first=False, joined_s=now_s)
                waiter.devices = ALL
                order.add(waiter, now_s)
                waiting.append(waiter)
            case "serve" if waiting:
                waiting.remove(serve(order, now_s))
            case "leave" if waiting:
                order.remove(waiting.pop(what % len(waiting)))
            case "wait":
                now_s += what
    ranking = order.ranking(now_s)
    levels = [one.flow.level for one in ranking if one.flow is not None]

    assert (len(waiting), set(waiting)) == (len(order), set(ranking))
    assert levels == sorted(levels)
    assert levels == [level(one.place.priority, now_s - one.joined_s, GUARD_S) for one in ranking]
    assert all(
        abs(flow.cost_s - sum(one.place.cost_s for one in (*flow.good, *flow.poor))) < 1e-6
        for flows in order._flows
        for flow in flows.values()
    )
