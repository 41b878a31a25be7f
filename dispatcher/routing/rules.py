"""The owner's rules as filters: what a tenant may use, how hot a device may be, how many watts may flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

import numpy as np

from dispatcher.outcomes import Removed
from dispatcher.routing.ask import Caps, RoutingPolicy, TenantRules
from dispatcher.routing.figures import CELSIUS, IDLE_W, IN_FLIGHT, REMOTE, WATTS, active_w, idle_w
from dispatcher.routing.table import Mask, View


def may_use(view: View, rules: TenantRules) -> Mask:
    """Tell which rows a tenant may use. It depends on names alone, so it is worked out once for many decisions."""
    return view.layout.mask((rules.devices, rules.models), lambda: _named(view, rules))


def within_caps(view: View, caps: Caps) -> Mask:
    """Tell which rows belong to devices that the caps let through; `barred` says why not."""
    state, figures = view.state, view.figures
    busy, active_w = state[IN_FLIGHT] > 0.0, np.nan_to_num(figures[WATTS])
    inside: Mask = np.ones(len(view.rows), dtype=np.bool_)
    if caps.celsius is not None:
        inside &= ~(figures[CELSIUS] >= caps.celsius)
    if caps.device_w is not None:
        inside &= figures[IDLE_W] + active_w <= caps.device_w
    if caps.fleet_w is not None:
        more_w = np.where(busy, 0.0, active_w)
        inside &= (_drawn_w(view) + more_w <= caps.fleet_w) | (figures[REMOTE] > 0.0)
    return inside


def barred(view: View, policy: RoutingPolicy, tenant: str) -> dict[str, Removed]:
    """Say which devices the rules keep out, and why."""
    found: dict[str, Removed] = {}
    rules = policy.tenants.get(tenant)
    if rules is not None and rules.devices is not None:
        found |= {out.device: out for out in _not_allowed(view.blocks, rules, tenant)}
    if policy.caps.any:
        found = {out.device: out for out in _capped(view, policy.caps)} | found
    return found


def allows_model(policy: RoutingPolicy, tenant: str, model: str) -> bool:
    """Tell whether a tenant may use a model, by its full name."""
    rules = policy.tenants.get(tenant)
    return rules is None or _matches(model, rules.models)


def _not_allowed(names: Iterable[str], rules: TenantRules, tenant: str) -> Iterator[Removed]:
    for name in names:
        if not _matches(name, rules.devices):
            yield Removed(name, "tenant", f"tenant {tenant} may not use it", for_now=False)


def _named(view: View, rules: TenantRules) -> Mask:
    layout, rows = view.layout, view.rows
    devices = np.array([_matches(name, rules.devices) for name in layout.devices], dtype=np.bool_)
    models = {name for name in layout.by_model if _matches(name, rules.models)}
    found: Mask = devices[layout.device_of] & np.array([row.name in models for row in rows], dtype=np.bool_)
    return found


def _matches(name: str, patterns: tuple[str, ...] | None) -> bool:
    return patterns is None or any(fnmatchcase(name, pattern) for pattern in patterns)


def _drawn_w(view: View) -> float:
    """Give what the fleet draws now: what all devices draw idle, and those with a job on top of it."""
    first = view.layout.first_of
    busy = view.state[IN_FLIGHT, first] > 0.0
    rows_w = view.figures[IDLE_W, first] + np.where(busy, np.nan_to_num(view.figures[WATTS, first]), 0.0)
    bare_w = sum(idle_w(view.blocks[name].device) for name in view.layout.bare)
    return float(np.nan_to_num(rows_w).sum()) + bare_w


def _capped(view: View, caps: Caps) -> Iterator[Removed]:
    """1. Too hot. 2. Draws more than one device may. 3. One more busy device would be more than the fleet may draw; but a job that
    runs elsewhere draws nothing here."""
    drawn_w = _drawn_w(view)
    for device in (block.device for block in view.blocks.values()):
        celsius = device.beat.temperature_c
        busy_w = idle_w(device) + active_w(device)
        more_w = 0.0 if device.in_flight else active_w(device)
        if caps.celsius is not None and celsius is not None and celsius >= caps.celsius:  # 1
            yield Removed(
                device.name, "heat", f"it has {celsius:.0f} °C, and the cap is {caps.celsius:g}", for_now=True
            )
        elif caps.device_w is not None and busy_w > caps.device_w:  # 2
            words = f"it draws {busy_w:.1f} W with a job, and the cap is {caps.device_w:g}"
            yield Removed(device.name, "power", words, for_now=False)
        elif caps.fleet_w is not None and drawn_w + more_w > caps.fleet_w and not device.beat.remote:  # 3
            words = f"the fleet would draw {drawn_w + more_w:.1f} W, and the cap is {caps.fleet_w:g}"
            yield Removed(device.name, "power", words, for_now=True)
