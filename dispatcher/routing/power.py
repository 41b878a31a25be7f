"""The owner's limits on heat and watts as filters: whom they let in now, who is out and why, and how near each limit is.

What a device draws is known from its last heartbeat, and from the jobs that it has: those that were given to it since count at
once, so that no burst of decisions exceeds a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from dispatcher.outcomes import Removed
from dispatcher.routing.ask import Caps, RoutingPolicy
from dispatcher.routing.draw import (
    BATTERY,
    BUSY,
    CELSIUS,
    IDLE,
    LEAST_BUSY,
    LEAST_IDLE,
    ON_BATTERY,
    THROTTLED,
    draws_of,
    hard_throttling,
    jobs_of,
)
from dispatcher.routing.figures import IN_FLIGHT, REMOTE, Numbers, Rows
from dispatcher.routing.limits import Limit, Scope
from dispatcher.routing.table import Mask, View

_ALL = Limit(name="all", watts=0.0)

_ROUNDING_W = 1e-6
"""A sum of watts that is a limit but for the last bit does not exceed it."""

MOST_DEVICES = 100
"""A record of a thousand devices would not fit a message."""


def let_in(view: View, policy: RoutingPolicy) -> Mask:
    """Tell which rows are of devices that may take one more job; `shut_out` says of each other one why not."""
    return _open(view, policy)[view.layout.device_of]


def shut(view: View, policy: RoutingPolicy) -> frozenset[str]:
    """Name the devices that may not take one more job now, for their heat or for watts, whatever the job."""
    if not policy.shuts or not view.layout.devices:
        return frozenset()
    return view.layout.named(~_open(view, policy))


def held(view: View, policy: RoutingPolicy, rows: Rows) -> frozenset[str]:
    """Name the devices of these rows that may not take one more job now."""
    if not policy.shuts or not view.layout.devices:
        return frozenset()
    concerned = np.zeros(len(view.layout.devices), dtype=np.bool_)
    concerned[view.layout.device_of[rows]] = True
    return view.layout.named(concerned & ~_open(view, policy))


def shut_out(view: View, policy: RoutingPolicy) -> dict[str, Removed]:
    """Say which devices are out, and why: what will never be otherwise goes before what passes, and heat before watts."""
    if not policy.shuts or not view.layout.devices:
        return {}
    reasons = [*_heated(view, policy.caps), *_over(view, policy)]
    found: dict[str, Removed] = {}
    for out in sorted(reasons, key=lambda one: one.for_now):
        found.setdefault(out.device, out)
    return found


def told(view: View, policy: RoutingPolicy) -> dict[str, Any]:
    """Tell what is drawn, what each device would draw with a job, how near the limits are, which others there are, and what energy
    costs now. Empty where the owner neither limits nor prices it."""
    rate, later = policy.rate, [limit for limit in policy.calendar.limits if limit not in policy.limits]
    if not (policy.watts or later or str(rate)):
        return {}
    power = _Power(view)
    priced = {"per_kwh": rate.per_kwh, "currency": rate.currency, "g_co2e_per_kwh": rate.g_co2e_per_kwh}
    return {
        "drawn_w": round(power.drawn_w(_ALL), 1),
        "tariff": priced if str(rate) else None,
        "limits": [
            *(_limit_told(limit, power, holds=bool(power.concerned(limit).any())) for limit in policy.watts),
            *(_limit_told(limit, power, holds=False) for limit in later),
        ],
        "devices": [
            {
                "device": name,
                "site": view.layout.sites[number],
                "now_w": round(float(power.now_w[number]), 1),
                "with_job_w": round(float(power.with_job_w[number]), 1),
            }
            for number, name in enumerate(view.layout.devices[:MOST_DEVICES])
            if not power.remote[number]
        ],
    }


# -- inside --------------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Excess:
    """Which devices a limit keeps out, and what would be drawn with a job there."""

    out: Mask
    would_w: Numbers


class _Power:
    """What each device of a view draws now, and would draw with one more job."""

    def __init__(self, view: View) -> None:
        first = view.layout.first_of
        self.view = view
        self.draws = view.draws
        self.remote: Mask = view.figures[REMOTE, first] > 0.0
        self.with_job_w: Numbers = view.draws[BUSY]
        self.now_w: Numbers = np.where(view.state[IN_FLIGHT, first] > 0.0, view.draws[BUSY], view.draws[IDLE])

    def excess(self, limit: Limit) -> _Excess:
        """Tell whom a limit keeps out now. A device that is busy already draws no more with one more job; but 0 watts are for no
        job at all."""
        others_w = 0.0 if limit.scope is Scope.DEVICE else self.drawn_w(limit) - self.now_w
        would_w = others_w + self.with_job_w
        over = would_w > limit.watts + _ROUNDING_W if limit.watts else np.ones(len(would_w), dtype=np.bool_)
        return _Excess(self.concerned(limit) & over, would_w)

    def vain(self, limit: Limit) -> _Excess:
        """Tell whom a limit keeps out for good: one that always holds, and that is exceeded with nobody else at work."""
        least = self.draws[LEAST_BUSY]
        if limit.scope is not Scope.DEVICE:
            idle = self.draws[LEAST_IDLE]
            least = float(idle[self.members(limit)].sum()) + (least - idle)
        if limit.passing:
            return _Excess(np.zeros(len(least), dtype=np.bool_), least)
        return _Excess(self.concerned(limit) & (least > limit.watts + _ROUNDING_W), least)

    def concerned(self, limit: Limit) -> Mask:
        """Tell which devices a limit is for, while its batteries are as it says; none that runs elsewhere."""
        members = self.members(limit) & ~self.remote
        if not limit.asks_battery:
            return members
        found = np.ones(len(members), dtype=np.bool_)
        if limit.on_battery:
            found &= self._reported(limit, members, self.draws[ON_BATTERY] > 0.0)
        if limit.battery_below_percent is not None:
            found &= self._reported(limit, members, self.draws[BATTERY] < limit.battery_below_percent)
        concerned: Mask = members & found
        return concerned

    def _reported(self, limit: Limit, members: Mask, fact: Mask) -> Mask | np.bool_:
        """Tell of whom a fact holds: of a device that reports it, of all of a place where one does."""
        return fact if limit.scope is Scope.DEVICE else (fact & members).any()

    def members(self, limit: Limit) -> Mask:
        """Tell which devices a limit is on."""
        layout = self.view.layout
        match limit.scope:
            case Scope.FLEET:
                return layout.mask(Scope.FLEET, lambda: np.ones(len(layout.devices), dtype=np.bool_))
            case Scope.SITE:
                return layout.mask(
                    (Scope.SITE, limit.of),
                    lambda: np.array([site == limit.of for site in layout.sites], dtype=np.bool_),
                )
            case Scope.DEVICE:
                return layout.mask(
                    (Scope.DEVICE, limit.of),
                    lambda: np.array([fnmatchcase(name, limit.of) for name in layout.devices], dtype=np.bool_),
                )

    def drawn_w(self, limit: Limit) -> float:
        """Give what a limit's devices draw now, together; those without a model too."""
        drawn = float(self.now_w[self.members(limit)].sum())
        for name in self.view.layout.bare:
            device = self.view.blocks[name].device
            if limit.scope is Scope.FLEET or device.beat.site == limit.of:
                drawn += draws_of(device.beat)[BUSY if jobs_of(device) else IDLE]
        return drawn


