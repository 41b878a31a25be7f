"""Limits on watts: whom they keep out, for how long, with which words; what is drawn; and that no burst exceeds one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.fleet import Device, Fleet, Liveness
from dispatcher.hours import Moment, Window
from dispatcher.outcomes import Decision
from dispatcher.routing import RoutingPolicy, Table, decide, explain, nobody
from dispatcher.routing.ask import Caps
from dispatcher.routing.limits import Calendar, Limit, Schedule, Scope, When
from dispatcher.routing.power import shut
from dispatcher.routing.table import Mask
from dispatcher.tariff import Hours, Rate
from tests.unit.dispatcher.builders import ask, bare, device, fleet

ASK = ask()
NOON, EVENING = Moment(0, 720), Moment(0, 18 * 60)
PEAK = Window(from_min=17 * 60, to_min=20 * 60)


def limits(*rows: Limit, **caps: Any) -> RoutingPolicy:
    """A policy that says nothing else."""
    return RoutingPolicy(limits=rows, caps=Caps(**caps))


def on(policy: RoutingPolicy, *house: Device) -> Decision:
    return decide(ASK, fleet(*house), policy, {})


def inside(policy: RoutingPolicy, *house: Device) -> list[str]:
    """Who may take the job."""
    return sorted(one.device for one in on(policy, *house).candidates)


def pi(name: str, **fields: Any) -> Device:
    """3 W idle and 10 W with a job."""
    return device(name, **{"idle_w": 3.0, "busy_w": 10.0, "slots": 2} | fields)


def told(policy: RoutingPolicy, *house: Device) -> tuple[str, bool]:
    """Why the first device is out, and whether for now."""
    out = on(policy, *house).removed[0]
    return out.reason, out.for_now


# -- what is drawn -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "drawn_w"),
    [
        ({}, 3.0),
        ({"own": 1}, 10.0),
        ({"others": 1}, 10.0),  # another dispatcher's job
        ({"watts": 4.5}, 4.5),  # a sensor knows better than what the board draws usually
        ({"watts": 4.5, "own": 1}, 10.0),  # the sample is older than the job
        ({"watts": 12.0, "own": 1, "in_flight": 1}, 12.0),
        ({"watts": 12.0, "in_flight": 1}, 3.0),  # the sample is of a job that is over
        ({"watts": 12.0, "in_flight": 1, "idle_w": None}, 12.0),  # and nothing else is known of it at rest
        ({"watts": -1.0}, 3.0),
        ({"watts": 1e9}, 3.0),
        ({"busy_w": None, "own": 1}, 9.0),  # 3 idle and a prior of 6
        ({"idle_w": None}, 0.0),
        ({"remote": True, "own": 1, "watts": 400.0}, 0.0),
        ({"liveness": Liveness.DEAD, "others": 1}, 3.0),  # its jobs are lost, the board may still be on
        ({"liveness": Liveness.SUSPECT, "others": 1}, 10.0),
    ],
)
def test_what_a_device_draws(fields: dict[str, Any], drawn_w: float) -> None:
    """A sample is believed for what went on when it was taken; a busy device never draws less than it says of itself."""
    policy = replace(RoutingPolicy(), rate=Rate(per_kwh=0.3))
    power = explain(ASK, fleet(pi("pi", **fields), pi("other", idle_w=0.0)), policy)["power"]

    assert drawn_w == power["drawn_w"]


def test_a_device_without_a_model_draws_too() -> None:
    """An agent that is still loading its list uses up the cap like any other."""
    policy, small = limits(Limit(name="house", watts=14.0)), pi("pi")

    assert (["pi"], []) == (inside(policy, small), inside(policy, small, bare("new", idle_w=5.0)))


# -- scopes --------------------------------------------------------------------------------------------------------------------

HOUSE = (pi("a", site="attic", own=1), pi("b", site="attic"), pi("c", site="shed"), pi("d"))
"""They draw 19 W: 13 in the attic, 3 in the shed."""


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (Limit(name="x", watts=26.0), ["a", "b", "c", "d"]),  # 7 more
        (Limit(name="x", watts=25.9), ["a"]),  # which is busy already
        (Limit(name="x", watts=19.9, scope=Scope.SITE, of="attic"), ["a", "c", "d"]),
        (Limit(name="x", watts=20.0, scope=Scope.SITE, of="attic"), ["a", "b", "c", "d"]),
        (Limit(name="x", watts=9.0, scope=Scope.SITE, of="shed"), ["a", "b", "d"]),
        (Limit(name="x", watts=9.0, scope=Scope.SITE, of="nowhere"), ["a", "b", "c", "d"]),
        (Limit(name="x", watts=9.9, scope=Scope.DEVICE, of="[bc]"), ["a", "d"]),
        (Limit(name="x", watts=10.0, scope=Scope.DEVICE, of="*"), ["a", "b", "c", "d"]),
        (Limit(name="x", watts=0.0, scope=Scope.SITE, of="attic"), ["c", "d"]),  # the busy one too
        (Limit(name="x", watts=0.0), []),
    ],
)
def test_a_limit_keeps_out_who_would_exceed_it(limit: Limit, expected: list[str]) -> None:
    """On the fleet, on a site, on each device that a pattern names; 0 watts are for no job at all."""
    assert expected == inside(limits(limit), *HOUSE)


def test_caps_are_limits() -> None:
    """The simple form says the same, also by site and by device."""
    assert [["a", "b", "c", "d"], ["a"], ["a", "c", "d"], ["a", "d"]] == [
        inside(RoutingPolicy(caps=caps), *HOUSE)
        for caps in (
            Caps(fleet_w=26.0, device_w=10.0),
            Caps(fleet_w=25.9),
            Caps(sites={"attic": 19.9}),
            Caps(devices={"b": 9.9, "c*": 5.0}),
        )
    ]


def test_the_cloud_stays_open_when_the_house_takes_nothing() -> None:
    """What runs elsewhere draws nothing here."""
    assert ["cloud"] == inside(limits(Limit(name="night", watts=0.0)), *HOUSE, device("cloud", remote=True, watts=9.0))


def test_a_device_that_draws_too_much_by_itself_is_out_until_it_draws_less() -> None:
    """It could take the job at other times: 10 W would be allowed, and something else on it draws 20 now."""
    limit = Limit(name="each", watts=12.0, scope=Scope.DEVICE, of="*")

    assert ("limit each: it would draw 20.0 W with the job, and 12 W are allowed", True) == told(
        limits(limit), pi("pi", watts=20.0)
    )


# -- for now, or for good ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "house", "expected"),
    [
        (
            Limit(name="house", watts=19.0),
            (pi("a"), pi("b", own=1)),
            ("limit house: the fleet would draw 20.0 W with the job, and 19 W are allowed", True),
        ),
        (
            Limit(name="house", watts=12.0),
            (pi("a"), pi("b", own=1)),
            ("limit house: the fleet would draw at least 13.0 W with the job, and 12 W are allowed", False),
        ),
        (
            Limit(name="shed", watts=9.0, scope=Scope.SITE, of="shed"),
            (pi("a", site="shed"),),
            ("limit shed: site shed would draw at least 10.0 W with the job, and 9 W are allowed", False),
        ),
        (
            Limit(name="peak", watts=9.0, when=When(window=PEAK)),
            (pi("a"),),
            ("limit peak (17:00 to 20:00): the fleet would draw 10.0 W with the job, and 9 W are allowed", True),
        ),
        (
            Limit(name="off", watts=0.0, scope=Scope.DEVICE, of="a*"),
            (pi("a"),),
            ("limit off allows no job on device a*", False),
        ),
    ],
)
def test_why_a_device_is_out(limit: Limit, house: tuple[Device, ...], expected: tuple[str, bool]) -> None:
    """With name and figures; for good where a limit that always holds can't be met with nobody else at work."""
    assert expected == told(limits(limit), *house)


