"""Counts what the device is doing, and from that its power; it does not know who does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum

from agents.simulator.clock import DeviceClock
from agents.simulator.power import Activity, PowerState, advance, idle_state
from agents.simulator.profiles import DeviceProfile


class Phase(StrEnum):
    """What a request makes the device do; the values are the fields of Activity."""

    LOADING = "loading"
    PREFILLING = "prefilling"
    DECODING = "decoding"


class Meter:
    """The device's activity and its true energy since the start."""

    def __init__(self, device: DeviceProfile, clock: DeviceClock) -> None:
        self._device = device
        self._clock = clock
        self._state = idle_state(device, clock.now_s())
        self.activity = Activity()

    @contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """Count one more request in a phase for as long as the block lasts."""
        self._change(phase, 1)
        try:
            yield
        finally:
            self._change(phase, -1)

    def read(self) -> PowerState:
        """Give power, energy and temperature up to this moment."""
        self._state = advance(self._device, self._state, now_s=self._clock.now_s(), activity=self.activity)
        return self._state

    def _change(self, phase: Phase, step: int) -> None:
        self.read()  # what was drawn until now belongs to the activity until now
        self.activity = replace(self.activity, **{phase.value: getattr(self.activity, phase.value) + step})
        self.read()
