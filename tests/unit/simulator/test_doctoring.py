"""Readings on demand: what is understood, and what is refused."""

from __future__ import annotations

import pytest

from agents.simulator.doctoring import BadReading, Doctored


def test_readings_are_added_and_taken_back() -> None:
    """A later order leaves the others, and null takes one back."""
    doctored = Doctored()
    doctored.set({"temperature_c": 84, "gpu": True})
    doctored.set({"temperature_c": None, "warnings": ["dust"]})

    assert {"gpu": True, "warnings": ["dust"]} == doctored.readings


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "object"),
        ({"temperature": 3}, "temperature"),
        ({"temperature_c": "hot"}, "temperature_c"),
        ({"temperature_c": float("nan")}, "temperature_c"),
        ({"battery_percent": True}, "battery_percent"),
        ({"gpu": 1}, "gpu"),
        ({"throttling": "x"}, "throttling"),
        ({"warnings": [1]}, "warnings"),
        ({"power_mode": ""}, "power_mode"),
    ],
)
def test_a_bad_reading_names_what_is_wrong(body: object, named: str) -> None:
    """The message says which one, and nothing has changed."""
    doctored = Doctored()
    with pytest.raises(BadReading, match=named):
        doctored.set(body)

    assert {} == doctored.readings
