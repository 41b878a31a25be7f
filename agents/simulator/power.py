"""The true power, energy and temperature of the simulated board: pure values; it knows neither clock nor requests.

Watts are those of the profile for the heaviest thing going on: prefill over decode over loading over idle. The energy is
the integral of that step function. The temperature follows a first-order model: it moves towards ambient + watts x
(degrees per watt) with the profile's time constant. The board does not throttle: no public figure says by how much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from agents.simulator.profiles import DeviceProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """How many requests are in each phase just now."""

    loading: int = 0
    prefilling: int = 0
    decoding: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerState:
    """What has been used until `at_s` (device seconds), and what is drawn since."""

    at_s: float
    watts: float
    energy_j: float
    temperature_c: float


def watts(device: DeviceProfile, activity: Activity) -> float:
    """Give the power for an activity: 1. prefill, 2. decode, 3. loading, 4. idle."""
    if activity.prefilling:
        return device.prefill_w.value
    if activity.decoding:
        return device.decode_w.value
    if activity.loading:
        return device.load_w.value
    return device.idle_w.value


def idle_state(device: DeviceProfile, at_s: float) -> PowerState:
    """Give the state of a board that has idled long enough to have settled."""
    draw = device.idle_w.value
    return PowerState(at_s=at_s, watts=draw, energy_j=0.0, temperature_c=settled_c(device, draw))


def settled_c(device: DeviceProfile, draw_w: float) -> float:
    """Give the temperature that a constant draw ends at."""
    return device.ambient_c.value + draw_w * device.thermal_c_per_w.value


def advance(device: DeviceProfile, state: PowerState, *, now_s: float, activity: Activity) -> PowerState:
    """Integrate up to `now_s` with the draw so far; from then on the draw is that of `activity`."""
    elapsed_s = max(now_s - state.at_s, 0.0)
    target = settled_c(device, state.watts)
    decay = math.exp(-elapsed_s / device.thermal_tau_s.value)
    return replace(
        state,
        at_s=max(now_s, state.at_s),
        watts=watts(device, activity),
        energy_j=state.energy_j + state.watts * elapsed_s,
        temperature_c=target + (state.temperature_c - target) * decay,
    )
