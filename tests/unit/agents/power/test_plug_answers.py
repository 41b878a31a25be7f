"""The watts in what smart plugs answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.power import Unreadable
from agents.power.plug_answers import MOST_W, PATHS, Kind, watts_of
from tests.unit.agents.power.recorded import (
    HOME_ASSISTANT,
    SHELLY1,
    SHELLY2,
    SHELLY2_TWO,
    TASMOTA,
    TASMOTA_OLD,
)

ANSWERS: list[tuple[Kind, bytes, float]] = [
    ("tasmota", TASMOTA, 26.0),
    ("tasmota", TASMOTA_OLD, 27.0),
    ("shelly1", SHELLY1, 2.21),
    ("shelly2", SHELLY2, 10.7),
    ("homeassistant", HOME_ASSISTANT, 77.1),
]


@pytest.mark.parametrize(("kind", "body", "watts"), ANSWERS)
def test_a_recorded_answer(kind: Kind, body: bytes, watts: float) -> None:
    """Each maker has a place for it."""
    assert watts_of(kind, body, "") == watts


@pytest.mark.parametrize(
    ("kind", "body", "field", "watts"),
    [
        ("tasmota", b'{"StatusSNS":{"ENERGY":{"Power":[12,7]}}}', "StatusSNS.ENERGY.Power.1", 7.0),
        ("shelly2", SHELLY2_TWO, "switch:1.apower", 0.0),
        ("shelly1", b'{"emeters":[{"power":3.5}]}', "emeters.0.power", 3.5),
        ("json", b'{"a":{"b":[0,"8.25"]}}', "a.b.1", 8.25),
    ],
)
def test_the_owner_names_the_field(kind: Kind, body: bytes, field: str, watts: float) -> None:
    """Where there are several channels, or where the maker is unknown."""
    assert watts_of(kind, body, field) == watts


@pytest.mark.parametrize(("unit", "state", "watts"), [("W", "77.1", 77.1), ("kW", "0.5", 500.0), ("mW", "1500", 1.5)])
def test_home_assistant_tells_the_unit(unit: str, state: str, watts: float) -> None:
    """Some plugs are set to kilowatts."""
    body = json.dumps({"state": state, "attributes": {"unit_of_measurement": unit}}).encode()

    assert watts_of("homeassistant", body, "") == watts


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [
        ("tasmota", b'{"StatusSNS":{"Time":"2018.02.15 01:00:50","Switch1":"OFF"}}', "without a meter"),
        ("tasmota", b'{"StatusSNS":{"ENERGY":{"Power":[12,7]}}}', "DROVER_POWER_PLUG_FIELD"),
        ("tasmota", b'{"WARNING":"Need user=<username>&password=<password>"}', "StatusSNS"),
        ("shelly1", b'{"power":0.0,"is_valid":false}', "its own meter"),
        ("shelly1", SHELLY2, "shelly2"),
        ("shelly2", SHELLY2_TWO, "switch:0.apower"),
        ("shelly2", SHELLY1, "shelly1"),
        ("homeassistant", b'{"state":"unavailable","attributes":{}}', "not there"),
        ("homeassistant", b'{"state":"1.5","attributes":{"unit_of_measurement":"kWh"}}', "kWh"),
        ("json", b'{"watts":3}', "DROVER_POWER_PLUG_FIELD"),
        ("tasmota", b"<html>", "no JSON"),
        ("tasmota", b"[" * 200_000, "no JSON"),
        ("tasmota", b'{"StatusSNS":{"ENERGY":{"Power":-3}}}', "can't be true"),
        ("tasmota", b'{"StatusSNS":{"ENERGY":{"Power":1e9}}}', "can't be true"),
        ("tasmota", b'{"StatusSNS":{"ENERGY":{"Power":NaN}}}', "no number"),
        ("tasmota", b'{"StatusSNS":{"ENERGY":{"Power":true}}}', "no number"),
        ("tasmota", b'{"StatusSNS":{"ENERGY":{"Power":' + b"9" * 400 + b"}}}", "no number"),
    ],
)
def test_an_answer_without_watts_says_what_to_do(kind: Kind, body: bytes, why: str) -> None:
    """The reason names the way out, or what was wrong."""
    with pytest.raises(Unreadable, match=why):
        watts_of(kind, body, "")


_KEYS = st.sampled_from(
    [
        "StatusSNS",
        "ENERGY",
        "Power",
        "StatusPWR",
        "power",
        "is_valid",
        "switch:0",
        "pm1:0",
        "apower",
        "state",
        "attributes",
    ]
) | st.just("unit_of_measurement")
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.sampled_from(sorted(PATHS)), JSON, st.sampled_from(["", "power", "StatusSNS.ENERGY.0", "0.0", "."]))
def test_any_json_tells_possible_watts_or_nothing(kind: Kind, said: object, field: str) -> None:
    """No answer raises anything but ours."""
    try:
        watts = watts_of(kind, json.dumps(said).encode(), field)
    except Unreadable:
        return

    assert 0 <= watts <= MOST_W


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.sampled_from(ANSWERS), st.integers(0, 400), st.integers(0, 20), st.binary(max_size=8))
def test_a_mangled_answer_tells_possible_watts_or_nothing(
    answer: tuple[Kind, bytes, float], start: int, length: int, new: bytes
) -> None:
    """Cut or overwritten anywhere."""
    kind, body, _ = answer
    try:
        watts = watts_of(kind, body[:start] + new + body[start + length :], "")
    except Unreadable:
        return

    assert 0 <= watts <= MOST_W
