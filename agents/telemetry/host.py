"""This machine's memory and temperature: psutil and the kernel's thermal zones; it never fails, it only leaves out."""

from __future__ import annotations

import re
from pathlib import Path

import psutil

from agents.telemetry import Readings

THERMAL = Path("/sys/class/thermal")

_COMPUTE = re.compile(r"(?i)cpu|gpu|soc|tj|x86_pkg|core")
"""Zones that tell how hot the computing parts are; a battery's or a radio's would mislead."""

_PLAUSIBLE_C = (-40.0, 150.0)
"""Jetsons report -256 for a sensor that is switched off."""


class HostSensors:
    """Reads on Linux; elsewhere the temperature is absent."""

    def __init__(self, thermal: Path = THERMAL) -> None:
        self._thermal = thermal

    def read(self) -> Readings:
        """Read memory and the hottest computing part."""
        memory = psutil.virtual_memory()
        return Readings(
            memory_total_bytes=memory.total,
            memory_available_bytes=memory.available,
            temperature_c=hottest(self._thermal),
        )


def hottest(thermal: Path) -> float | None:
    """Give the highest temperature of the computing parts in °C, of any zone if none is named so, or nothing."""
    zones = [(_text(zone / "type"), _celsius(zone)) for zone in sorted(thermal.glob("thermal_zone*"))]
    known = [(name, value) for name, value in zones if value is not None]
    computing = [value for name, value in known if _COMPUTE.search(name)]
    return max(computing or [value for _, value in known], default=None)


def _celsius(zone: Path) -> float | None:
    try:
        value = int(_text(zone / "temp")) / 1000  # the kernel counts in thousandths
    except ValueError:
        return None
    low, high = _PLAUSIBLE_C
    return value if low < value < high else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        # a zone that is switched off answers EINVAL or EAGAIN
        return ""
