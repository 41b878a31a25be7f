"""An estimate for devices without a sensor: idle watts, and what is added by how busy the processor or the GPU is; it measures
no watts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil

from agents.power import Reading, Unreadable
from agents.power.figures import number, text_of
from agents.power.looks import Looks
from agents.power.names import Name
from agents.power.profiles import Board
from common.clock import loop_s

LEAST_S = 0.1
"""The kernel counts hundredths of a second: over less than ten of them a share says little."""


GPU_S = 2.0
"""The kernel tells the GPU's load in less than a millisecond; a driver that hangs must not cost the estimate."""


class ModelPower:
    """Estimates from the processor's counters, and from the GPU's load where the kernel tells it."""

    def __init__(self, board: Board, *, sysfs: Path) -> None:
        self.name: str = Name.MODEL.value
        self._board = board
        self._sysfs = sysfs
        self._counted: tuple[float, float] | None = None
        self._looked_s = 0.0
        self._cpu = 0.0
        self._looks = Looks()

    async def read(self) -> Reading:
        """Estimate for the time since the last read; a second within a tenth of a second gives the share of the first."""
        if self._counted is None:
            self._counted, self._looked_s = _counters(), loop_s()
            await asyncio.sleep(LEAST_S)
        at_s = loop_s()
        if at_s - self._looked_s >= LEAST_S:
            now = _counters()
            self._cpu, self._counted, self._looked_s = share(self._counted, now), now, at_s
        gpu = await self._gpu()
        return Reading(
            at_s=at_s,
            watts=self._board.watts(max(self._cpu, gpu or 0.0)),
            rail=self._board.name,
            source=self.name,
            measured=False,
            uncertainty=self._board.uncertainty,
        )

    async def _gpu(self) -> float | None:
        """Give the GPU's load; None where nobody tells it in time."""
        try:
            async with asyncio.timeout(GPU_S):
                return await self._looks.look(lambda: gpu_load(self._sysfs))
        except (TimeoutError, Unreadable):
            return None

    async def close(self) -> None:
        """Forget the counters: they would tell of the time until the next read."""
        self._counted = None


def share(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Give the busy part of the time between two looks at (busy, all) seconds."""
    busy, whole = after[0] - before[0], after[1] - before[1]
    return min(max(busy / whole, 0.0), 1.0) if whole > 0 else 0.0


def _counters() -> tuple[float, float]:
    times = psutil.cpu_times()
    # Guests are counted in user and nice already.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    whole = sum(times) - guests
    return whole - times.idle - getattr(times, "iowait", 0.0), whole


def gpu_load(sysfs: Path) -> float | None:
    """Give how busy a Jetson's GPU is, 0 to 1; None where the kernel does not tell."""
    # devfreq's names changed between JetPacks (17000000.gv11b, .ga10b, .gpu); the last two are Orin's and Nano's own.
    for pattern in ("class/devfreq/*/device/load", "devices/platform/gpu.0/load", "devices/gpu.0/load"):
        for path in sorted(sysfs.glob(pattern)):
            try:
                text = text_of(path)
                load = number(text) / 1000 if text else None  # it counts in thousandths
            except Unreadable:
                continue
            if load is not None and 0 <= load <= 1:
                return load
    return None
