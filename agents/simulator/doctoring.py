"""Readings on demand: what the sensors of the simulated device shall show, whatever it does; it changes nothing but the show."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any


class BadReading(ValueError):
    """Readings that no sensor shows; the message says which, what it was, and what would do."""


def _number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one for one in value)


_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(
        (
            "temperature_c",
            "battery_percent",
            "memory_total_bytes",
            "memory_available_bytes",
            "disk_total_bytes",
            "disk_free_bytes",
        ),
        (_number, "a number"),
    ),
    **dict.fromkeys(("throttled", "on_battery", "gpu"), (lambda value: isinstance(value, bool), "true or false")),
    **dict.fromkeys(("throttling", "warnings"), (_texts, "a list of texts")),
    "power_mode": (lambda value: isinstance(value, str) and bool(value), "a text"),
}


class Doctored:
    """The readings that were ordered."""

    def __init__(self) -> None:
        self.readings: dict[str, Any] = {}

    def set(self, body: object) -> None:
        """Add to them, or replace them; null takes one back. Raises `BadReading`, and then nothing has changed."""
        if not isinstance(body, dict):
            raise BadReading('the body must be an object such as {"temperature_c": 84, "on_battery": true}')
        for name, value in body.items():
            if name not in _KINDS:
                raise BadReading(f"unknown reading {name!r:.80}; known are {', '.join(_KINDS)}")
            holds, words = _KINDS[name]
            if value is not None and not holds(value):
                raise BadReading(f"{name} must be {words}, or null; got {value!r:.200}")
        merged = {**self.readings, **body}
        self.readings = {name: value for name, value in merged.items() if value is not None}

    def clear(self) -> None:
        """Show what is again."""
        self.readings = {}
