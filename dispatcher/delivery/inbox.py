"""The frames of one job's attempts, as they arrive; it knows no clock, and drops what fenced attempts still send."""

from __future__ import annotations

import asyncio

from common import codec, frames
from common.bus import Delivery
from common.errors import DeviceLost, FleetError, GarbledReply

Arrival = frames.Frame | FleetError


class Inbox:
    """Holds what the live attempts sent, in order of arrival."""

    def __init__(self) -> None:
        self._heard: set[int] = set()
        self._waiting: list[tuple[int, Arrival]] = []
        self._arrived = asyncio.Event()
        self.late = 0
        """Frames of attempts that were given up."""

    def open(self, attempt: int) -> None:
        """Hear this attempt too."""
        self._heard.add(attempt)

    def fence(self, attempt: int) -> None:
        """Hear it no more; what it sent and nobody took is dropped."""
        self._heard.discard(attempt)
        self._waiting = [(number, arrival) for number, arrival in self._waiting if number != attempt]

    def put(self, attempt: int, delivery: Delivery) -> None:
        """Take what the bus delivers."""
        if attempt not in self._heard:
            self.late += 1
            return
        for arrival in _read(delivery):
            self._append(attempt, arrival)

    def fail(self, attempt: int, error: FleetError) -> None:
        """Let an attempt fail, for a reason that its device can't tell any more."""
        if attempt in self._heard:
            self._append(attempt, error)

    async def take(self, until_s: float) -> list[tuple[int, Arrival]]:
        """Give all that has arrived, at least one; raises `TimeoutError` at `until_s` (the loop's clock)."""
        if not self._waiting:
            self._arrived.clear()
            async with asyncio.timeout_at(until_s):
                await self._arrived.wait()
        batch, self._waiting = self._waiting, []
        return batch

    def _append(self, attempt: int, arrival: Arrival) -> None:
        self._waiting.append((attempt, arrival))
        self._arrived.set()


def _read(delivery: Delivery) -> list[Arrival]:
    """Read one message: a frame, or several that left the device together."""
    if delivery.no_responders:
        return [DeviceLost("nobody listens on the device's subject: its agent is gone", unheard=True)]
    if not delivery.data:
        return [GarbledReply("the stream ended without an end frame")]
    try:
        return [frames.from_wire(wire) for wire in codec.decode_all(delivery.data)]
    except GarbledReply as error:
        return [error]
    except FleetError as error:
        return [GarbledReply(f"a frame could not be read: {error.message}")]
