"""Devices that draw more than they say, as limits on watts trust what they say: which are told, and how often."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from dispatcher.overdraw import Overdraw
from dispatcher.routing.draw import overdrawn
from tests.unit.dispatcher.builders import beat

SEEN = {"watts_measured": True, "idle_w": 3.0}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"busy_w": 10.0, "watts": 11.5}, False),  # reading a prompt takes 10 to 15 % more
        ({"busy_w": 10.0, "watts": 12.6}, True),
        ({"busy_w": 2.0, "watts": 2.9}, False),  # a quarter more, but less than a watt
        ({"busy_w": 0.01, "watts": 9.0}, True),  # limits would let everything pass here
        ({"busy_w": 10.0, "watts": 30.0, "watts_measured": False}, False),  # estimated from what it says itself
        ({"busy_w": 10.0, "watts": 30.0, "remote": True}, False),
        ({"busy_w": 10.0}, False),
        ({"watts": 30.0}, False),  # it says nothing that could be wrong
    ],
)
def test_who_draws_more_than_it_says(said: dict[str, Any], *, expected: bool) -> None:
    """A sensor's watts well above the told ones; nothing else."""
    assert expected is overdrawn(beat(**(SEEN | said)))


def test_it_is_told_once_for_each_boot() -> None:
    """A heartbeat comes each second; whoever changed the setting has restarted the agent."""
    overdraw = Overdraw()
    with capture_logs() as lines:
        for boot, watts in (("a", 9.0), ("a", 20.0), ("a", 21.0), ("b", 20.0)):
            overdraw.look(beat("nano", boot=boot, watts=watts, busy_w=10.0, **SEEN))

    assert [("device.draws_more", "nano", 20.0, 10.0)] * 2 == [
        (line["event"], line["device"], line["watts"], line["busy_w"]) for line in lines
    ]
