"""Each minute's sum of what the device drew, on its way to the ledger; it reads no sensor, and keeps nothing across a restart.

A stream stores them, each once: its number within the agent's life is its identity there. Without a stream they wait, as many as
there is room for: a server that starts again has none for a while, and looks like a fleet without a ledger.
The last ones are sent without waiting for its word: an agent that goes does not linger for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from agents.energy.meter import Meter
from agents.energy.sampler import Sampler
from agents.telemetry import Readings
from common import codec
from common.bus import Bus
from common.bus.streams import Streams
from common.clock import Clock
from common.energy import PowerSummary
from common.errors import FleetError
from common.logs import get_logger

log = get_logger("power")

EVERY_S = 60.0

MOST_WAITING = 240
"""Summaries that wait for a stream that can't be reached now: those of four hours. The oldest go first."""

MOSTLY_GUESSED = 1.5
"""An interval of so many usual ones had a minute without a reading: what it drew is a guess for the most part."""


class Summaries:
    """Those of one agent. `subject` is where they go, `felt` gives the device's heat and memory."""

    def __init__(
        self,
        meter: Meter,
        sampler: Sampler,
        bus: Bus,
        streams: Streams,
        subject: str,
        *,
        device: str,
        boot: str,
        clock: Clock,
        felt: Callable[[], Readings],
        every_s: float = EVERY_S,
    ) -> None:
        self._felt = felt
        self._meter = meter
        self._sampler = sampler
        self._bus = bus
        self._streams = streams
        self._subject = subject
        self._device = device
        self._boot = boot
        self._clock = clock
        self._every_s = every_s
        self._waiting: deque[PowerSummary] = deque()
        self._lost = 0
        self._seq = 0
        self._mark()

    async def watch(self) -> None:
        """Sum up each minute; runs as long as the agent. A minute without a reading is summed up with the next one."""
        while True:
            await asyncio.sleep(self._every_s)
            if self._sampler.readings > self._from_readings:
                self._sum_up()
            await self._send()

    async def close(self) -> None:
        """Sum up what is left, and send all that waits; flushing the bus is the caller's."""
        self._sum_up()
        for one in self._waiting:
            try:
                await self._bus.publish(self._subject, _payload(one), headers={"Nats-Msg-Id": _identity(one)})
            except FleetError as error:
                log.info("power.summaries_lost", summaries=self._lost + len(self._waiting), code=error.code)
                break
        self._waiting.clear()

    def _mark(self) -> None:
        """Begin a new interval."""
        self._from_unix_s = self._clock.unix_s()
        self._from_s = self._clock.monotonic()
        self._from_j, self._from_jobs_j = self._meter.energy_j, self._meter.jobs_j
        self._from_jobs, self._from_readings = self._meter.jobs, self._sampler.readings
        self._from_jobs_s = self._meter.jobs_s
        self._sampler.begin_extremes()

    def _sum_up(self) -> None:
        """Add the summary of what has passed since the last one; a device of which nothing was ever read has none."""
        meter, newest, felt = self._meter, self._sampler.newest, self._felt()
        meter.settle()
        seconds = self._clock.monotonic() - self._from_s
        if newest is not None and seconds > 0:
            energy_j = max(0.0, meter.energy_j - self._from_j)
            least_w, most_w = self._sampler.extremes
            guessed = seconds > MOSTLY_GUESSED * self._every_s
            self._keep(
                PowerSummary(
                    device=self._device,
                    boot=self._boot,
                    seq=self._seq,
                    from_unix_s=round(self._from_unix_s, 3),
                    to_unix_s=round(self._from_unix_s + seconds, 3),
                    samples=self._sampler.readings - self._from_readings,
                    mean_w=round(energy_j / seconds, 3),
                    least_w=round(least_w, 3),
                    most_w=round(most_w, 3),
                    energy_j=round(energy_j, 3),
                    jobs_j=round(meter.jobs_j - self._from_jobs_j, 3),
                    jobs=meter.jobs - self._from_jobs,
                    idle_w=round(meter.idle.watts, 3),
                    source=newest.source,
                    measured=newest.measured and not guessed,
                    uncertainty=1.0 if guessed else newest.uncertainty,
                    in_flight=round((meter.jobs_s - self._from_jobs_s) / seconds, 3),
                    temperature_c=felt.temperature_c,
                    memory_used_bytes=_used(felt),
                    memory_total_bytes=felt.memory_total_bytes,
                )
            )
            self._seq += 1
        self._mark()

    def _keep(self, one: PowerSummary) -> None:
        """Let it wait for the stream, in the place of the oldest where there is no room."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._lost += 1
            if self._lost == 1:
                log.warning("power.summaries_full", waiting=MOST_WAITING)
        self._waiting.append(one)

    async def _send(self) -> None:
        """Have the stream store what waits, in order. What can't be sent now is sent with the next one."""
        while self._waiting:
            one = self._waiting[0]
            try:
                await self._streams.publish(self._subject, _payload(one), msg_id=_identity(one))
            except FleetError as error:
                log.debug("power.summaries_wait", summaries=len(self._waiting), code=error.code, error=error.message)
                return
            if self._lost:
                log.warning("power.summaries_lost", summaries=self._lost)
            self._lost = 0
            # It may be cleared meanwhile, by an agent that goes.
            if self._waiting and self._waiting[0] is one:
                self._waiting.popleft()


def _used(felt: Readings) -> int | None:
    if felt.memory_total_bytes is None or felt.memory_available_bytes is None:
        return None
    return max(0, felt.memory_total_bytes - felt.memory_available_bytes)


def _payload(one: PowerSummary) -> bytes:
    return codec.encode(codec.plain(one))


def _identity(one: PowerSummary) -> str:
    """Name it in the stream, so that one that is sent twice is stored once."""
    return f"{one.device}:{one.boot}:{one.seq}"
