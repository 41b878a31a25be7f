"""The owner's rules as filters: what a tenant may use; who is barred by those, or by limits on heat and watts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

import numpy as np

from dispatcher.outcomes import Removed
from dispatcher.routing.ask import RoutingPolicy, TenantRules
from dispatcher.routing.power import shut_out
from dispatcher.routing.table import Mask, View


def may_use(view: View, rules: TenantRules) -> Mask:
    """Tell which rows a tenant may use. It depends on names alone, so it is worked out once for many decisions."""
    return view.layout.mask((rules.devices, rules.models), lambda: _named(view, rules))


def barred(view: View, policy: RoutingPolicy, tenant: str) -> dict[str, Removed]:
    """Say which devices the rules keep out, and why."""
    found: dict[str, Removed] = {}
    rules = policy.tenants.get(tenant)
    if rules is not None and rules.devices is not None:
        found |= {out.device: out for out in _not_allowed(view.blocks, rules, tenant)}
    return shut_out(view, policy) | found


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
