"""Watts from the INA3221 on a Jetson, as the kernel shows it: hwmon, or iio up to JetPack 4; which rails make the total is not
known here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from agents.power import Absent, Reading, Unreadable
from agents.power.figures import number, text_of
from agents.power.looks import Looks
from agents.power.names import Name
from agents.power.rails import NOT_CONNECTED, reading_of

CHANNELS = (1, 2, 3)
"""What hwmon calls 4 to 6 are the shunts' voltages, and 7 their sum."""

_IIO = "bus/i2c/drivers/ina3221x/*/iio*device*"
"""iio:device0, and on some kernels iio_device."""


class Ina3221:
    """Reads the files of all such chips: two for each rail, or one."""

    def __init__(self, sysfs: Path) -> None:
        self.name: str = Name.INA3221.value
        self._sysfs = sysfs
        self._looks = Looks()

    async def read(self) -> Reading:
        """Read all rails, in a thread: each file is a conversation on the I2C bus. Raises `Unreadable`."""
        now = asyncio.get_running_loop().time
        rails, at_s = await self._looks.look(lambda: self._rails(now))
        return reading_of(rails, at_s=at_s, source=self.name)

    async def close(self) -> None:
        """Nothing is kept open."""

    def _rails(self, now: Callable[[], float]) -> tuple[Mapping[str, float], float]:
        began_s = now()
        # The numbers of hwmon change from boot to boot.
        rails = hwmon_rails(self._sysfs) or iio_rails(self._sysfs)
        if not rails:
            raise Absent("there is no INA3221 below /sys")
        return rails, (began_s + now()) / 2


def hwmon_rails(sysfs: Path) -> Mapping[str, float]:
    """Read the rails that hwmon shows, in watts. Raises `Unreadable`."""
    rails: dict[str, float] = {}
    for chip in sorted(sysfs.glob("class/hwmon/hwmon*")):
        if text_of(chip / "name") != "ina3221":
            continue
        for channel in CHANNELS:
            label = text_of(chip / f"in{channel}_label") or f"{chip.name}.{channel}"
            if label == NOT_CONNECTED or text_of(chip / f"in{channel}_enable") == "0":
                continue
            volts, amperes = text_of(chip / f"in{channel}_input"), text_of(chip / f"curr{channel}_input")
            if volts is not None and amperes is not None:
                rails[label] = _watts(label, number(volts) * number(amperes) / 1e6)  # mV, mA
    return rails


def iio_rails(sysfs: Path) -> Mapping[str, float]:
    """Read the rails that the driver of kernel 4.9 shows, in watts. Raises `Unreadable`."""
    rails: dict[str, float] = {}
    for chip in sorted(sysfs.glob(_IIO)):
        for channel in range(3):
            label = text_of(chip / f"rail_name_{channel}")
            power = text_of(chip / f"in_power{channel}_input")
            if label and label != NOT_CONNECTED and power is not None:
                rails[label] = _watts(label, number(power) / 1000)  # mW
    return rails


def _watts(label: str, watts: float) -> float:
    # A few mA below nothing are the offset of a rail that is switched off.
    if watts < -0.5:
        raise Unreadable(f"{label} says {watts:.3g} W: its current flows backwards")
    return max(watts, 0.0)
