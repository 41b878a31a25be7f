"""Several power readers as one: what serves, what is said in the log, and how often."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
import structlog
from structlog.testing import capture_logs

from agents.power import Absent, Unreadable
from agents.power.chain import LOOK_S, TRIES, Chain
from agents.power.patient import PATIENCE_S
from common.clock import loop_s
from tests.simulation import loop
from tests.unit.agents.power.scripted_reader import ScriptedReader

NO_RIGHT = Unreadable("only root may: a udev rule")
NEVER_S, AT_ONCE_S = 1e9, 0.0


@pytest.fixture(autouse=True)
def told() -> Iterator[None]:
    """Let good news be logged too, as an agent does; a test's own process speaks up only when something is wrong."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield
    structlog.configure(wrapper_class=before)


T = TypeVar("T")


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run it to its end; minutes take none."""
    return loop.run(main)


@asynccontextmanager
async def seeking(chain: Chain) -> AsyncIterator[None]:
    """Let it look for better readers, as an agent does."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(chain.seek())
        yield
        task.cancel()


def words(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines]


async def test_the_first_that_works_serves() -> None:
    """What the device lacks is passed over without a word."""
    lacking, sensor = ScriptedReader("ina3221", fault=Absent("no chip")), ScriptedReader("pmic", 4.0)
    chain = Chain([lacking, sensor, ScriptedReader("model")], named=False)
    with capture_logs() as lines:
        readings = [await chain.read() for _ in range(3)]

    assert ([reading.source for reading in readings], words(lines), chain.name) == (
        ["pmic"] * 3,
        ["power.reader"],
        "pmic",
    )


async def test_what_the_owner_named_and_the_device_lacks_is_told() -> None:
    """Whoever writes a list down wants to know that its first does not work."""
    chain = Chain([ScriptedReader("ina3221", fault=Absent("no chip")), ScriptedReader("model")], named=True)
    with capture_logs() as lines:
        await chain.read()

    assert [(line["event"], line["lost"], line["why"]) for line in lines] == [
        ("power.degraded", "ina3221", "ina3221: no chip")
    ]


async def test_a_missing_right_is_one_line_with_the_way_out() -> None:
    """However often it is read: what is lost, why, what is used instead."""
    chain = Chain([ScriptedReader("rapl", fault=NO_RIGHT), ScriptedReader("model", 20.0)], named=False, look_s=NEVER_S)
    with capture_logs() as lines:
        for _ in range(10):
            await chain.read()

    assert [(line["event"], line["log_level"], line["why"], line["reader"]) for line in lines] == [
        ("power.degraded", "warning", "rapl: only root may: a udev rule", "model")
    ]


async def test_a_sample_that_fails_once_is_estimated() -> None:
    """A sensor that is busy is no sensor that is gone: the next sample is its own again, and nothing is said."""
    sensor = ScriptedReader("plug", 9.0)
    chain = Chain([sensor, ScriptedReader("model", 5.0)], named=False)
    await chain.read()
    sensor.fault = Unreadable("slow")
    with capture_logs() as lines:
        between = await chain.read()
        sensor.fault = None
        after = await chain.read()

    assert ((between.source, after.source), lines) == (("model", "plug"), [])


async def test_a_sensor_that_is_gone_is_replaced_with_one_line() -> None:
    """After the third failure the next reader serves, and the lost one is closed."""
    sensor = ScriptedReader("tegrastats", 9.0)
    chain = Chain([sensor, ScriptedReader("hwmon", 8.0), ScriptedReader("model", 5.0)], named=False, look_s=NEVER_S)
    await chain.read()
    sensor.fault = Unreadable("it has ended by itself")
    with capture_logs() as lines:
        sources = [(await chain.read()).source for _ in range(5)]

    assert (sources, words(lines), sensor.closed, sensor.reads) == (
        ["model", "model", "hwmon", "hwmon", "hwmon"],
        ["power.degraded"],
        1,
        4,
    )


def test_a_better_reader_that_is_back_serves_again() -> None:
    """It is looked for now and then; its return is one line."""
    sensor, estimate = ScriptedReader("plug", 9.0, fault=Unreadable("away")), ScriptedReader("model", 5.0)

    async def main() -> list[str]:
        chain = Chain([sensor, estimate], named=False)
        async with seeking(chain):
            before = (await chain.read()).source
            sensor.fault = None
            await asyncio.sleep(LOOK_S + 1)
            return [before, *[(await chain.read()).source for _ in range(2)]]

    with capture_logs() as lines:
        sources = in_virtual_time(main())

    assert (sources, [line.get("instead_of") for line in lines], words(lines), estimate.closed) == (
        ["model", "plug", "plug"],
        [None, "model"],
        ["power.degraded", "power.recovered"],
        1,
    )


