"""The owner's rules as filters: what a tenant may use, how hot a device may be, how many watts may flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from dispatcher.fleet import Device
from dispatcher.outcomes import Removed
from dispatcher.routing.ask import Caps, RoutingPolicy, TenantRules
from dispatcher.routing.table import Block, active_w


def barred(blocks: Mapping[str, Block], policy: RoutingPolicy, tenant: str) -> dict[str, Removed]:
    """Say which devices the rules keep out, and why."""
    found: dict[str, Removed] = {}
    rules = policy.tenants.get(tenant)
    if rules is not None and rules.devices:
        found |= {out.device: out for out in _not_allowed(blocks, rules, tenant)}
    if policy.caps != Caps():
        devices = [block.device for block in blocks.values()]
        found = {out.device: out for out in _capped(devices, policy.caps)} | found
    return found


def allows_model(policy: RoutingPolicy, tenant: str, model: str) -> bool:
    """Tell whether a tenant may use a model, by its full name."""
    rules = policy.tenants.get(tenant)
    return rules is None or not rules.models or any(fnmatchcase(model, pattern) for pattern in rules.models)


def _not_allowed(names: Iterable[str], rules: TenantRules, tenant: str) -> Iterator[Removed]:
    for name in names:
        if not any(fnmatchcase(name, pattern) for pattern in rules.devices):
            yield Removed(name, "tenant", f"tenant {tenant} may not use it", for_now=False)


def _capped(devices: list[Device], caps: Caps) -> Iterator[Removed]:
    """1. Too hot. 2. Draws more than one device may. 3. One more busy device would be more than the fleet may draw."""
    drawn_w = sum((device.beat.idle_w or 0.0) + (active_w(device) if device.in_flight else 0.0) for device in devices)
    for device in devices:
        celsius = device.beat.temperature_c
        busy_w = (device.beat.idle_w or 0.0) + active_w(device)
        more_w = 0.0 if device.in_flight else active_w(device)
        if caps.celsius is not None and celsius is not None and celsius >= caps.celsius:  # 1
            yield Removed(
                device.name, "heat", f"it has {celsius:.0f} °C, and the cap is {caps.celsius:g}", for_now=True
            )
        elif caps.device_w is not None and busy_w > caps.device_w:  # 2
            words = f"it draws {busy_w:.1f} W with a job, and the cap is {caps.device_w:g}"
            yield Removed(device.name, "power", words, for_now=False)
        elif caps.fleet_w is not None and drawn_w + more_w > caps.fleet_w:  # 3
            words = f"the fleet would draw {drawn_w + more_w:.1f} W, and the cap is {caps.fleet_w:g}"
            yield Removed(device.name, "power", words, for_now=True)
