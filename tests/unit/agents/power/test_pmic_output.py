"""The rails of a Raspberry Pi 5 in what vcgencmd says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.power import Absent, Unreadable
from agents.power.pmic import board_watts, rails_of, understood
from tests.unit.agents.power.recorded import (
    NOT_REGISTERED,
    PI5_BOARD_W,
    PI5_PMIC,
    PI5_RAILS,
    PI5_SUM_W,
    VCHI_FAILED,
)


def test_the_recorded_rails() -> None:
    """Twelve rails have a current and a voltage; the two that tell volts alone are not counted."""
    rails = rails_of(PI5_PMIC)

    assert (len(rails), round(sum(rails.values()), 3)) == (PI5_RAILS, PI5_SUM_W)


def test_the_fit_of_the_whole_board() -> None:
    """1.1451 x 2.948 W + 0.5879 W."""
    assert board_watts(rails_of(PI5_PMIC)) == pytest.approx(PI5_BOARD_W, abs=5e-4)


def test_a_board_without_the_chip_has_no_sensor() -> None:
    """A Pi 4 has vcgencmd, and an error for this command."""
    with pytest.raises(Absent, match="only the Pi 5"):
        understood(NOT_REGISTERED, 0)


def test_a_user_who_may_not_ask_is_told_the_group() -> None:
    """The way out stands in the message."""
    with pytest.raises(Unreadable, match="usermod -aG video"):
        understood(VCHI_FAILED, 255)


@pytest.mark.parametrize("lines", range(1, 26))
def test_an_answer_that_was_cut_off_is_no_total(lines: int) -> None:
    """Wherever it ends before the last rail's volts, a current has no voltage."""
    rows = PI5_PMIC.splitlines()[:lines]
    if any("HDMI_V" in row for row in rows):
        assert len(rails_of("\n".join(rows))) == PI5_RAILS
        return
    with pytest.raises(Unreadable):
        rails_of("\n".join(rows))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(0, 1100), st.integers(0, 60), st.text("0189.-AV=()\n _e", max_size=8)),
        min_size=1,
        max_size=6,
    )
)
def test_a_mangled_answer_tells_possible_watts_or_nothing(cuts: list[tuple[int, int, str]]) -> None:
    """Twelve rails of 12 A and 30 V are the most that can come out."""
    text = PI5_PMIC
    for start, length, new in cuts:
        text = text[:start] + new + text[start + length :]
    try:
        rails = rails_of(text)
    except Unreadable:
        return

    assert all(0 <= watts <= 360 for watts in rails.values())
