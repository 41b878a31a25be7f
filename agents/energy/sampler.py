"""Reads the device's watts as often as is due, for the meter and for whoever listens; what jobs take of them is the meter's.

A sample goes out each second while jobs run, and with each reading otherwise. A reader that fails is asked on, more seldom: the
meter then fills in what is usual.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from math import isfinite

from agents.energy.cadence import Cadence
from agents.energy.meter import Meter
from agents.power import PowerReader, Reading, Unreadable
from common import codec
from common.bus import Bus
from common.clock import Clock
from common.energy import PowerSample
from common.errors import FleetError
from common.logs import get_logger

log = get_logger("power")

PUBLISH_S = 0.8
"""Between two samples on the bus at least: at five readings a second, each fourth goes out."""

STALE_S = 35.0
"""An older reading says nothing of now; three times the pause while the device is idle."""

FAILED_S = 1.0
"""A reader that failed is not asked again sooner."""

EARLIER_S = 0.002

MOST_RAILS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What a heartbeat says of power. `idle_w` and `busy_w` are there when readings of a sensor taught them."""

    watts: float | None = None
    measured: bool | None = None
    source: str | None = None
    idle_w: float | None = None
    busy_w: float | None = None


class Sampler:
    """Runs one reader, which stays its opener's. `subject` is where samples go."""

    def __init__(
        self,
        reader: PowerReader,
        meter: Meter,
        bus: Bus,
        subject: str,
        *,
        device: str,
        boot: str,
        cadence: Cadence,
        clock: Clock,
    ) -> None:
        self.readings = 0
        """How many there were."""
        self.extremes = (0.0, 0.0)
        """The least and the most watts of them since `begin_extremes`."""
        self._reader = reader
        self._meter = meter
        self._bus = bus
        self._subject = subject
        self._device = device
        self._boot = boot
        self.cadence = cadence
        self._clock = clock
        self._seq = 0
        self._published_s = float("-inf")
        self._last: Reading | None = None
        self._fault = ""
        self._nudged = asyncio.Event()
        self._began_s = self._due_s = clock.monotonic()
        self._failed = False

    @property
    def newest(self) -> Reading | None:
        """The newest reading, however old; None where there never was one."""
        return self._last

    @property
    def last(self) -> Reading | None:
        """The newest reading that still says something of now; None where there is none."""
        if self._last is None or self._clock.monotonic() - self._last.at_s > max(STALE_S, 3 * self.cadence.idle_s):
            return None
        return self._last

    @property
    def draw(self) -> Draw:
        """Say what the device draws, as far as is known."""
        last = self.last
        if last is None:
            return Draw()
        idle = self._meter.idle
        return Draw(
            watts=round(last.watts, 3),
            measured=last.measured,
            source=last.source[:64],
            idle_w=round(idle.watts, 3) if idle.learnt and last.measured else None,
            busy_w=None if self._meter.busy_w is None or not last.measured else round(self._meter.busy_w, 3),
        )

    def begin_extremes(self) -> None:
        """Forget the extremes of before."""
        watts = 0.0 if self._last is None else self._last.watts
        self.extremes = (watts, watts)

    def nudge(self) -> None:
        """What runs has changed: an earlier moment may be due. To wake for each change would cost more than reading."""
        if self._due_s - self._next_s() > EARLIER_S:
            self._nudged.set()

    async def watch(self) -> None:
        """Read again and again; runs as long as the agent."""
        while True:
            self._began_s = self._clock.monotonic()
            self._failed = not await self._read()
            await self._pause()

    async def _read(self) -> bool:
        """Read once; tells whether there was something to read."""
        try:
            # Without a deadline: the reader has its own for each attempt, and knows what to try then.
            reading = _plausible(await self._reader.read())
        except Unreadable as error:
            if not self._fault:
                log.warning("power.unread", reader=self._reader.name, why=str(error))
            self._fault = str(error)
            return False
        if self._fault:
            log.info("power.read_again", reader=self._reader.name)
        self._fault = ""
        least_w, most_w = self.extremes if self.readings else (reading.watts, reading.watts)
        self.extremes = (min(least_w, reading.watts), max(most_w, reading.watts))
        self.readings += 1
        self._last = reading
        self._meter.read(reading)
        if not self._meter.in_flight or self._clock.monotonic() - self._published_s >= PUBLISH_S:
            await self._publish(reading)
        return True

    async def _pause(self) -> None:
        """Return when the next reading is due, whatever changes meanwhile."""
        while True:
            self._nudged.clear()
            self._due_s = self._next_s()
            left_s = self._due_s - self._clock.monotonic()
            if left_s <= 0:
                return
            try:
                async with asyncio.timeout(left_s):
                    await self._nudged.wait()
            except TimeoutError:
                return

    def _next_s(self) -> float:
        """Give when the next reading is due, as things are now."""
        last = self.last
        hz = self.cadence.busy_hz if last is None else min(self.cadence.busy_hz, last.most_hz)
        due_s = replace(self.cadence, busy_hz=hz).due_s(self._began_s, self._meter.moments)
        return max(due_s, self._began_s + FAILED_S) if self._failed else due_s

    async def _publish(self, reading: Reading) -> None:
        """Tell a reading; without a connection it is not told, since a late one would tell of the past."""
        if not self._bus.connected:
            return
        self._published_s = self._clock.monotonic()
        sample = PowerSample(
            device=self._device,
            boot=self._boot,
            seq=self._seq,
            at_unix_s=round(self._clock.unix_s() - (self._published_s - reading.at_s), 3),
            watts=round(reading.watts, 3),
            rail=reading.rail[:64],
            source=reading.source,
            measured=reading.measured,
            uncertainty=reading.uncertainty,
            rails={
                name[:64]: round(watts, 3) for name, watts in list(reading.rails.items())[:MOST_RAILS] if watts >= 0
            },
            idle_w=round(self._meter.idle.watts, 3),
            energy_j=round(self._meter.energy_j, 3),
            in_flight=self._meter.in_flight,
        )
        self._seq += 1
        try:
            await self._bus.publish(self._subject, codec.encode(codec.plain(sample)))
        except FleetError as error:
            log.debug("power.unsent", code=error.code, error=error.message)


def _plausible(reading: Reading) -> Reading:
    """Raise `Unreadable` for watts that can be none."""
    if not isfinite(reading.watts) or reading.watts < 0:
        raise Unreadable(f"{reading.source} says {reading.watts} W, which can't be")
    return reading
