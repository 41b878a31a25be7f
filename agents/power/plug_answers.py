"""The watts in what smart plugs answer: Tasmota, Shelly, Home Assistant, or any JSON; it opens no connection."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Literal

from agents.power import Unreadable
from agents.power.figures import number, plausible

Kind = Literal["tasmota", "shelly1", "shelly2", "homeassistant", "json"]

MOST_W = 20_000.0
"""Three phases of 32 A, as the largest meters of these makers take."""

PATHS: Mapping[Kind, str] = {
    "tasmota": "/cm?cmnd=Status%208",
    "shelly1": "/meter/0",
    "shelly2": "/rpc/Shelly.GetStatus",
    "homeassistant": "",
    "json": "",
}
"""What to ask for, unless the owner's address names a path itself."""

_UNITS = {"W": 1.0, "kW": 1000.0, "mW": 0.001}


def watts_of(kind: Kind, body: bytes, field: str) -> float:
    """Find the watts in an answer: in `field`, a path with dots, where the owner named one. Raises `Unreadable`."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable("its answer is no JSON") from error
    found = _at(said, field) if field else _FINDERS[kind](said)
    return plausible(number(found) * (_unit(said) if kind == "homeassistant" else 1.0), most_w=MOST_W)


def _at(said: object, path: str) -> object:
    here = said
    for step in path.split("."):
        if isinstance(here, Mapping) and step in here:
            here = here[step]
        elif isinstance(here, list) and step.isdecimal() and int(step) < len(here):
            here = here[int(step)]
        else:
            raise Unreadable(f"its answer has no {path}: {step!r} is not in it")
    return here


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _tasmota(said: object) -> object:
    answer = _mapping(said)
    # Since 5.x it is StatusSNS.ENERGY; the first versions had StatusPWR.
    energy = _mapping(_mapping(answer.get("StatusSNS")).get("ENERGY")) or _mapping(answer.get("StatusPWR"))
    power = energy.get("Power")
    if isinstance(power, list):
        raise Unreadable("it has several channels: set DROVER_POWER_PLUG_FIELD to one, as in StatusSNS.ENERGY.Power.0")
    if power is None:
        raise Unreadable("its answer has no StatusSNS.ENERGY.Power: Tasmota on a plug without a meter, or not Tasmota")
    return power


def _shelly1(said: object) -> object:
    answer = _mapping(said)
    if answer.get("is_valid") in (False, "false"):
        raise Unreadable("the plug says that its own meter does not work")
    if "power" not in answer:
        raise Unreadable("its answer has no power: a Shelly of a later generation is shelly2")
    return answer["power"]


def _shelly2(said: object) -> object:
    metered = {
        name: part["apower"]
        for name, part in _mapping(said).items()
        if isinstance(part, Mapping) and name.partition(":")[0] in ("switch", "pm1") and part.get("apower") is not None
    }
    if len(metered) > 1:
        raise Unreadable(f"it has several channels: set DROVER_POWER_PLUG_FIELD to one, as in {min(metered)}.apower")
    if not metered:
        raise Unreadable(
            "its answer has no apower: a Shelly without a meter, or one of the first generation, which is shelly1"
        )
    return next(iter(metered.values()))


def _home_assistant(said: object) -> object:
    state = _mapping(said).get("state")
    if state in ("unavailable", "unknown", None):
        raise Unreadable(f"Home Assistant says {state}: the plug is not there")
    return state


def _json(_: object) -> object:
    raise Unreadable("DROVER_POWER_PLUG_FIELD is not set: where do the watts stand?")


def _unit(said: object) -> float:
    unit = _mapping(_mapping(said).get("attributes")).get("unit_of_measurement", "W")
    factor = _UNITS.get(unit) if isinstance(unit, str) else None
    if factor is None:
        raise Unreadable(f"it is measured in {ascii(unit)[:40]}, not in watts: take the entity of the plug's power")
    return factor


_FINDERS: Mapping[Kind, Callable[[object], object]] = {
    "tasmota": _tasmota,
    "shelly1": _shelly1,
    "shelly2": _shelly2,
    "homeassistant": _home_assistant,
    "json": _json,
}
