"""Rails in tegrastats' lines, of every JetPack and of none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.power import Absent, Unreadable
from agents.power.rails import MOST_RAIL_W, reading_of
from agents.power.tegrastats import rails_of
from tests.unit.agents.power.recorded import TEGRASTATS

KNOWN = {name: row for name, row in TEGRASTATS.items() if row[1] is not None}
LINES = st.sampled_from([line for line, _, _ in TEGRASTATS.values()])


@pytest.mark.parametrize("name", KNOWN)
def test_a_recorded_line_tells_what_the_board_draws(name: str) -> None:
    """JetPack 4 without units, 5 and 6 with two values, 7 with three."""
    line, watts, rail = KNOWN[name]
    reading = reading_of(rails_of(line), at_s=1.0, source="tegrastats")

    assert (round(reading.watts, 6), reading.rail, reading.measured) == (watts, rail, True)


def test_a_line_without_rails_has_none() -> None:
    """A Thor's: its clocks and its memory are no rails."""
    assert rails_of(TEGRASTATS["thor_fragment"][0]) == {}


def test_temperatures_and_memory_are_no_rails() -> None:
    """Xavier names both its rails and its zones GPU and CPU."""
    assert sorted(rails_of(TEGRASTATS["agx_xavier_jp4"][0])) == ["CPU", "CV", "GPU", "SOC", "SYS5V", "VDDRQ"]


@pytest.mark.parametrize(
    ("text", "rails"),
    [
        ("VDD_IN 8912mW", {"VDD_IN": 8.912}),  # one value alone, as some say they saw
        ("VDD_IN 100mW/5000mW", {"VDD_IN": 0.1}),  # never the average
        ("VDD_IN 100/5000", {"VDD_IN": 0.1}),
        ("VDD_IN 4824mW/48", {"VDD_IN": 4.824}),
        ("VDD_IN -12mW/0mW", {}),
        ("VDD_IN 48", {}),
        ("VDD_IN", {}),
        ("APE 150 VIC_FREQ 115", {}),
        ("VDD_IN 1mW/1mW/1mW/1mW", {}),
    ],
)
def test_odd_values(text: str, rails: dict[str, float]) -> None:
    """The first value counts; what has no unit and no second value is a clock."""
    assert rails_of(text) == rails


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    LINES,
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), st.text("0189/-mWV_ NC@%\0é", max_size=8)), max_size=6),
)
def test_a_mangled_line_tells_possible_watts_or_nothing(line: str, cuts: list[tuple[int, int, str]]) -> None:
    """Cut, doubled or overwritten anywhere: never an exception but ours, never less than nothing or more than rails can be."""
    for start, length, text in cuts:
        line = line[:start] + text + line[start + length :]
    try:
        reading = reading_of(rails_of(line), at_s=1.0, source="tegrastats")
    except Unreadable:
        return

    assert 0 <= reading.watts <= MOST_RAIL_W * len(reading.rails)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.text(max_size=300))
def test_garbage_is_no_line(text: str) -> None:
    """Whatever stands there, there is a total of rails or none."""
    try:
        reading = reading_of(rails_of(text), at_s=1.0, source="tegrastats")
    except Absent:
        return

    assert reading.watts >= 0
