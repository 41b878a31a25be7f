"""The watts of NVIDIA cards, by a twin of the driver's library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agents.power import Absent, Unreadable
from agents.power.nvml import Nvml


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


class Library:
    """NVML as its Python binding shows it, with the numbers of its errors; each card tells (mW, mJ), None where it can't."""

    NVMLError = NVMLError
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_NO_PERMISSION = 4
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_FUNCTION_NOT_FOUND = 13

    def __init__(self, *cards: tuple[int | None, int | None], fault: int | None = None) -> None:
        self.cards = list(cards)
        self.fault = fault
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802  # its name
        if self.fault is not None:
            raise NVMLError(self.fault)
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802  # its name
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802  # its name
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802  # its name
        return index

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802  # its name
        return self._told(self.cards[handle][0])

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802  # its name
        return self._told(self.cards[handle][1])

    def _told(self, value: int | None) -> int:
        if value is None:
            raise NVMLError(self.NVML_ERROR_NOT_SUPPORTED)
        return value


def of(library: Library) -> Callable[[], Any]:
    return lambda: library


async def test_cards_are_added() -> None:
    """What they draw now, before there is a mean; a part of the machine, so it is called an estimate."""
    reading = await Nvml(of(Library((71_500, 1_000), (60_000, 2_000)))).read()

    assert (reading.watts, dict(reading.rails), reading.rail, reading.measured) == (
        131.5,
        {"gpu-0": 71.5, "gpu-1": 60.0},
        "gpu",
        False,
    )


async def test_a_card_that_counts_no_energy_tells_its_draw() -> None:
    """Those before Volta."""
    reader = Nvml(of(Library((71_500, None))))

    assert [(await reader.read()).watts for _ in range(2)] == [71.5, 71.5]


@pytest.mark.parametrize(
    "library",
    [
        Library((None, None)),
        Library(),
        Library(fault=Library.NVML_ERROR_DRIVER_NOT_LOADED),
        Library(fault=Library.NVML_ERROR_LIBRARY_NOT_FOUND),
    ],
)
async def test_a_machine_without_such_a_card_has_no_such_sensor(library: Library) -> None:
    """A Jetson's GPU answers, and says nothing of watts."""
    with pytest.raises(Absent):
        await Nvml(of(library)).read()


@pytest.mark.parametrize(("fault", "why"), [(Library.NVML_ERROR_NO_PERMISSION, "group video"), (999, "error 999")])
async def test_a_driver_that_refuses_is_told(fault: int, why: str) -> None:
    """With the way out where it is known."""
    with pytest.raises(Unreadable, match=why):
        await Nvml(of(Library(fault=fault))).read()


async def test_a_megawatt_is_none() -> None:
    """A figure that can't be true is no reading."""
    with pytest.raises(Unreadable, match="can't be true"):
        await Nvml(of(Library((10**9, None)))).read()


async def test_closing_lets_go_of_the_driver_and_reading_opens_it_again() -> None:
    """A card can be taken out of a driver that nobody holds."""
    library = Library((10_000, None))
    reader = Nvml(of(library))
    await reader.read()
    await reader.close()
    shut = library.open
    await reader.read()

    assert (shut, library.open) == (0, 1)
