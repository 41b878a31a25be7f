"""Watts of NVIDIA cards, from the driver's library NVML; the machine around the cards is not in it. Jetsons have none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from agents.power import Absent, Reading, Unreadable
from agents.power.counters import Counted, Mean, Meter
from agents.power.figures import plausible
from agents.power.looks import Looks
from agents.power.names import Name
from common.extras import install

MOST_W = 3000.0
"""For one card; the largest are rated 1.4 kW."""

LEAST_S = 0.25
"""The counter moves in steps of up to a tenth of a second."""

UNCERTAINTY = 0.40
"""NVIDIA states 5 % for the card; but the processor, the memory, the board and what the power supply loses are not in it."""

_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One card at one moment: its draw, and what it has taken since the driver started, where it counts that."""

    name: str
    watts: float | None
    joules: float | None


def library() -> ModuleType:
    """Import NVML's Python binding. Raises `Unreadable`."""
    try:
        import pynvml  # noqa: PLC0415  # only where it is chosen, and it may be missing
    except ImportError as error:
        if _DRIVER.exists():
            raise Unreadable(f"nvidia-ml-py is not installed: {install('nvml')}") from error
        raise Absent("there is no NVIDIA driver") from error
    module: ModuleType = pynvml
    return module


class Nvml:
    """Adds the cards of this machine."""

    def __init__(self, load: Callable[[], Any] = library) -> None:
        self.name: str = Name.NVML.value
        self._load = load
        self._library: Any = None
        self._looks = Looks()
        self._meter = Meter(least_s=LEAST_S)

    async def read(self) -> Reading:
        """Give the mean since the last read, where the cards count energy; else, and at first, what they draw now."""
        now = asyncio.get_running_loop().time
        cards, at_s = await self._looks.look(lambda: self._look(now))
        mean = self._mean(cards, at_s)
        if mean is None:
            draws = {card.name: card.watts for card in cards if card.watts is not None}
            if len(draws) < len(cards):
                raise Absent("its NVIDIA GPU tells no watts, as on a Jetson")
            mean = Mean(at_s=at_s, watts=draws)
        return Reading(
            at_s=mean.at_s,
            watts=sum(plausible(watts, most_w=MOST_W) for watts in mean.watts.values()),
            rail="gpu",
            source=self.name,
            measured=False,  # real sensors, but of a part of the machine
            uncertainty=UNCERTAINTY,
            rails=mean.watts,
        )

    async def close(self) -> None:
        """Let go of the driver; waits while a look at it has not ended."""
        self._meter.forget()
        await self._looks.settle(self._shut_down)

    def _mean(self, cards: list[Card], at_s: float) -> Mean | None:
        counts = {card.name: Counted(joules=card.joules) for card in cards if card.joules is not None}
        return self._meter.look(at_s, counts) if len(counts) == len(cards) else None

    def _look(self, now: Callable[[], float]) -> tuple[list[Card], float]:
        library = self._library or self._load()
        try:
            if self._library is None:
                library.nvmlInit()
                self._library = library
            began_s = now()
            cards = [_card(library, index) for index in range(library.nvmlDeviceGetCount())]
            at_s = (began_s + now()) / 2
        except library.NVMLError as error:
            raise _told(library, error) from error
        if not cards:
            raise Absent("there is no NVIDIA card")
        return cards, at_s

    def _shut_down(self) -> None:
        library, self._library = self._library, None
        if library is not None:
            try:
                library.nvmlShutdown()
            except library.NVMLError:
                pass  # the driver has gone already


def _card(library: Any, index: int) -> Card:
    handle = library.nvmlDeviceGetHandleByIndex(index)
    return Card(
        name=f"gpu-{index}",
        watts=_in_thousandths(library, library.nvmlDeviceGetPowerUsage, handle),  # mW
        joules=_in_thousandths(library, library.nvmlDeviceGetTotalEnergyConsumption, handle),  # mJ, since Volta
    )


def _in_thousandths(library: Any, asked: Callable[[Any], int], handle: Any) -> float | None:
    try:
        return asked(handle) / 1000
    except library.NVMLError as error:
        if error.value in (library.NVML_ERROR_NOT_SUPPORTED, library.NVML_ERROR_FUNCTION_NOT_FOUND):
            return None
        raise


def _told(library: Any, error: Any) -> Unreadable:
    if error.value in (library.NVML_ERROR_LIBRARY_NOT_FOUND, library.NVML_ERROR_DRIVER_NOT_LOADED):
        return Absent("there is no NVIDIA driver")
    if error.value == library.NVML_ERROR_NO_PERMISSION:
        return Unreadable(
            "the NVIDIA driver refuses: give this user the right to /dev/nvidiactl, usually the group video or render"
        )
    return Unreadable(f"the NVIDIA driver says: {error}")
