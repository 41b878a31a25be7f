"""Watts of the processor's package and its memory, from the energy counters of Intel and AMD processors (RAPL) that the kernel
shows as powercap; the board, the disks and the power supply are not in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from agents.power import Absent, Reading, Unreadable
from agents.power.counters import Counted, Mean, Meter
from agents.power.figures import number, plausible, text_of
from agents.power.looks import Looks
from agents.power.names import Name

LEAST_S = 0.1
"""The counters move about every millisecond: over a hundred of them that is 1 %."""

MOST_W = 2000.0
"""For one package; the largest are rated 500 W."""

UNCERTAINTY = 0.30
"""The counters themselves are within some 5 %; but the mainboard, the disks, the fans and what the power supply loses are missing
here: a fifth to a half of an idle PC, 15 % to 25 % of what a load adds."""

_ZONE = "class/powercap/intel-rapl:*"

_RULE = (
    "only root may, since Linux 5.10; a udev rule gives a group of yours the right: "
    'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chgrp -R drover /sys%p", RUN+="/bin/chmod -R g+r /sys%p"'
)


class Rapl:
    """Reads all packages, and the memory of each."""

    def __init__(self, sysfs: Path) -> None:
        self.name: str = Name.RAPL.value
        self._sysfs = sysfs
        self._looks = Looks()
        self._meter = Meter(least_s=LEAST_S)

    async def read(self) -> Reading:
        """Give the mean since the last read; the first takes a tenth of a second. Raises `Unreadable`."""
        mean = await self._look()
        if mean is None:
            await asyncio.sleep(LEAST_S)
            mean = await self._look()
        if mean is None:
            raise Unreadable("the energy counters were set back, or changed while they were read")
        watts = sum(plausible(part, most_w=MOST_W) for part in mean.watts.values())
        return Reading(
            at_s=mean.at_s,
            watts=watts,
            rail="package",
            source=self.name,
            measured=False,  # real sensors, but of a part of the machine
            uncertainty=UNCERTAINTY,
            rails=mean.watts,
        )

    async def close(self) -> None:
        """Forget the counters."""
        self._meter.forget()

    async def _look(self) -> Mean | None:
        now = asyncio.get_running_loop().time
        counts, at_s = await self._looks.look(lambda: self._counts(now))
        return self._meter.look(at_s, counts)

    def _counts(self, now: Callable[[], float]) -> tuple[Mapping[str, Counted], float]:
        began_s = now()
        counts = counts_of(self._sysfs)
        return counts, (began_s + now()) / 2


def counts_of(sysfs: Path) -> Mapping[str, Counted]:
    """Read the counters that don't overlap: packages and, inside their zones but not in their figures, the memory. `psys` holds the
    packages again, `core` and `uncore` are parts of them. Raises `Unreadable`."""
    counts: dict[str, Counted] = {}
    for zone in sorted(sysfs.glob(_ZONE)):
        name = text_of(zone / "name") or ""
        memory = name == "dram" and zone.name.count(":") == 2
        if not memory and not name.startswith("package"):
            continue
        parent = text_of(sysfs / "class/powercap" / zone.name.rpartition(":")[0] / "name") if memory else None
        key = f"{parent or zone.name}.{name}" if memory else name
        counts[key if key not in counts else f"{key} {zone.name}"] = _counted(zone)
    if not counts:
        raise Absent("there is no RAPL counter below /sys/class/powercap")
    return counts


def _counted(zone: Path) -> Counted:
    try:
        used = text_of(zone / "energy_uj")
    except Unreadable as error:
        if isinstance(error.__cause__, PermissionError):
            raise Unreadable(f"{error}: {_RULE}") from error
        raise
    if used is None:
        raise Unreadable(f"{zone} has no energy_uj")
    whole = text_of(zone / "max_energy_range_uj")
    joules, range_j = number(used) / 1e6, number(whole) / 1e6 if whole else None
    if joules < 0:
        raise Unreadable(f"{zone} counts below nothing")
    return Counted(joules=joules, range_j=range_j)
