"""Sensors that hang, as an I2C bus that is stuck does: their files are pipes into which nobody writes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agents.power import PowerReader, Unreadable
from agents.power.hwmon import Hwmon
from agents.power.ina3221 import Ina3221
from agents.power.jtop import Client, Jtop
from agents.power.model import ModelPower
from agents.power.nvml import Nvml
from agents.power.patient import Patient
from agents.power.profiles import Board
from agents.power.rapl import Rapl

GUARD_S = 30.0
SOON_S = 0.05
"""What hangs does so until the test ends: any deadline is over before."""

BOARD = Board(name="bench", idle_w=4.0, busy_w=4.0, uncertainty=0.3)


@contextmanager
def stuck(path: Path) -> Iterator[None]:
    """Put a pipe there, which is silent until the body ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR)
    try:
        yield
    finally:
        path.unlink()
        os.close(end)


class Driver:
    """An NVML that hangs in its first call, and a jtop that hangs when it is asked for, until they are let go."""

    NVMLError = LookupError

    def __init__(self) -> None:
        self.let = threading.Event()

    def nvmlInit(self) -> None:  # noqa: N802  # its name
        self.let.wait(GUARD_S)

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802  # its name
        return 0

    def nvmlShutdown(self) -> None:  # noqa: N802  # its name
        """There is nothing to shut down."""

    def client(self) -> Client:
        self.let.wait(GUARD_S)
        raise RuntimeError("it was let go")


@contextmanager
def hanging(name: str, sysfs: Path) -> Iterator[PowerReader]:
    """Give a reader whose sensor hangs until the body ends."""
    driver = Driver()
    library: Callable[[], Any] = lambda: driver  # noqa: E731  # as the reader takes it
    readers: dict[str, tuple[PowerReader, str]] = {
        "ina3221": (Ina3221(sysfs), "class/hwmon/hwmon1/name"),
        "hwmon": (Hwmon(sysfs, wanted=""), "class/hwmon/hwmon1/name"),
        "rapl": (Rapl(sysfs), "class/powercap/intel-rapl:0/name"),
        "nvml": (Nvml(library), "unused"),
        "jtop": (Jtop(driver.client), "unused"),
    }
    reader, path = readers[name]
    before = threads()
    with stuck(sysfs / path):
        try:
            yield reader
        finally:
            driver.let.set()
    for thread in threads() - before:
        thread.join(GUARD_S)


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


@pytest.mark.parametrize("name", ["ina3221", "hwmon", "rapl", "nvml", "jtop"])
async def test_a_sensor_that_hangs_costs_one_thread_however_often_it_is_asked(tmp_path: Path, name: str) -> None:
    """Each attempt is given up, and none of them leaves a thread behind but the first; the pool that all share has lost none."""
    before = threads()
    with hanging(name, tmp_path) as reader:
        patient = Patient(reader, patience_s=SOON_S)
        for attempt in range(5):
            with pytest.raises(Unreadable):
                await patient.read()
            if attempt == 1:
                await patient.close()
        left = [thread.name for thread in threads() - before if not thread.name.startswith("asyncio")]
        pooled = [thread for thread in threads() - before if thread.name.startswith("asyncio")]

    assert (len(left), pooled) == (1, [])


async def test_a_sensor_that_answers_again_is_read_again(tmp_path: Path) -> None:
    """The thread that hung has ended by then; nothing needs to be started anew."""
    with hanging("hwmon", tmp_path) as reader, pytest.raises(Unreadable, match="it hangs"):
        await Patient(reader, patience_s=SOON_S).read()
    (tmp_path / "class/hwmon/hwmon1/name").write_text("ina219\n")
    (tmp_path / "class/hwmon/hwmon1/power1_input").write_text("3000000\n")

    assert (await reader.read()).watts == 3.0


async def test_a_gpu_that_hangs_costs_the_estimate_nothing_but_its_load(tmp_path: Path) -> None:
    """What must never fail is told by the processor alone."""
    reader = ModelPower(BOARD, sysfs=tmp_path)
    before = threads()
    with stuck(tmp_path / "devices/gpu.0/load"):
        watts = [(await reader.read()).watts for _ in range(3)]
    for thread in threads() - before:
        thread.join(GUARD_S)

    assert watts == [4.0] * 3
