"""Readers made of readers: the sum of several, and one with watts added that it can't see; they know no sensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.power import PowerReader, Reading

OFFSET_UNCERTAINTY = 0.5
"""Of an offset: a constant for what is none, such as a fan."""


class Added:
    """The sum of readers of different parts of one device, such as its processor and its card."""

    def __init__(self, parts: Sequence[PowerReader]) -> None:
        self.name = "+".join(part.name for part in parts)
        self._parts = tuple(parts)

    async def read(self) -> Reading:
        """Read all of them. Raises `Unreadable` when one can't be read."""
        readings = [await part.read() for part in self._parts]
        watts = sum(reading.watts for reading in readings)
        rails = {
            name: value
            for reading in readings
            for name, value in (reading.rails or {reading.rail: reading.watts}).items()
        }
        return Reading(
            at_s=sum(reading.at_s for reading in readings) / len(readings),
            watts=watts,
            rail="+".join(reading.rail for reading in readings),
            source=self.name,
            measured=all(reading.measured for reading in readings),
            # What one lacks another may have, but each is wrong in its own part: the mean, weighted by watts.
            uncertainty=sum(reading.uncertainty * reading.watts for reading in readings) / watts
            if watts
            else max(reading.uncertainty for reading in readings),
            most_hz=min(reading.most_hz for reading in readings),
            rails=rails,
        )

    async def close(self) -> None:
        """Close all of them."""
        for part in self._parts:
            await part.close()


class Offset:
    """A reader whose sensor does not see all: the owner said how many watts are missing."""

    def __init__(self, reader: PowerReader, offset_w: float) -> None:
        self.name = reader.name
        self._reader = reader
        self._offset_w = offset_w

    async def read(self) -> Reading:
        """Read it, and add the offset. Raises `Unreadable`."""
        seen = await self._reader.read()
        watts = seen.watts + self._offset_w
        doubt_w = seen.uncertainty * seen.watts + OFFSET_UNCERTAINTY * self._offset_w
        return replace(
            seen,
            watts=watts,
            rail=f"{seen.rail}+offset",
            uncertainty=doubt_w / watts if watts else seen.uncertainty,
            rails={**(seen.rails or {seen.rail: seen.watts}), "offset": self._offset_w},
        )

    async def close(self) -> None:
        """Close it."""
        await self._reader.close()