def _open(view: View, policy: RoutingPolicy) -> Mask:
    """Tell which devices may take one more job. All who ask at the same state of the fleet share the answer."""
    return view.open_by((policy.caps, policy.limits), lambda: _found_open(view, policy))


def _found_open(view: View, policy: RoutingPolicy) -> Mask:
    caps, limits = policy.caps, policy.watts
    found: Mask = np.ones(len(view.layout.devices), dtype=np.bool_)
    if caps.celsius is not None:
        found &= ~(view.draws[CELSIUS] >= caps.celsius)
    if caps.drain_throttled:
        found &= view.draws[THROTTLED] == 0.0
    if limits:
        power = _Power(view)
        for limit in limits:
            found &= ~power.excess(limit).out
    return found


def _heated(view: View, caps: Caps) -> Iterator[Removed]:
    """1. Too hot. 2. Throttled hard."""
    for name in view.layout.devices:
        beat = view.blocks[name].device.beat
        celsius, throttling = beat.temperature_c, hard_throttling(beat)
        if caps.celsius is not None and celsius is not None and celsius >= caps.celsius:  # 1
            yield Removed(name, "heat", f"it has {celsius:.0f} °C, and the cap is {caps.celsius:g}", for_now=True)
        elif caps.drain_throttled and throttling is not None:  # 2
            yield Removed(name, "throttled", f"it is drained while it is slowed down: {throttling[:80]}", for_now=True)


def _over(view: View, policy: RoutingPolicy) -> Iterator[Removed]:
    """Say whom each limit keeps out, those it lets in under no circumstances first."""
    power, names = _Power(view), view.layout.devices
    for limit in policy.watts:
        vain, excess = power.vain(limit), power.excess(limit)
        for number in (vain.out | excess.out).nonzero()[0].tolist():
            for_now = not vain.out[number]
            would_w = float((excess if for_now else vain).would_w[number])
            yield Removed(names[number], "power", _words(limit, would_w, for_now=for_now), for_now=for_now)


def _words(limit: Limit, would_w: float, *, for_now: bool) -> str:
    """Say what a limit is exceeded by."""
    when = f" ({limit.conditions})" if limit.conditions else ""
    if not limit.watts:
        return f"limit {limit.name}{when} allows no job on {limit.place}"
    who = "it" if limit.scope is Scope.DEVICE else limit.place
    least = "" if for_now else " at least"
    return f"limit {limit.name}{when}: {who} would draw{least} {would_w:.1f} W with the job, and {limit.watts:g} W are allowed"


def _limit_told(limit: Limit, power: _Power, *, holds: bool) -> dict[str, Any]:
    return {
        "name": limit.name,
        "on": limit.place,
        "watts": limit.watts,
        "drawn_w": round(power.drawn_w(limit), 1) if limit.scope is not Scope.DEVICE else None,
        "when": limit.conditions,
        "holds": holds,
    }
