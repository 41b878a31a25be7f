"""The sensors of a simulated device, over HTTP; they stand in for this machine's, which would say nothing about the device."""

from __future__ import annotations

import http.client
import json
import urllib.request

from agents.telemetry import Readings

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
        except (OSError, ValueError, http.client.HTTPException):
            return Readings()
        return _readings(said) if isinstance(said, dict) else Readings()


def _readings(said: dict[str, object]) -> Readings:
    return Readings(
        memory_total_bytes=_bytes(said.get("memory_total_bytes")),
        memory_available_bytes=_bytes(said.get("memory_available_bytes")),
        temperature_c=_number(said.get("temperature_c")),
        idle_w=_number(said.get("idle_watts")),
        busy_w=_number(said.get("busy_watts")),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _bytes(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and value >= 0 else None
