"""What the device feels: memory and temperature, read beside the heartbeat; which sensors there are is not known here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """One look at the sensors; what can't be read is absent. `idle_w` and `busy_w` are what the board draws without and with a
    job, and not what it draws now."""

    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    temperature_c: float | None = None
    idle_w: float | None = None
    busy_w: float | None = None


class Sensors(Protocol):
    """Something to read."""

    def read(self) -> Readings:
        """Read all of it; may block for a second, and never raises."""
        ...


class Gauge:
    """Keeps the last readings."""

    def __init__(self, sensors: Sensors, *, poll_s: float) -> None:
        self.readings = Readings()
        self._sensors = sensors
        self._poll_s = poll_s

    async def watch(self) -> None:
        """Read again and again, off the event loop; runs as long as the agent."""
        while True:
            self.readings = await asyncio.to_thread(self._sensors.read)
            await asyncio.sleep(self._poll_s)


class NoSensors:
    """For models that run elsewhere: this machine's memory and heat say nothing of them."""

    def read(self) -> Readings:
        """Read nothing."""
        return Readings()


def sensors_for(url: str, *, remote: bool = False) -> Sensors:
    """Give the sensors of the simulated device at `url`, or this machine's own when it is empty; none for a `remote` device."""
    if remote:
        return NoSensors()
    if url:
        from agents.telemetry.simulated import SimulatedSensors  # noqa: PLC0415

        return SimulatedSensors(url)
    from agents.telemetry.host import HostSensors  # noqa: PLC0415

    return HostSensors()
