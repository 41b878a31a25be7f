"""The sensors of a simulated device, over HTTP; they stand in for this machine's, which would say nothing about the device."""

from __future__ import annotations

import http.client
import json
import math
import urllib.request

from agents.telemetry import Readings
from common.throttling import fitting

WAIT_S = 2.0


class SimulatedSensors:
    """Reads the flat JSON object that the simulator serves."""

    def __init__(self, url: str) -> None:
        self._url = url

    def read(self) -> Readings:
        """Read all of it; a simulator that is down has no readings."""
        try:
            with urllib.request.urlopen(self._url, timeout=WAIT_S) as answer:  # noqa: S310  # the owner's own setting
                said = json.loads(answer.read(65_536))
        except (OSError, ValueError, http.client.HTTPException, RecursionError):
            return Readings()
        return readings_of(said) if isinstance(said, dict) else Readings()


def readings_of(said: dict[str, object]) -> Readings:
    """Take what makes sense, and leave out the rest."""
    throttling = _texts(said.get("throttling"))
    throttled = _flag(said.get("throttled"))
    mode = said.get("power_mode")
    return Readings(
        memory_total_bytes=_bytes(said.get("memory_total_bytes")),
        memory_available_bytes=_bytes(said.get("memory_available_bytes")),
        temperature_c=_number(said.get("temperature_c")),
        throttled=True if throttling else throttled,
        throttling=throttling,
        warnings=_texts(said.get("warnings")),
        power_mode=mode[:64] if isinstance(mode, str) and mode else None,
        gpu=_flag(said.get("gpu")),
        disk_total_bytes=_bytes(said.get("disk_total_bytes")),
        disk_free_bytes=_bytes(said.get("disk_free_bytes")),
        battery_percent=_number(said.get("battery_percent")),
        on_battery=_flag(said.get("on_battery")),
        idle_w=_number(said.get("idle_watts")),
        busy_w=_number(said.get("busy_watts")),
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and abs(value) < 1e15 else None


def _bytes(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number >= 0 else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _texts(value: object) -> tuple[str, ...]:
    return fitting(text for text in value if isinstance(text, str) and text) if isinstance(value, list) else ()
