"""When the device is read next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.energy.cadence import AFTER_EACH_S, AFTER_S, SOON_S, Cadence, Moments

CADENCE = Cadence(busy_hz=5.0, idle_s=10.0)
LONG_AGO = float("-inf")
IDLE = Moments(busy=False, busy_since_s=0.0, idle_since_s=0.0, first_token_s=LONG_AGO, learnt=True)
BUSY = replace(IDLE, busy=True, busy_since_s=100.0)


@pytest.mark.parametrize(
    ("read_s", "now", "due_s"),
    [
        pytest.param(50.0, BUSY, 100.2, id="a little after the device became busy"),
        pytest.param(50.0, replace(BUSY, first_token_s=100.05), 100.2, id="however soon the first token comes"),
        pytest.param(100.1, BUSY, 100.3, id="then each period"),
        pytest.param(102.1, replace(BUSY, first_token_s=102.15), 102.2, id="no sooner than half a period"),
        pytest.param(102.1, replace(BUSY, first_token_s=102.24), 102.24 + SOON_S, id="soon after a first token"),
        pytest.param(102.1, replace(BUSY, first_token_s=102.0), 102.3, id="once"),
        pytest.param(100.0, IDLE, 110.0, id="seldom without jobs"),
        pytest.param(100.0, replace(IDLE, learnt=False), 100.2, id="quickly until the baseline is known"),
        pytest.param(100.0, replace(IDLE, idle_since_s=99.0), 100.0 + AFTER_EACH_S, id="each second after a job"),
        pytest.param(100.0, replace(IDLE, idle_since_s=100.0 - AFTER_S), 110.0, id="for a while"),
    ],
)
def test_the_next_reading(read_s: float, now: Moments, due_s: float) -> None:
    """By what has happened since the last one."""
    assert CADENCE.due_s(read_s, now) == pytest.approx(due_s)
