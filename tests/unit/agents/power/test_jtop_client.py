"""The watts of jetson-stats, by a twin of its client, which knows only how to block."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from agents.power import Absent, Unreadable
from agents.power.jtop import Jtop, rails_of

RAIL = {"volt": 4984, "curr": 1856, "power": 9250, "avg": 1, "online": True}


class Board:
    """A client that gives one sample after the other as a test lets it."""

    def __init__(self, power: object, *, fault: Exception | None = None, samples: int = 10**6) -> None:
        self.power = power
        self._fault = fault
        self._samples = samples
        self.left = threading.Event()

    def __enter__(self) -> Board:
        if self._fault is not None:
            raise self._fault
        return self

    def __exit__(self, *_: object) -> None:
        self.left.set()

    def ok(self) -> bool:
        # The pause of a client that waits for the service.
        self.left.wait(0.01)
        self._samples -= 1
        return self._samples >= 0


async def test_the_total_rail_is_read() -> None:
    """Milliwatts of this moment, and never the smoothed `avg`."""
    reader = Jtop(lambda: Board({"rail": {"VDD_SOC": {**RAIL, "power": 1475}}, "tot": {**RAIL, "name": "VDD_IN"}}))
    reading = await reader.read()
    await reader.close()

    assert (reading.watts, reading.rail, reading.rails["VDD_SOC"], reading.measured) == (9.25, "VDD_IN", 1.475, True)


@pytest.mark.parametrize(
    ("power", "rails"),
    [
        # An AGX Orin: `tot` has no name, since it is jtop's own sum, VDDQ and all.
        (
            {
                "rail": {"VDD_CPU_CV": {"power": 796}, "VDDQ_VDD2_1V8AO": {"power": 301}},
                "tot": {"power": 7009, "avg": 7009},
            },
            {"VDD_CPU_CV": 0.796, "VDDQ_VDD2_1V8AO": 0.301},
        ),
        ({"rail": {"NC": {"power": 5, "online": False}, "VIN": {"power": 40000}}}, {"VIN": 40.0}),
        ({}, {}),
        ({"rail": None, "tot": []}, {}),
        (None, {}),
    ],
)
def test_rails_of_what_jtop_gives(power: Any, rails: dict[str, float]) -> None:
    """Boards without a total rail, without sensors, and what no board gives."""
    assert rails_of(power) == rails


@pytest.mark.parametrize("power", [{"rail": {"VIN": {}}}, {"rail": {"VIN": {"power": "much"}}}])
def test_a_rail_without_watts_is_told(power: object) -> None:
    """Instead of nothing drawn."""
    with pytest.raises(Unreadable, match="no number"):
        rails_of(power)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (PermissionError(13, "Permission denied"), "usermod -aG jtop"),
        (RuntimeError("I can't access jtop.service. Permission denied"), "usermod -aG jtop"),
        (RuntimeError("The jtop.service is not active. Please run:"), "systemctl start jtop"),
        (RuntimeError("Mismatch version jtop service: [4.2] and client: [4.3]"), "Mismatch version"),
        (EOFError(), "EOFError"),
    ],
)
async def test_a_service_that_refuses_is_told_with_the_way_out(fault: Exception, why: str) -> None:
    """Whatever its client raises."""
    reader = Jtop(lambda: Board({}, fault=fault))
    with pytest.raises(Unreadable, match=why):
        await reader.read()


async def test_a_service_that_stops_is_told() -> None:
    """`ok` says False, and the thread ends."""
    board = Board({"rail": {}}, samples=0)
    with pytest.raises(Unreadable, match="has stopped"):
        await Jtop(lambda: board).read()

    assert board.left.is_set()


async def test_closing_ends_the_thread_and_reading_starts_another() -> None:
    """The service stops sampling when nobody listens."""
    boards = [Board({"tot": {**RAIL, "name": "VIN"}}) for _ in range(2)]
    waiting = list(boards)
    reader = Jtop(lambda: waiting.pop(0))
    await reader.read()
    await reader.close()
    left = boards[0].left.is_set()
    reading = await reader.read()
    await reader.close()

    assert (left, reading.watts, boards[1].left.is_set()) == (True, 9.25, True)


async def test_without_jetson_stats_there_is_no_such_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is AGPL, and never installed with Drover."""
    monkeypatch.setitem(sys.modules, "jtop", None)  # what Python says of a module that is not there
    with pytest.raises(Absent, match="not installed"):
        await Jtop().read()
