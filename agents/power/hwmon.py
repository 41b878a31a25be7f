"""Watts from a power monitor in the supply line, an INA219, INA226, INA238 or one of their kin, as the kernel's hwmon shows it;
whether it really is in the supply line is the owner's word."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from agents.power import Absent, Reading, Unreadable
from agents.power.figures import number, plausible, text_of
from agents.power.looks import Looks
from agents.power.names import Name

_CHIP = re.compile(r"(ina2(09|1[89]|2[0-9]|3[0-9]|60|80)|sq52206)")
"""What the kernel's drivers ina209, ina2xx, ina233 and ina238 call them; ina3221 has channels, and a reader of its own."""

MOST_W = 2000.0
"""An INA238 stands 85 V; nothing that runs Ollama behind one takes more."""

UNCERTAINTY = 0.03
"""0.5 % to 1 % of the chip (an INA219; the others are better), 1 % of an ordinary shunt, its heat, and the offset at few watts.
A `shunt_resistor` that is set wrongly scales everything, and nobody can see that from here."""


class Hwmon:
    """Reads one chip: the only one, the one whose label says VIN, or the one that the owner named."""

    def __init__(self, sysfs: Path, *, wanted: str) -> None:
        self.name: str = Name.HWMON.value
        self._sysfs = sysfs
        self._wanted = wanted
        self._looks = Looks()

    async def read(self) -> Reading:
        """Read it, in a thread: each file is a conversation on the I2C bus. Raises `Unreadable`."""
        now = asyncio.get_running_loop().time
        watts, rail, at_s = await self._looks.look(lambda: self._look(now))
        return Reading(at_s=at_s, watts=watts, rail=rail, source=self.name, measured=True, uncertainty=UNCERTAINTY)

    async def close(self) -> None:
        """Nothing is kept open."""

    def _look(self, now: Callable[[], float]) -> tuple[float, str, float]:
        chip = chosen(self._sysfs, self._wanted)
        began_s = now()
        watts = watts_of(chip)
        return watts, names_of(chip)[0], (began_s + now()) / 2


def chosen(sysfs: Path, wanted: str) -> Path:
    """Find the chip that measures the supply. Raises `Unreadable`."""
    chips = [chip for chip in sorted(sysfs.glob("class/hwmon/hwmon*")) if _CHIP.fullmatch(text_of(chip / "name") or "")]
    if not chips:
        raise Absent("there is no INA219, INA226 or INA238 below /sys/class/hwmon")
    for words in (wanted, "VIN") if not wanted else (wanted,):
        fitting = [chip for chip in chips if words in names_of(chip)]
        if len(fitting) == 1:
            return fitting[0]
    if len(chips) == 1 and not wanted:
        return chips[0]
    found = ", ".join("/".join(names_of(chip)) for chip in chips)
    raise Unreadable(f"which of {found} measures the supply? Set DROVER_POWER_HWMON to a name, label or address of one")


def names_of(chip: Path) -> tuple[str, ...]:
    """Give what a chip may be called: its label if it has one, its name, its address on the bus."""
    label, name = text_of(chip / "in1_label"), text_of(chip / "name")
    device = (chip / "device").resolve().name if (chip / "device").exists() else None
    return tuple(each for each in (label, name, device) if each)


def watts_of(chip: Path) -> float:
    """Read a chip's power, or its voltage and current. Raises `Unreadable`."""
    power = text_of(chip / "power1_input")
    if power is not None:
        return plausible(number(power) / 1e6, most_w=MOST_W)  # µW
    volts, amperes = text_of(chip / "in1_input"), text_of(chip / "curr1_input")
    if volts is None or amperes is None:
        raise Unreadable(
            f"{chip.name} ({text_of(chip / 'name')}) shows neither power1_input nor in1_input and curr1_input"
        )
    watts = number(volts) * number(amperes) / 1e6  # mV, mA
    if watts < -0.5:
        raise Unreadable(f"{chip.name} says {watts:.3g} W: its current flows backwards, swap the two leads")
    return plausible(max(watts, 0.0), most_w=MOST_W)