def test_a_limit_that_nobody_can_meet_is_told_at_once() -> None:
    """The refusal names the limit and the watts; nothing is worth waiting for."""
    house = fleet(pi("a"), pi("b"))
    decision = decide(ASK, house, limits(Limit(name="tiny", watts=5.0)), {})
    error = nobody(ASK, decision, house)

    assert ([False, False], None) == ([out.for_now for out in decision.removed], error.retry_after_s)
    assert "limit tiny: the fleet would draw at least 13.0 W with the job, and 5 W are allowed" in error.message


# -- batteries, heat, throttling -----------------------------------------------------------------------------------------------

LAPTOP = {"battery_percent": 30.0, "on_battery": True}


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (Limit(name="x", watts=0.0, scope=Scope.DEVICE, of="*", on_battery=True), ["pi"]),
        (Limit(name="x", watts=0.0, scope=Scope.SITE, of="hut", on_battery=True), []),
        (Limit(name="x", watts=0.0, scope=Scope.SITE, of="house", on_battery=True), ["laptop", "pi"]),
        (Limit(name="x", watts=0.0, on_battery=True), []),
        (Limit(name="x", watts=0.0, battery_below_percent=30.0), ["laptop", "pi"]),
        (Limit(name="x", watts=0.0, battery_below_percent=30.1), []),
        (Limit(name="x", watts=0.0, battery_below_percent=20.0, on_battery=True), ["laptop", "pi"]),
    ],
)
def test_a_limit_for_batteries(limit: Limit, expected: list[str]) -> None:
    """A device is asked about its own battery; of a site, or the fleet, any that reports one will do."""
    assert expected == inside(limits(limit), pi("laptop", site="hut", **LAPTOP), pi("pi", site="hut"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"throttled": True}, "it is drained while it is slowed down: throttled"),
        ({"throttled": True, "throttling": ("under-voltage",)}, "it is drained while it is slowed down: under-voltage"),
        ({"throttling": ("frequency cap", "thermal throttling: 84 °C")}, "thermal throttling: 84 °C"),
        ({"throttled": True, "throttling": ("soft temperature limit",)}, None),
        ({}, None),
    ],
)
def test_a_device_that_throttles_hard_is_drained(fields: dict[str, Any], expected: str | None) -> None:
    """Where the owner says so, and for as long as it lasts; gentle limits cost score alone."""
    house = (pi("hot", **fields), pi("other"))
    drained = on(RoutingPolicy(caps=Caps(drain_throttled=True)), *house).removed

    assert (["hot", "other"], expected is None) == (inside(RoutingPolicy(), *house), not drained)
    assert [] == [
        out for out in drained if expected not in out.reason or (out.filter, out.for_now) != ("throttled", True)
    ]


