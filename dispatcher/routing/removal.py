"""Who is out of a decision and why, in words: worked out when somebody asks, from the same filters that the decision used."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from common.messages import AUTO
from dispatcher.fleet import Device
from dispatcher.outcomes import Removed
from dispatcher.routing.ask import Ask, RoutingPolicy
from dispatcher.routing.cloud import not_paid_for, too_dear
from dispatcher.routing.figures import Row
from dispatcher.routing.filters import abilities, device_filter, kind_needed, model_filter, without_model
from dispatcher.routing.rules import barred, closed, forbidden, lists, own_list
from dispatcher.routing.table import View


def removed(
    view: View, ask: Ask, policy: RoutingPolicy, excluded: Mapping[str, str], kept: Collection[int]
) -> tuple[Removed, ...]:
    """Say of each device, or of each of its models, why it is out. `excluded` are those tried already, `kept` the rows that are
    in."""
    by_rule, own = _by_rule(view, ask, policy), own_list(ask)
    out_of_it: list[Removed] = []
    for block in view.blocks.values():
        device = block.device
        out = None if own is None else closed(device, own)
        out = out or device_filter(device, pinned=ask.device, excluded=excluded) or by_rule.get(device.name)
        if out is None or out.for_now:
            # Waiting for a device is vain when it has nothing to answer with. One that lists no models may not know them yet.
            out = without_model(device, ask.model, sure=out is None) or out
        if out is not None:
            out_of_it.append(out)
            continue
        for number in range(block.start, block.stop):
            row = view.rows[number]
            if number not in kept and ask.model in {AUTO, row.name}:
                out_of_it.append(_unfit(device, row, ask, policy))
    return tuple(out_of_it)


def wants_memory(view: View, ask: Ask, policy: RoutingPolicy, excluded: Mapping[str, str]) -> bool:
    """Tell whether a model is out only for as long as others are in its device's memory."""
    by_rule: Mapping[str, Removed] | None = None
    allowed = lists(policy, ask)
    for row in view.rows:
        if not row.short or ask.model not in {AUTO, row.name} or forbidden(allowed, row.device, row.name):
            continue
        if not abilities(view.blocks[row.device].device, row.model) & kind_needed(ask.wanted):
            continue
        if device_filter(view.blocks[row.device].device, pinned=ask.device, excluded=excluded) is None:
            by_rule = _by_rule(view, ask, policy) if by_rule is None else by_rule
            if row.device not in by_rule:
                return True
    return False


def _by_rule(view: View, ask: Ask, policy: RoutingPolicy) -> Mapping[str, Removed]:
    """Say which devices the owner's rules keep out; what is not paid for comes first."""
    out = barred(view, policy, ask.tenant)
    return out | {one.device: one for one in not_paid_for(view, policy, ask)} if view.remote else out


def _unfit(device: Device, row: Row, ask: Ask, policy: RoutingPolicy) -> Removed:
    """Say why a model is out. What a device says of itself may be nonsense, and must harm nobody but itself."""
    if (not_allowed := forbidden(lists(policy, ask), device.name, row.name)) is not None:
        return replace(not_allowed, model=row.model.name)
    if (dear := too_dear(device, row.model, ask)) is not None:
        return dear
    try:
        out = model_filter(device, row.model, ask.wanted)
    except (ArithmeticError, ValueError):
        out = None
    return out or Removed(device.name, "garbled", "its figures make no sense", for_now=False, model=row.model.name)