def test_no_sample_waits_for_the_search_for_a_better_reader() -> None:
    """A sensor that hangs above an estimate costs none of its samples: they come each second, on time."""

    async def main() -> tuple[set[str], float, int]:
        sensor = ScriptedReader("plug", fault=Unreadable("away"))
        chain, latest_s = Chain([sensor, ScriptedReader("model")], named=False), 0.0
        sources = set()
        async with seeking(chain):
            await chain.read()
            sensor.fault, sensor.hangs = None, True
            for _ in range(round(LOOK_S) + 30):
                began_s = loop_s()
                sources.add((await chain.read()).source)
                latest_s = max(latest_s, loop_s() - began_s)
                await asyncio.sleep(1)
        return sources, latest_s, sensor.reads

    assert in_virtual_time(main()) == ({"model"}, 0.0, 2)


def test_a_reader_that_hangs_is_replaced() -> None:
    """One that answered before and then never again: after three of its deadlines the next one serves."""

    async def main() -> tuple[list[str], float]:
        sensor = ScriptedReader("plug", 9.0)
        chain = Chain([sensor, ScriptedReader("model")], named=False)
        await chain.read()
        sensor.hangs = True
        began_s = loop_s()
        return [(await chain.read()).source for _ in range(5)], loop_s() - began_s

    with capture_logs() as lines:
        found = in_virtual_time(main())

    assert (found, words(lines), "it hangs" in lines[-1]["why"]) == (
        (["model"] * 5, TRIES * PATIENCE_S),
        ["power.reader", "power.degraded"],
        True,
    )


def test_a_reader_that_hangs_at_the_start_is_passed_over() -> None:
    """Once, and whatever hangs behind it too."""

    async def main() -> tuple[list[str], float]:
        chain = Chain(
            [ScriptedReader(name, hangs=True) for name in ("plug", "jtop")] + [ScriptedReader("model")], named=False
        )
        return [(await chain.read()).source for _ in range(3)], loop_s()

    with capture_logs():
        assert in_virtual_time(main()) == (["model"] * 3, 2 * PATIENCE_S)


@pytest.mark.parametrize("error", [KeyError("foo"), TimeoutError(), OSError("gone"), AssertionError()])
@pytest.mark.parametrize("worked", [False, True])
async def test_a_reader_that_raises_something_foreign_is_replaced(error: Exception, worked: bool) -> None:
    """A fault in a library costs that reader, and never the agent; its traceback is told once."""
    sensor = ScriptedReader("plug", fault=None if worked else error)
    chain = Chain([sensor, ScriptedReader("model")], named=False)
    with capture_logs() as lines:
        await chain.read()
        sensor.fault = error
        sources = [(await chain.read()).source for _ in range(5)]

    assert (sources, words(lines).count("power.crashed"), words(lines)[-1]) == (["model"] * 5, 1, "power.degraded")
    assert f"its reader failed ({type(error).__name__})" in lines[-1]["why"]


async def test_a_better_reader_is_not_looked_for_with_each_sample() -> None:
    """An attempt may take seconds."""
    sensor = ScriptedReader("plug", fault=Unreadable("away"))
    chain = Chain([sensor, ScriptedReader("model")], named=False, look_s=NEVER_S)
    for _ in range(10):
        await chain.read()

    assert sensor.reads == 1


def test_with_the_estimate_it_never_fails() -> None:
    """Whatever comes and goes above it, hangs, or raises."""
    ways = (Unreadable("away"), KeyError("odd"), None)

    async def main() -> set[float]:
        sensors = [ScriptedReader(name) for name in ("plug", "rapl", "nvml")]
        chain, watts = Chain([*sensors, ScriptedReader("model")], named=False), set()
        async with seeking(chain):
            for round_ in range(600):
                for number, sensor in enumerate(sensors):
                    away = (round_ * (number + 3)) % 7 < 4
                    sensor.fault = ways[round_ % 3] if away else None
                    sensor.hangs = away and sensor.fault is None
                watts.add((await chain.read()).watts)
                await asyncio.sleep(1)
        return watts

    with capture_logs():
        assert in_virtual_time(main()) == {1.0}


async def test_without_the_estimate_it_fails_with_all_reasons_and_one_line() -> None:
    """Who chose a single sensor gets no invented watts; and a sensor that is away is not asked at each sample."""
    plug = ScriptedReader("plug", fault=Unreadable("away"))
    chain = Chain([plug], named=True, retry_s=NEVER_S)
    with capture_logs() as lines:
        for _ in range(5):
            with pytest.raises(Unreadable, match="plug: away"):
                await chain.read()

    assert (words(lines), plug.reads) == (["power.none"], 1)


async def test_a_single_sensor_that_comes_back_serves_again() -> None:
    """The simulator of a device that was started after its agent."""
    plug = ScriptedReader("simulated", fault=Unreadable("away"))
    chain = Chain([plug], named=False, retry_s=AT_ONCE_S)
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(Unreadable):
                await chain.read()
        plug.fault = None
        reading = await chain.read()

    assert (reading.source, words(lines)) == ("simulated", ["power.none", "power.reader"])


async def test_closing_closes_all() -> None:
    """Also those that do not serve."""
    readers = [ScriptedReader("plug"), ScriptedReader("model")]
    chain = Chain(readers, named=False)
    await chain.read()
    await chain.close()

    assert [reader.closed for reader in readers] == [1, 1]
