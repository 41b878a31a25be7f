"""What the device feels: heat, throttling, memory, disk, battery, read beside the heartbeat; which sensors there are is not known
here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agents.aside import Aside
from common.logs import get_logger

log = get_logger("sensors")

PATIENCE_S = 10.0
"""Sensors that take longer hang; one look takes some milliseconds, or some tens of them where a command must be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """One look at the sensors; what can't be read is absent. `idle_w` and `busy_w` are what the board draws without and with a
    job, and not what it draws now. `throttling` is why it is slower than it could be now, as `common.throttling` writes it, and
    empty where it is not, or nobody can tell: `throttled` is then None. `warnings` are for its owner. `gpu` is whether it has one
    that models should run on; None where nobody can tell. The disk is that of the models."""

    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    temperature_c: float | None = None
    throttled: bool | None = None
    throttling: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    power_mode: str | None = None
    gpu: bool | None = None
    disk_total_bytes: int | None = None
    disk_free_bytes: int | None = None
    battery_percent: float | None = None
    on_battery: bool | None = None
    idle_w: float | None = None
    busy_w: float | None = None


class Sensors(Protocol):
    """Something to read."""

    def read(self) -> Readings:
        """Read all of it; may block, and should not raise. Called from one thread at a time."""
        ...


class Gauge:
    """Keeps the last readings. A look that hangs leaves the event loop alone, is told as a warning, and never piles up."""

    def __init__(self, sensors: Sensors, *, poll_s: float, patience_s: float = PATIENCE_S) -> None:
        self.readings = Readings()
        self._sensors = sensors
        self.poll_s = poll_s
        self._patience_s = patience_s
        self._aside = Aside("sensors")
        self._failed = ""

    async def watch(self) -> None:
        """Look again and again; runs as long as the agent."""
        while True:
            await self.look()
            await asyncio.sleep(self.poll_s)

    async def look(self) -> None:
        """Look once. After `patience_s` there are no readings but the warning; what comes later is taken all the same."""
        looking = asyncio.get_running_loop().run_in_executor(self._aside, self._read)
        try:
            async with asyncio.timeout(self._patience_s):
                self.readings = await asyncio.shield(looking)
        except TimeoutError:
            self.readings = Readings(
                warnings=(f"its sensors have not answered for {self._patience_s:g} s: one of them hangs",)
            )
            log.warning("sensors.silent", patience_s=self._patience_s)
            self.readings = await looking
        finally:
            looking.cancel()  # nobody is there any more to take what a look in progress finds

    def _read(self) -> Readings:
        try:
            readings = self._sensors.read()
        except Exception as error:
            # Sensors must not raise; a device without readings beats one that is gone.
            name = type(error).__name__
            if name != self._failed:
                log.exception("sensors.crashed")
            self._failed = name
            return Readings(warnings=(f"its sensors could not be read ({name}): the agent's log says more",))
        self._failed = ""
        return readings


class NoSensors:
    """For models that run elsewhere: this machine's memory and heat say nothing of them."""

    def read(self) -> Readings:
        """Read nothing."""
        return Readings()


def sensors_for(url: str, *, remote: bool = False, models: str = "") -> Sensors:
    """Give the sensors of the simulated device at `url`, or this machine's own when it is empty; none for a `remote` device.
    `models` is Ollama's directory, where it is not the usual one."""
    if remote:
        return NoSensors()
    if url:
        from agents.telemetry.simulated import SimulatedSensors  # noqa: PLC0415

        return SimulatedSensors(url)
    from agents.telemetry.host import HostSensors  # noqa: PLC0415

    return HostSensors(models=Path(models).expanduser() if models else None)