def test_who_is_shut_and_who_is_held() -> None:
    """`shut` is whatever the job; a decision holds only those that could answer it."""
    policy = limits(Limit(name="house", watts=20.0))
    house = fleet(pi("busy", own=1), pi("idle"), device("mute", idle_w=1.0, busy_w=9.0, own=0, topics=()))
    table = Table()
    pinned = decide(replace(ASK, device="idle"), house, policy, {}, table)
    free = decide(ASK, house, policy, {"mute": "refused"}, table)

    assert ({"idle", "mute"}, {"idle"}, {"idle"}) == (shut(table.view(house), policy), pinned.held(), free.held())


def test_who_is_kept_from_the_same_devices_shares_their_names() -> None:
    """A thousand jobs that wait at one limit keep one set of names, also while devices come and go with jobs and heartbeats."""
    policy = limits(Limit(name="house", watts=20.0))
    table, boards = Table(), [pi("busy", own=1), pi("idle"), pi("other")]
    held = [decide(ASK, fleet(*boards), policy, {}, table).held()]
    boards[0] = replace(boards[0], own=2)
    held.append(decide(ASK, fleet(*boards), policy, {}, table).held())
    boards[1] = replace(boards[1], beat=replace(boards[1].beat, temperature_c=41.0))
    held.append(shut(table.view(fleet(*boards)), policy))

    assert [{"idle", "other"}] * 3 == held
    assert all(one is held[0] for one in held)


def test_what_limits_come_to_is_worked_out_once_for_a_state_of_the_fleet() -> None:
    """All who ask share it, whatever their weights; other limits, or a fleet that has changed, are looked at anew."""
    table, boards, made = Table(), [pi("busy", own=1), pi("idle")], 0
    policy, other = limits(Limit(name="a", watts=20.0)), limits(Limit(name="a", watts=20.0))

    def ask(policy: RoutingPolicy) -> None:
        def make() -> Mask:
            nonlocal made
            made += 1
            return np.ones(2, dtype=np.bool_)

        table.view(fleet(*boards)).open_by((policy.caps, policy.limits), make)

    ask(policy)
    ask(replace(policy, health=0.9))
    once = made
    ask(other)
    boards[0] = replace(boards[0], own=0)
    ask(other)

    assert (1, 3) == (once, made)


# -- the moment ----------------------------------------------------------------------------------------------------------------

TIMED = RoutingPolicy(
    rate=Rate(per_kwh=0.3),
    limits=(Limit(name="always", watts=100.0),),
    calendar=Calendar(
        limits=(
            Limit(name="peak", watts=0.0, when=When(window=PEAK)),
            Limit(name="dear", watts=12.0, when=When(tariff_above=0.4)),
        ),
        schedules=(
            Schedule(name="dear", strategy="energy:eco", when=When(tariff_above=0.4)),
            Schedule(name="noon", strategy="perf", when=When(window=Window(from_min=700, to_min=730))),
        ),
        hours=(Hours(window=PEAK, per_kwh=0.45),),
    ),
)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (NOON, (["always"], "perf", 0.3)),
        (EVENING, (["always", "peak", "dear"], "energy:eco", 0.45)),
        (Moment(3, 23 * 60), (["always"], "hybrid", 0.3)),
    ],
)
def test_a_policy_at_a_moment(moment: Moment, expected: tuple[list[str], str, float]) -> None:
    """Limits, strategy and price of a time of day; a price may bring a limit about."""
    now = TIMED.at(moment)

    assert expected == ([limit.name for limit in now.limits], now.strategy, now.rate.per_kwh)


