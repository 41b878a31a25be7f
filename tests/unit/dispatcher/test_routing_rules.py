"""The owner's rules: tenants' allow-lists, heat and power caps; who is kept out, why, and what the tenant is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.errors import NoDevice, NotAllowed
from dispatcher.fleet import Device
from dispatcher.outcomes import Decision
from dispatcher.routing import RoutingPolicy, Table, decide, nobody
from dispatcher.routing.ask import Caps, TenantRules
from tests.unit.dispatcher.builders import ask, device, fleet, model

ALICE = replace(ask(), tenant="alice")


def under(policy: RoutingPolicy, *house: Device) -> Decision:
    return decide(ALICE, fleet(*house), policy, {})


def sides(decision: Decision) -> tuple[list[str], dict[str, str]]:
    """Who is in, and who is out by which filter."""
    return sorted({one.device for one in decision.candidates}), {one.device: one.filter for one in decision.removed}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (TenantRules(devices=("pi*",)), (["pi4", "pi5"], {"orin": "tenant"})),
        (TenantRules(devices=("pi5", "orin")), (["orin", "pi5"], {"pi4": "tenant"})),
        (TenantRules(models=("qwen*",)), (["orin"], {"pi4": "tenant", "pi5": "tenant"})),
        (TenantRules(), (["orin", "pi4", "pi5"], {})),
        (TenantRules(devices=()), ([], {"orin": "tenant", "pi4": "tenant", "pi5": "tenant"})),
        (TenantRules(models=()), ([], {"orin": "tenant", "pi4": "tenant", "pi5": "tenant"})),
    ],
)
def test_a_tenant_gets_what_it_may_use(rules: TenantRules, expected: tuple[list[str], dict[str, str]]) -> None:
    """Patterns name devices and models; another tenant is not concerned."""
    house = (device("pi4"), device("pi5"), device("orin", model("qwen2.5:7b")))
    policy = RoutingPolicy(tenants={"alice": rules})
    bob = decide(replace(ALICE, tenant="bob"), fleet(*house), policy, {})

    assert expected == sides(under(policy, *house))
    assert (["orin", "pi4", "pi5"], {}) == sides(bob)


def test_who_may_use_nothing_is_told_so() -> None:
    """A tenant without any allowed device is refused for good, by name."""
    policy = RoutingPolicy(tenants={"alice": TenantRules(devices=("agx",))})
    house = fleet(device("nano"))
    error = nobody(ALICE, decide(ALICE, house, policy, {}), house)

    assert (NotAllowed, False) == (type(error), error.retryable)
    assert "alice" in error.message


@pytest.mark.parametrize(
    ("caps", "expected"),
    [
        (Caps(celsius=80.0), (["busy", "cool"], {"hot": "heat"})),
        (Caps(device_w=10.0), (["busy", "cool"], {"hot": "power"})),  # hot: 15 W with a job
        # idle 2 + 2 + 5, and busy's 6 more: 15 W drawn. cool would add 6, hot 10
        (Caps(fleet_w=21.0), (["busy", "cool"], {"hot": "power"})),
        (Caps(fleet_w=20.9), (["busy"], {"cool": "power", "hot": "power"})),
        (Caps(), (["busy", "cool", "hot"], {})),
    ],
)
def test_caps(caps: Caps, expected: tuple[list[str], dict[str, str]]) -> None:
    """Too hot, too hungry alone, too hungry together: each takes out who is over, and no other."""
    house = (
        device("cool", idle_w=2.0, busy_w=8.0, temperature_c=50.0, slots=2),
        device("busy", idle_w=2.0, busy_w=8.0, own=1, slots=2),
        device("hot", idle_w=5.0, busy_w=15.0, temperature_c=81.0),
    )

    assert expected == sides(under(RoutingPolicy(caps=caps), *house))


def test_a_cap_on_the_fleet_s_watts_leaves_the_cloud_open() -> None:
    """A job that runs elsewhere draws nothing here, however much the fleet draws; a cap on degrees still holds."""
    house = (
        device("nano", idle_w=2.0, busy_w=8.0),
        device("cloud", remote=True),
        device("warm", remote=True, temperature_c=90.0),
    )
    policy = RoutingPolicy(caps=Caps(fleet_w=1.0, celsius=80.0))

    assert (["cloud"], {"nano": "power", "warm": "heat"}) == sides(under(policy, *house))


def test_a_hot_fleet_is_worth_waiting_for() -> None:
    """Heat passes: the refusal says when to come again, and the filter that waiting helps."""
    policy, house = RoutingPolicy(caps=Caps(celsius=60.0)), fleet(device("nano", temperature_c=75.0))
    decision = decide(ALICE, house, policy, {})
    error = nobody(ALICE, decision, house)

    assert (True, NoDevice, True) == (decision.removed[0].for_now, type(error), error.retryable)
    assert "75 °C, and the cap is 60" in error.message


@pytest.mark.parametrize("said", [{"idle_w": -1e9}, {"busy_w": 1e15}, {"idle_w": 1e15}, {"busy_w": -5.0}])
def test_forged_watts_move_nobody_else(said: dict[str, float]) -> None:
    """A device that says it draws less than nothing, or as much as a town, neither opens the cap to others nor closes it."""
    caps = RoutingPolicy(caps=Caps(fleet_w=60.0))
    liar = device("liar", own=1, slots=2, **said)
    big = device("big", idle_w=10.0, busy_w=400.0)
    small = device("small", idle_w=2.0, busy_w=8.0)

    assert {"big": "power"} == sides(under(caps, liar, big, small))[1]
    assert "small" in sides(under(caps, liar, big, small))[0]


MASKED = [
    (RoutingPolicy(tenants={"alice": TenantRules(devices=("pi*",), models=("*:1b",))}), {"pi4", "pi5"}),
    (RoutingPolicy(caps=Caps(celsius=60.0)), {"orin", "pi4"}),
    (RoutingPolicy(caps=Caps(fleet_w=9.0)), set()),
]


@pytest.mark.parametrize(("policy", "expected"), MASKED)
def test_rules_are_the_same_when_their_masks_are_kept(policy: RoutingPolicy, expected: set[str]) -> None:
    """A table that has decided before, for another tenant and other rules, lets the same devices through as a new one; and a
    change of heat is seen."""
    house = [device("pi4"), device("pi5", temperature_c=75.0), device("orin", model("qwen2.5:7b"), idle_w=9.0)]
    table = Table()
    for before in (RoutingPolicy(), *(one for one, _ in MASKED)):
        decide(replace(ALICE, tenant="bob"), fleet(*house), before, {}, table)
        decide(ALICE, fleet(*house), before, {}, table)
    kept = decide(ALICE, fleet(*house), policy, {}, table)
    cooled = [replace(one, beat=replace(one.beat, seq=2, temperature_c=20.0)) for one in house]
    after = decide(ALICE, fleet(*cooled), policy, {}, table)

    assert expected == {one.device for one in kept.candidates}
    assert sides(under(policy, *cooled)) == sides(after)
