"""The frames of one job's attempts, as they arrive; it knows no clock, and drops what fenced attempts still send."""

from __future__ import annotations

import asyncio

from common import codec, frames
from common.bus import Delivery
from common.errors import DeviceLost, FleetError, GarbledReply

Arrival = frames.Frame | FleetError


class Inbox:
    """Holds what the current attempt sent; `fence` makes the next attempt current."""

    def __init__(self) -> None:
        self._attempt = 0
        self._waiting: list[Arrival] = []
        self._arrived = asyncio.Event()
        self.late = 0
        """Frames of attempts that were given up."""

    def open(self, attempt: int) -> None:
        """Hear this attempt, and no other."""
        self._attempt = attempt
        self._waiting.clear()
        self._arrived.clear()

    def fence(self) -> None:
        """Hear nobody."""
        self.open(0)

    def put(self, attempt: int, delivery: Delivery) -> None:
        """Take what the bus delivers."""
        if attempt != self._attempt:
            self.late += 1
            return
        self._append(_read(delivery))

    def fail(self, error: FleetError) -> None:
        """Let the current attempt fail, for a reason that its device can't tell any more."""
        if self._attempt:
            self._append(error)

    async def take(self, until_s: float) -> list[Arrival]:
        """Give all that has arrived, at least one; raises `TimeoutError` at `until_s` (the loop's clock)."""
        if not self._waiting:
            self._arrived.clear()
            async with asyncio.timeout_at(until_s):
                await self._arrived.wait()
        batch, self._waiting = self._waiting, []
        return batch

    def _append(self, arrival: Arrival) -> None:
        self._waiting.append(arrival)
        self._arrived.set()


def _read(delivery: Delivery) -> Arrival:
    if delivery.no_responders:
        return DeviceLost("nobody listens on the device's subject: its agent is gone")
    if not delivery.data:
        return GarbledReply("the stream ended without an end frame")
    try:
        return frames.from_wire(codec.decode(delivery.data))
    except GarbledReply as error:
        return error
    except FleetError as error:
        return GarbledReply(f"a frame could not be read: {error.message}")
