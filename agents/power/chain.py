"""Several power readers as one: the first that works serves, a worse one while it does not; it knows no sensor.

A better reader is looked for beside the reads: an attempt may take its whole deadline, and no sample waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agents.power import Absent, PowerReader, Reading, Unreadable
from agents.power.names import Name
from agents.power.patient import PATIENCE_S, Patient
from common import logs
from common.clock import loop_s

TRIES = 3
"""A sensor that is busy once is no sensor that is gone."""

LOOK_S = 60.0
MOST_LOOK_S = 900.0
"""A better reader that stays away is asked less and less often: an attempt may cost a process."""

RETRY_S = 2.0
"""Where nothing works there is no sample that an attempt could delay; a simulator may start after its agent."""

log = logs.get_logger("power")


class Chain:
    """Reads from the best reader that works. Each change of it is one line in the log."""

    def __init__(
        self,
        readers: Sequence[PowerReader],
        *,
        named: bool,
        tries: int = TRIES,
        look_s: float = LOOK_S,
        retry_s: float = RETRY_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Take `readers`, the best first. `named`: the owner wrote them down, so one that the device lacks is worth a word."""
        self.name = readers[0].name
        self._readers = tuple(Patient(reader, patience_s=patience_s) for reader in readers)
        self._named = named
        self._tries = tries
        self._first_look_s = look_s
        self._retry_s = retry_s
        self._serving: Patient | None = None
        self._second_best = asyncio.Event()
        self._faults: dict[str, Unreadable] = {}
        self._failures = 0
        self._look_s = look_s
        self._look_at_s = float("-inf")
        # Whoever wants a sample of this very moment may meet the one that is taken every second.
        self._lock = asyncio.Lock()

    async def read(self) -> Reading:
        """Read from the best that works. Raises `Unreadable` when none does, which cannot be where the estimate is one of them."""
        async with self._lock:
            if self._serving is None:
                return await self._settle()
            try:
                reading = await self._serving.read()
            except Unreadable as why:
                return await self._bear(self._serving, why)
            self._failures = 0
            return reading

    async def seek(self) -> None:
        """Look for a better reader now and then, while a worse one serves; runs as long as the agent."""
        while True:
            await self._second_best.wait()
            await asyncio.sleep(max(0.0, self._look_at_s - loop_s()))
            if self._second_best.is_set() and loop_s() >= self._look_at_s:
                await self._look()

    async def close(self) -> None:
        """Close all of them, at once: one that hangs holds up no other."""
        async with self._lock, asyncio.TaskGroup() as group:
            for reader in self._readers:
                group.create_task(reader.close())

    async def _settle(self) -> Reading:
        """Start with the best that works; where none did, look again only now and then."""
        if loop_s() < self._look_at_s:
            raise Unreadable(_told(self._faults))
        known = bool(self._faults)
        self._faults = {}
        reading = await self._descend(0)
        if reading is None:
            self._look_at_s = loop_s() + self._retry_s
            if not known:
                log.warning("power.none", why=_told(self._faults))
            raise Unreadable(_told(self._faults))
        told = {name: why for name, why in self._faults.items() if self._named or not isinstance(why, Absent)}
        if told:
            self._say_degraded(told, reading)
        else:
            log.info("power.reader", **_fields(reading))
        return reading

    async def _bear(self, failed: Patient, why: Unreadable) -> Reading:
        """Give the estimate for a sample that failed; after several, turn to the next reader."""
        self._failures += 1
        if self._failures < self._tries:
            last = self._readers[-1]
            if last is failed or last.name != Name.MODEL:
                raise why
            return await last.read()
        await failed.close()
        self._faults = {failed.name: why}
        self._put_off()
        reading = await self._descend(self._readers.index(failed) + 1)
        if reading is None:
            self._serving = None
            self._second_best.clear()
            self._look_at_s = loop_s() + self._retry_s
            log.warning("power.none", why=_told(self._faults))
            raise Unreadable(_told(self._faults))
        self._say_degraded({failed.name: why}, reading)
        return reading

    async def _descend(self, start: int) -> Reading | None:
        """Try the readers from `start` on; the first that works serves."""
        for reader in self._readers[start:]:
            try:
                reading = await self._try(reader)
            except Unreadable as why:
                self._faults[reader.name] = why
                continue
            self._serve(reader)
            return reading
        return None

    async def _look(self) -> None:
        """Try whether a better reader works again. Reads go on meanwhile, and may turn to another reader."""
        serving = self._serving
        if serving is None:
            return
        self._put_off()
        for reader in self._readers[: self._readers.index(serving)]:
            try:
                reading = await self._try(reader)
            except Unreadable:
                continue
            async with self._lock:
                before = self._serving
                if before is None or self._readers.index(before) > self._readers.index(reader):
                    self._serve(reader)
                    log.info("power.recovered", instead_of=(before or serving).name, **_fields(reading))
            if before is not None and before is not self._serving:
                await before.close()
            return

    async def _try(self, reader: Patient) -> Reading:
        try:
            return await reader.read()
        except Unreadable:
            await reader.close()
            raise

    def _serve(self, reader: Patient) -> None:
        self._serving, self.name, self._failures = reader, reader.name, 0
        if self._look_at_s == float("-inf"):
            self._put_off()
        if reader is self._readers[0]:
            self._second_best.clear()
        else:
            self._second_best.set()

    def _put_off(self) -> None:
        """Say when to look next; a reader that comes and goes is looked for as rarely as one that stays away."""
        now_s = loop_s()
        if now_s > self._look_at_s + MOST_LOOK_S:
            self._look_s = self._first_look_s
        self._look_at_s = now_s + self._look_s
        self._look_s = min(2 * self._look_s, MOST_LOOK_S)

    def _say_degraded(self, faults: dict[str, Unreadable], reading: Reading) -> None:
        log.warning("power.degraded", lost=",".join(faults), why=_told(faults), **_fields(reading))


def _told(faults: dict[str, Unreadable]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in faults.items())


def _fields(reading: Reading) -> dict[str, object]:
    return {
        "reader": reading.source,
        "rail": reading.rail,
        "watts": round(reading.watts, 2),
        "measured": reading.measured,
        "uncertainty": round(reading.uncertainty, 3),
    }
