"""The frames of one job's attempts, as they arrive; it knows no clock. Of what fenced attempts still send it keeps the last word
alone, which may say what they took, and drops the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

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
        self._leaving: set[int] = set()
        self._left = asyncio.Event()
        self.last_words: dict[int, frames.Terminal] = {}
        """Of attempts that were fenced."""
        self.late = 0
        """Frames of attempts that were given up."""

    def open(self, attempt: int) -> None:
        """Hear this attempt too."""
        self._heard.add(attempt)

    def fence(self, attempt: int) -> None:
        """Hear it no more, but for its last word; what it sent and nobody took is dropped."""
        self._heard.discard(attempt)
        self._leaving.add(attempt)
        self._hear_out(attempt, [arrival for number, arrival in self._waiting if number == attempt])
        self._waiting = [(number, arrival) for number, arrival in self._waiting if number != attempt]

    async def hear_out(self, attempts: Iterable[int], within_s: float) -> None:
        """Return when these have said their last word, or the time is over."""
        leaving = set(attempts)
        try:
            async with asyncio.timeout(within_s):
                while leaving & self._leaving:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            pass  # what they took is then estimated

    def put(self, attempt: int, delivery: Delivery) -> None:
        """Take what the bus delivers."""
        if attempt not in self._heard:
            self.late += 1
            if attempt in self._leaving:
                self._hear_out(attempt, _read(delivery))
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

    def _hear_out(self, attempt: int, arrivals: Iterable[Arrival]) -> None:
        for arrival in arrivals:
            if isinstance(arrival, frames.End | frames.Err):
                self.last_words[attempt] = arrival
                self._leaving.discard(attempt)
                self._left.set()

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
