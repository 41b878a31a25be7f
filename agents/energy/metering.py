"""Puts the parts of an agent's energy account together: one reader, its meter, its sampler, its summaries; it reads nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agents.energy.cadence import Cadence
from agents.energy.charge import Charge
from agents.energy.meter import Meter
from agents.energy.sampler import Draw, Sampler
from agents.energy.summaries import EVERY_S, Summaries
from agents.energy.usual import Profile
from agents.power import PowerSource
from agents.telemetry import Readings
from common.bus import Bus
from common.bus.jetstream import JetStream
from common.clock import Clock
from common.subjects import Subjects


class Unmetered:
    """For a device whose power is nobody's to read, as one whose models run elsewhere."""

    draw = Draw()
    services: tuple[Callable[[], Awaitable[None]], ...] = ()

    def charge(self) -> Charge:
        """Give an account on which nothing is ever booked."""
        return Charge()

    async def close(self) -> None:
        """There is nothing to sum up."""


class Metering:
    """What `reader` sees, and whose it is. `services` run as long as the agent."""

    def __init__(
        self,
        reader: PowerSource,
        bus: Bus,
        subjects: Subjects,
        *,
        device: str,
        boot: str,
        cadence: Cadence,
        clock: Clock,
        profile: Callable[[], Profile],
        loaded: Callable[[], bool],
        felt: Callable[[], Readings] = Readings,
        every_s: float = EVERY_S,
    ) -> None:
        self._meter = Meter(clock, profile=profile, loaded=loaded, changed=self._changed)
        self._sampler = Sampler(
            reader, self._meter, bus, subjects.power(device), device=device, boot=boot, cadence=cadence, clock=clock
        )
        self._summaries = Summaries(
            self._meter,
            self._sampler,
            bus,
            JetStream(bus),
            subjects.record("power", device),
            device=device,
            boot=boot,
            clock=clock,
            felt=felt,
            every_s=every_s,
        )
        self.services: tuple[Callable[[], Awaitable[None]], ...] = (
            reader.seek,
            self._sampler.watch,
            self._summaries.watch,
        )

    def read_by(self, cadence: Cadence) -> None:
        """Read the device that often from now on."""
        self._sampler.cadence = cadence
        self._sampler.nudge()

    @property
    def draw(self) -> Draw:
        """Say what the device draws."""
        return self._sampler.draw

    def charge(self) -> Charge:
        """Open the account of one attempt."""
        return Charge(self._meter)

    async def close(self) -> None:
        """Send the last summary."""
        await self._summaries.close()

    def _changed(self) -> None:
        self._sampler.nudge()
