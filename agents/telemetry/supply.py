"""The battery that the device may run on, as the kernel or psutil tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from agents.telemetry.files import text_of, whole_of, within


@dataclass(frozen=True, slots=True)
class Battery:
    """How full it is, and whether the device lives on it."""

    percent: float | None = None
    discharging: bool | None = None


def battery(supplies: Path) -> Battery:
    """Look at the device's own batteries, as one: their mean, and whether any of them discharges. The one in a mouse is none."""
    if supplies.is_dir():
        own = [
            one
            for one in within(supplies, "*")
            if text_of(one / "type") == "Battery" and text_of(one / "scope") != "Device"
        ]
        full = [percent for one in own if (percent := whole_of(one / "capacity")) is not None and 0 <= percent <= 100]
        states = [state for one in own if (state := text_of(one / "status"))]
        return Battery(
            sum(full) / len(full) if full else None,
            any(state == "Discharging" for state in states) if states else None,
        )
    return _by_psutil()


def _by_psutil() -> Battery:
    look = getattr(psutil, "sensors_battery", None)  # not on every platform
    found = look() if look is not None else None
    if found is None:
        return Battery()
    plugged = found.power_plugged
    return Battery(float(found.percent), None if plugged is None else not plugged)
