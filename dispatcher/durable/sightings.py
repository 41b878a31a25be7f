"""What was seen of the fleet over time: since when each device is as it is, and which models it had last; it decides nothing.

The roster says how the fleet is now, and forgets who is gone for an hour; a job in a queue may lie there for longer.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dispatcher.fleet import Device, Fleet

MOST = 10_000
"""Devices that are remembered; those that were new first are forgotten first."""


@dataclass(slots=True)
class _Sighting:
    state: tuple[object, ...]
    since_s: float
    models: Collection[str]


class Sightings:
    """All that was seen, whenever somebody looked. Times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, _Sighting] = {}

    def look(self, fleet: Fleet, now_s: float) -> None:
        """Note how each device is."""
        for device in fleet.devices.values():
            seen, state = self._seen.get(device.name), _state(device)
            if seen is None:
                self._seen[device.name] = _Sighting(state, now_s, device.models.keys())
            elif seen.state != state:
                seen.state, seen.since_s = state, now_s
                # One that starts anew tells no models before its engine answers.
                seen.models = device.models.keys() or seen.models
        while len(self._seen) > MOST:
            del self._seen[next(iter(self._seen))]

    def since_s(self, device: str | None) -> float:
        """Give the time of the last change that was seen, of one device or of any."""
        return max((seen.since_s for name, seen in self._seen.items() if device in {None, name}), default=0.0)

    def had(self, model: str, device: str | None) -> bool:
        """True when a device, or the one that is named, had the model when it told its models last, also if it is gone since."""
        return any(model in seen.models for name, seen in self._seen.items() if device in {None, name})

    def knows(self, device: str) -> bool:
        """True when a device of this name was ever seen."""
        return device in self._seen


def _state(device: Device) -> tuple[object, ...]:
    return device.beat.boot, device.liveness, device.beat.state, frozenset(device.models)
