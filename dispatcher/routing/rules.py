"""The owner's rules as filters: what a tenant may use, and a request; who is barred by those, or by limits on heat and watts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.patterns import Patterns, matches
from dispatcher.fleet import Device
from dispatcher.outcomes import Removed
from dispatcher.routing.ask import Ask, RoutingPolicy
from dispatcher.routing.power import shut_out
from dispatcher.routing.table import Mask, View

ALLOW_LIST = "allow_list"
"""The filter of what a request brings along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowList:
    """Models and devices of which one pattern must fit; `filter` and `why` are what those are told that are out."""

    filter: str
    why: str
    models: Patterns
    devices: Patterns

    def allows(self, device: str, model: str) -> bool:
        """Tell whether a model on a device may be used."""
        return matches(device, self.devices) and matches(model, self.models)


def tenant_list(policy: RoutingPolicy, tenant: str) -> AllowList | None:
    """Give what a tenant may use; None for all."""
    rules = policy.tenants.get(tenant)
    if rules is None or (rules.devices, rules.models) == (None, None):
        return None
    why = f"tenant {tenant} may not use it"
    return AllowList(filter="tenant", why=why, models=rules.models, devices=rules.devices)


def request_list(models: tuple[str, ...], devices: tuple[str, ...]) -> AllowList | None:
    """Give what a request may use by its own lists, of which an empty one allows all; None for all."""
    if not models and not devices:
        return None
    return AllowList(filter=ALLOW_LIST, why="the key does not allow it", models=models or None, devices=devices or None)


def own_list(ask: Ask) -> AllowList | None:
    """Give what a request may use by its own lists; None for all."""
    return request_list(ask.allow_models, ask.allow_devices)


def lists(policy: RoutingPolicy, ask: Ask) -> tuple[AllowList, ...]:
    """Give all lists that a request is under: each must allow what is used."""
    return tuple(one for one in (own_list(ask), tenant_list(policy, ask.tenant)) if one is not None)


def may_use(view: View, allowed: AllowList) -> Mask:
    """Tell which rows a list allows. It depends on names alone, so it is worked out once for many decisions."""
    return view.layout.mask((allowed.devices, allowed.models), lambda: _named(view, allowed))


def barred(view: View, policy: RoutingPolicy, tenant: str) -> dict[str, Removed]:
    """Say which devices the owner's rules keep out, and why."""
    found: dict[str, Removed] = {}
    rules = tenant_list(policy, tenant)
    if rules is not None and rules.devices is not None:
        found = {
            name: Removed(name, rules.filter, rules.why, for_now=False)
            for name in view.blocks
            if not matches(name, rules.devices)
        }
    return shut_out(view, policy) | found


def closed(device: Device, allowed: AllowList) -> Removed | None:
    """Say that a list keeps a device out, with all that it has: what it is otherwise, and may be later, does not matter then."""
    name = device.name
    if not matches(name, allowed.devices):
        return Removed(name, allowed.filter, allowed.why, for_now=False)
    if device.models and not any(matches(model, allowed.models) for model in device.models):
        return Removed(name, allowed.filter, f"{allowed.why}: it has none of its models", for_now=False)
    return None


def forbidden(allowed: tuple[AllowList, ...], device: str, model: str) -> Removed | None:
    """Say that a list keeps one model on a device out, by its full name."""
    for one in allowed:
        if not one.allows(device, model):
            return Removed(device, one.filter, one.why, for_now=False, model=model)
    return None


def _named(view: View, allowed: AllowList) -> Mask:
    layout, rows = view.layout, view.rows
    devices = np.array([matches(name, allowed.devices) for name in layout.devices], dtype=np.bool_)
    models = {name for name in layout.by_model if matches(name, allowed.models)}
    found: Mask = devices[layout.device_of] & np.array([row.name in models for row in rows], dtype=np.bool_)
    return found
