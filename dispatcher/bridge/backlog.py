"""Durable jobs that no dispatcher has taken yet, looked up once for all who want to know; it knows no route."""

from __future__ import annotations

import asyncio

from common.bus import Bus
from common.bus.jetstream import JetStream
from common.clock import Clock
from common.durable_backlog import Backlog, BacklogReader
from common.errors import BusDisconnected, FleetError
from common.logs import get_logger
from common.subjects import Subjects

log = get_logger("bridge")

ASK_S, REMEMBER_S = 1.0, 1.0
UNKNOWN_S = 10.0
"""So long it is not asked again where the server keeps no streams, nobody has made a queue, or the bridge may not ask: somebody has
to change that first."""


class Untaken:
    """What is known of the queue."""

    def __init__(self, bus: Bus, subjects: Subjects, clock: Clock) -> None:
        self._reader = BacklogReader(JetStream(bus), subjects)
        self._clock = clock
        self._looking = asyncio.Lock()
        self._told: Backlog | None = None
        self._good_until_s = 0.0

    async def told(self) -> Backlog | None:
        """Give what waits; None where nobody knows."""
        async with self._looking:
            if self._clock.monotonic() >= self._good_until_s:
                self._told, good_s = await self._look()
                self._good_until_s = self._clock.monotonic() + good_s
            return self._told

    async def _look(self) -> tuple[Backlog | None, float]:
        try:
            async with asyncio.timeout(ASK_S):
                return await self._reader.look(), REMEMBER_S
        except (BusDisconnected, TimeoutError):
            return None, REMEMBER_S
        except FleetError as error:
            log.debug("backlog.unknown", error=error.code, message=error.message)
            return None, UNKNOWN_S
