"""Heat and want of power: a device under strain loses score before it loses jobs, in the right order, and says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.throttling import Throttle, told
from dispatcher.fleet import Liveness
from dispatcher.routing import RoutingPolicy, decide, explain
from dispatcher.routing.strain import KEPT, KEPT_UNKNOWN, mode_w, strain
from tests.unit.dispatcher.builders import ask, beat, device, fleet, speed

REASONS = st.lists(st.sampled_from([*(told(kind, "somehow") for kind in Throttle), "fog"]), max_size=4)
BEATS = st.fixed_dictionaries(
    {
        "temperature_c": st.none() | st.floats(-50, 150),
        "throttled": st.none() | st.booleans(),
        "throttling": REASONS.map(tuple),
        "watts": st.none() | st.floats(0, 100),
        "watts_measured": st.none() | st.booleans(),
        "power_mode": st.sampled_from([None, "MAXN", "15W", "MODE_30W"]),
    }
)


def cool(**fields: Any) -> float:
    return strain(beat(**fields)).coolness


@given(BEATS)
def test_what_costs_health_is_named(fields: dict[str, Any]) -> None:
    """Coolness is in [0, 1], and there is a reason in words exactly where it is below 1."""
    judged = strain(beat(**fields))

    assert (0.0 <= judged.coolness <= 1.0, judged.coolness < 1.0) == (True, bool(judged.why))


@given(BEATS, st.floats(-50, 150), st.floats(-50, 150))
def test_hotter_is_never_cooler(fields: dict[str, Any], one_c: float, other_c: float) -> None:
    """Whatever else a device says, more heat never raises its coolness."""
    low, high = sorted((one_c, other_c))

    assert cool(**fields | {"temperature_c": low}) >= cool(**fields | {"temperature_c": high})


@given(BEATS, st.sampled_from(Throttle), st.sampled_from(Throttle))
def test_a_graver_reason_never_costs_less(fields: dict[str, Any], one: Throttle, other: Throttle) -> None:
    """Of two reasons the graver one never leaves more."""
    grave, slight = sorted((one, other), key=lambda kind: KEPT[kind])

    assert cool(**fields | {"throttling": (str(grave),)}) <= cool(**fields | {"throttling": (str(slight),)})


@given(BEATS, REASONS)
def test_one_more_reason_never_helps(fields: dict[str, Any], more: list[str]) -> None:
    """A device that gives further reasons is never taken for healthier; nor is a throttled one for giving some gentle ones."""
    before = fields["throttling"] or (str(Throttle.FREQUENCY_CAP),)

    assert cool(**fields | {"throttling": (*before, *more)}) <= cool(**fields | {"throttling": before})


@given(BEATS, st.floats(0, 100), st.floats(0, 100))
def test_nearer_to_the_cap_is_never_better(fields: dict[str, Any], one_w: float, other_w: float) -> None:
    """Of two devices in the same mode the one that draws more is never the cooler one."""
    low, high = sorted((one_w, other_w))

    assert cool(**fields | {"watts": low}) >= cool(**fields | {"watts": high})


def test_under_voltage_is_the_gravest_and_a_cap_the_slightest() -> None:
    """A board whose supply gives way may reset next; one with a capped clock is only slower."""
    order = sorted(Throttle, key=lambda kind: KEPT[kind])

    assert (order[0], order[1], order[-1]) == (Throttle.UNDER_VOLTAGE, Throttle.THERMAL, Throttle.FREQUENCY_CAP)
    assert KEPT[Throttle.SOFT_LIMIT] > KEPT_UNKNOWN


@pytest.mark.parametrize(
    ("fields", "coolness", "why"),
    [
        ({}, 1.0, ()),
        ({"temperature_c": 69.9}, 1.0, ()),
        ({"temperature_c": 80.0}, 0.5, ("80 °C",)),
        ({"throttled": True}, 0.5, ("throttled",)),
        ({"throttled": False, "throttling": ("frequency cap",)}, 0.85, ("frequency cap",)),
        ({"throttling": ("fog",)}, 0.5, ("fog",)),
        (
            {"temperature_c": 75.0, "throttling": ("frequency cap: by whom", "under-voltage")},
            0.75 * 0.25,
            ("under-voltage", "frequency cap: by whom", "75 °C"),
        ),
        ({"throttling": ("under-voltage: \x1b[2J\n",)}, 0.25, ("under-voltage:  [2J ",)),
        (
            {"watts": 14.25, "watts_measured": True, "power_mode": "15W"},
            0.8,
            ("draws 14.2 of 15 W",),
        ),  # half of the way
        ({"watts": 40.0, "watts_measured": True, "power_mode": "15W"}, 0.6, ("draws 40.0 of 15 W",)),
        ({"watts": 14.25, "watts_measured": False, "power_mode": "15W"}, 1.0, ()),  # an estimate
        ({"watts": 14.25, "watts_measured": True, "power_mode": "MAXN"}, 1.0, ()),  # no cap
    ],
)
def test_strain_by_hand(fields: dict[str, Any], coolness: float, why: tuple[str, ...]) -> None:
    """The product of heat, the gravest reason, and the room below the mode's watts; the gravest is named first."""
    judged = strain(beat(**fields))

    assert (pytest.approx(coolness), why) == (judged.coolness, judged.why)


@pytest.mark.parametrize(
    ("mode", "watts"),
    [("15W", 15.0), ("MODE_15W_6CORE", 15.0), ("MAXN_SUPER", None), ("10 W", 10.0), (None, None), ("0W", 0.0)],
)
def test_a_mode_is_read_by_its_name(mode: str | None, watts: float | None) -> None:
    """NVIDIA names modes for their watts; the fastest one has none."""
    assert mode_w(mode) == watts


def test_a_throttled_device_is_turned_away_from_and_explained() -> None:
    """The cooler twin is chosen; the record and the reason of the other say why it lost."""
    house = fleet(device("a", throttling=("under-voltage: 4.5 V",), temperature_c=84.0), device("b"))
    record = explain(ask(), house, RoutingPolicy())

    assert [("b", []), ("a", ["under-voltage: 4.5 V", "84 °C"])] == [
        (one["device"], one["strain"]) for one in record["options"]
    ]
    assert "under strain" not in record["chosen"]["reason"]


@pytest.mark.parametrize(
    "strategy", ["hybrid", "perf", "token", "heuristic", "semantic", "energy:eco", "energy:balanced", "energy:fast"]
)
def test_every_strategy_that_judges_devices_turns_away(strategy: str) -> None:
    """Of twins the one at ease comes first, also where joules decide: those were measured at ease."""
    house = fleet(
        device("a", throttling=("under-voltage",), speeds=speed(decode_tps=10.0)),
        device("z", speeds=speed(decode_tps=9.9)),
    )
    decision = decide(replace(ask(), strategy=strategy), house, RoutingPolicy(), {})

    assert ["z", "a"] == [one.device for one in decision.candidates]


def test_the_only_device_is_still_chosen_and_says_so() -> None:
    """Strain costs score and no job: who alone can answer is asked, and the reason tells of it."""
    house = fleet(device("a", throttling=("under-voltage",), temperature_c=95.0), device("b", liveness=Liveness.DEAD))
    chosen = decide(ask(), house, RoutingPolicy(), {}).candidates[0]

    assert (chosen.device, chosen.reason.partition("under strain: ")[2]) == ("a", "95 °C, under-voltage")