def test_explain_tells_limits_watts_and_price() -> None:
    """Those in force and those that are not, what is drawn, what each device would draw, and what energy costs now."""
    house = fleet(pi("a", own=1, site="attic"), pi("b"), device("cloud", remote=True))

    assert {
        "drawn_w": 13.0,
        "tariff": {"per_kwh": 0.3, "currency": "EUR", "g_co2e_per_kwh": None},
        "limits": [
            {"name": "always", "on": "the fleet", "watts": 100.0, "drawn_w": 13.0, "when": "", "holds": True},
            {
                "name": "peak",
                "on": "the fleet",
                "watts": 0.0,
                "drawn_w": 13.0,
                "when": "17:00 to 20:00",
                "holds": False,
            },
            {
                "name": "dear",
                "on": "the fleet",
                "watts": 12.0,
                "drawn_w": 13.0,
                "when": "while energy costs more than 0.4",
                "holds": False,
            },
        ],
        "devices": [
            {"device": "a", "site": "attic", "now_w": 10.0, "with_job_w": 10.0},
            {"device": "b", "site": None, "now_w": 3.0, "with_job_w": 10.0},
        ],
    } == explain(ASK, house, TIMED.at(NOON))["power"]


def test_without_limits_and_prices_nothing_is_told_of_power() -> None:
    """A fleet whose owner asks nothing of it is explained as before."""
    assert "power" not in explain(ASK, fleet(pi("a")), RoutingPolicy())


# -- bursts --------------------------------------------------------------------------------------------------------------------


@st.composite
def boards(draw: st.DrawFn, name: str) -> Device:
    """An honest board: what it says it draws is what it draws, whether its last sample is of now, of rest or of work."""
    idle_w, more_w = draw(st.integers(0, 8)), draw(st.integers(1, 40))
    worked = draw(st.sampled_from([None, 0, 1]))
    sample = {} if worked is None else {"watts": float(idle_w + more_w * worked), "in_flight": worked}
    return device(
        name,
        idle_w=float(idle_w),
        busy_w=float(idle_w + more_w),
        slots=draw(st.integers(1, 3)),
        site=draw(st.sampled_from([None, "attic", "shed"])),
        others=draw(st.sampled_from([0, 0, 1])),
        **sample,
    )


def drawn_w(devices: list[Device], *, site: str | None = None) -> float:
    """What honest boards draw in truth."""
    return sum(
        ((one.beat.busy_w if one.in_flight else one.beat.idle_w) or 0.0)
        for one in devices
        if site is None or one.beat.site == site
    )


@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, unique=True).flatmap(lambda names: st.tuples(*map(boards, names))),
    st.data(),
)
def test_no_burst_exceeds_a_limit(house: tuple[Device, ...], data: st.DataObject) -> None:
    """Jobs are given out one behind the other, no device reports meanwhile, and some end: wherever the fleet was below its limits
    before, it stays there; each device that is let in is taken."""
    fleet_w, attic_w, each_w = (float(data.draw(st.integers(0, 150))) for _ in range(3))
    policy = limits(
        Limit(name="all", watts=fleet_w),
        Limit(name="attic", watts=attic_w, scope=Scope.SITE, of="attic"),
        Limit(name="each", watts=each_w, scope=Scope.DEVICE, of="*"),
    )
    devices, table = {one.name: one for one in house}, Table()
    for ends in data.draw(st.lists(st.booleans(), min_size=1, max_size=12)):
        running = [one for one in devices.values() if one.own]
        if ends and running:
            devices[running[0].name] = replace(running[0], own=running[0].own - 1)
            continue
        before = list(devices.values())
        candidates = decide(ASK, Fleet(dict(devices)), policy, {}, table).candidates
        if not candidates:
            break
        name = data.draw(st.sampled_from([one.device for one in candidates]))
        was_busy = bool(devices[name].in_flight)
        devices[name] = replace(devices[name], own=devices[name].own + 1)
        after = list(devices.values())
        assert was_busy or drawn_w(after) <= fleet_w
        assert was_busy or devices[name].beat.site != "attic" or drawn_w(after, site="attic") <= attic_w
        assert min(fleet_w, each_w) > 0
        assert (devices[name].beat.busy_w or 0.0) <= each_w
        assert drawn_w(after) <= max(fleet_w, drawn_w(before))
