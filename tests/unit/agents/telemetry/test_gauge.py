"""The looks at the sensors: none holds up the agent, however a sensor fails, and tools that hang are left alone."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from agents.telemetry import Gauge, Readings
from agents.telemetry.command import AGAIN_S, Command

GUARD_S = 30.0


class Sensor:
    """One that answers when it is let."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.looks = 0

    def read(self) -> Readings:
        self.looks += 1
        self.free.wait(GUARD_S)
        return Readings(temperature_c=50.0)


class Broken:
    """One that raises as no sensor should."""

    def read(self) -> Readings:
        raise TypeError("no such register")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(GUARD_S):
        while True:
            if holds():
                return
            await asyncio.sleep(0.001)


async def test_a_sensor_that_hangs_is_told_and_waited_for() -> None:
    """The loop goes on, no second look piles up, and when it answers after all, that is taken."""
    sensor = Sensor()
    gauge = Gauge(sensor, poll_s=0.001, patience_s=0.01)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(gauge.watch())
        await until(lambda: bool(gauge.readings.warnings))
        hanging, looks = gauge.readings, sensor.looks
        sensor.free.set()
        await until(lambda: gauge.readings.temperature_c is not None)
        watching.cancel()

    assert (hanging.temperature_c, looks) == (None, 1)
    assert "one of them hangs" in hanging.warnings[0]


def test_an_agent_can_end_while_a_sensor_hangs() -> None:
    """The loop ends though the look never does; a pool's thread would be waited for."""
    sensor = Sensor()

    async def one_life() -> None:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(Gauge(sensor, poll_s=1.0).watch())
            await until(lambda: sensor.looks > 0)
            watching.cancel()

    asyncio.run(one_life())
    ended_before = not sensor.free.is_set()
    sensor.free.set()

    assert ended_before


async def test_sensors_that_raise_cost_the_readings_alone() -> None:
    """The device is told as it is: without readings, and why."""
    gauge = Gauge(Broken(), poll_s=1.0)
    await gauge.look()

    assert gauge.readings == Readings(
        warnings=("its sensors could not be read (TypeError): the agent's log says more",)
    )


class Hands:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def tool(folder: Path, after: str) -> list[str]:
    """Make a tool that notes each run in a file, then does what is said."""
    script = f"open({str(folder / 'runs')!r}, 'a').write('x')\n{after}"
    return [sys.executable, "-S", "-c", script]


def runs(folder: Path) -> int:
    """Count the runs that came so far as to note themselves."""
    file = folder / "runs"
    return len(file.read_text()) if file.exists() else 0


def test_an_answer_serves_for_a_while(tmp_path: Path) -> None:
    """Then the tool is asked again."""
    clock = Hands()
    command = Command(tool(tmp_path, "print('hot')"), every_s=60.0, limit_s=GUARD_S, clock=clock)
    said = []
    for clock.now_s in (0.0, 59.0, 61.0):
        said.append(command.ask())

    assert (["hot\n"] * 3, 2) == (said, runs(tmp_path))


def test_a_tool_that_hangs_is_killed_and_left_alone(tmp_path: Path) -> None:
    """It costs one time limit in five minutes, and not each look. A busy machine may take longer than the limit to begin it: then
    it is given more."""
    limit_s, begun = 1.0, 0
    while not begun and limit_s < GUARD_S:
        clock = Hands()
        command = Command(tool(tmp_path, "import time; time.sleep(600)"), every_s=0.0, limit_s=limit_s, clock=clock)
        first = command.ask()
        begun = runs(tmp_path)
        limit_s *= 2
    clock.now_s = AGAIN_S - 1
    second = command.ask()

    assert (first, second, begun, runs(tmp_path)) == ("", "", 1, 1)


def test_a_tool_that_is_missing_or_fails_says_nothing(tmp_path: Path) -> None:
    """Neither raises."""
    missing = Command([str(tmp_path / "vcgencmd")], every_s=0.0)
    failing = Command(tool(tmp_path, "print('x'); raise SystemExit(1)"), every_s=0.0, limit_s=GUARD_S)

    assert ("", "") == (missing.ask(), failing.ask())
