"""What a device draws, with a job and without, as far as it is believed, and what else limits look at; no limits here."""

from __future__ import annotations

import math

from common.messages import MOST_W, Heartbeat
from common.throttling import Throttle, kind_of
from dispatcher.fleet import Device, Liveness

ACTIVE_W = 6.0
"""Prior for a device that does not say what it draws: Pis and Jetsons take 3 to 10 W above idle (profiles of the simulator)."""

LEAST_ACTIVE_W = 0.1

OVERDRAWN = 1.25
"""Boards draw 10 to 15 % more while they read a prompt than while they write, which is what they say (docs/energy.md): above this
multiple of it, and `OVERDRAWN_W`, what a device says is wrong."""

OVERDRAWN_W = 1.0

IDLE, BUSY, LEAST_IDLE, LEAST_BUSY, CELSIUS, THROTTLED, BATTERY, ON_BATTERY = range(8)
"""Rows of a view's `draws`. The first two are what a device draws without and with a job by its newest sample too; the next two by
what it says of itself alone, which it never comes below."""

DRAWS = 8

_HARD = frozenset({Throttle.UNDER_VOLTAGE, Throttle.THERMAL})


def draws_of(beat: Heartbeat) -> list[float]:
    """Give what a heartbeat says of power and heat. A remote device draws nothing here.

    A sample tells of what went on when it was taken: one of a device that worked says nothing of the same device at rest. But a
    busy one never draws less than it says of itself, whatever its sensor has seen: the job may have begun since.
    """
    idle, busy = (0.0, 0.0) if beat.remote else (idle_w(beat), idle_w(beat) + active_w(beat))
    sample = None if beat.remote else _believed(beat.watts)
    at_rest = sample if sample is not None and (not beat.in_flight or _believed(beat.idle_w) is None) else idle
    return [
        at_rest,
        max(busy, sample or 0.0),
        idle,
        busy,
        math.nan if beat.temperature_c is None else beat.temperature_c,
        float(hard_throttling(beat) is not None),
        math.nan if beat.battery_percent is None else beat.battery_percent,
        float(bool(beat.on_battery)),
    ]


def jobs_of(device: Device) -> float:
    """Give the jobs that keep a device busy; a dead one has lost those that its last heartbeat told of."""
    return 0.0 if device.liveness is Liveness.DEAD else float(device.in_flight)


def hard_throttling(beat: Heartbeat) -> str | None:
    """Say why a device holds its clocks down so that it loses much of its speed, or may fail; None for one that does not. Gentle
    limits don't count."""
    if not beat.throttling:
        return "throttled" if beat.throttled else None
    return next((text for text in beat.throttling if kind_of(text) in _HARD), None)


def overdrawn(beat: Heartbeat) -> bool:
    """Tell whether a sensor saw a device draw more than it says it does with a job."""
    if beat.remote or beat.busy_w is None or beat.watts is None or not beat.watts_measured:
        return False
    return beat.watts > max(OVERDRAWN * beat.busy_w, beat.busy_w + OVERDRAWN_W)


def active_w(beat: Heartbeat) -> float:
    """Give what a job draws above idle; nothing of ours when it runs elsewhere."""
    if beat.remote:
        return 0.0
    busy_w = _believed(beat.busy_w)
    return max(LEAST_ACTIVE_W, busy_w - idle_w(beat)) if busy_w else ACTIVE_W


def idle_w(beat: Heartbeat) -> float:
    """Give what a device draws without a job; nothing for one that does not say."""
    return _believed(beat.idle_w) or 0.0


def _believed(said: float | None) -> float | None:
    """Give what can be: watts of one count against the limits of all."""
    return said if said is not None and 0.0 <= said <= MOST_W else None
