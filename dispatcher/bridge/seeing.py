"""What of a decision is told to a caller whose key allows a part of the fleet: names and figures of the rest are left out. Pure.

What is not known to be harmless is left out too: a decision gets new fields now and then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dispatcher.fleet import Fleet, canonical

Told = Mapping[str, Any]

_HARMLESS = ("job", "tenant", "strategy", "rule", "weights", "formula", "remembered", "strategies", "changes", "error")
"""Where a chat would go was decided among what its key allows, so that these name nothing else."""


def within(told: Told, part: Fleet) -> dict[str, Any]:
    """Give what a decision says of `part`."""
    options = [one for one in told.get("options", ()) if _in(part, one)]
    removed = [one for one in told.get("removed", ()) if _in(part, one)]
    chosen = told.get("chosen")
    return {
        **{name: told[name] for name in _HARMLESS if name in told},
        "features": {name: value for name, value in told.get("features", {}).items() if _single(value)},
        "chosen": chosen if chosen is not None and _in(part, chosen) else None,
        "options": options,
        "options_in_all": len(options),
        "removed": removed,
        "removed_in_all": len(removed),
        **({"cache": _elsewhere(told["cache"], part)} if "cache" in told else {}),
    }


def _in(part: Fleet, one: Told) -> bool:
    """Tell whether a device, and its model where one is named, are of this part."""
    device, model = part.devices.get(str(one.get("device"))), one.get("model")
    return device is not None and (model is None or canonical(str(model)) in device.models)


def _elsewhere(cached: Told, part: Fleet) -> dict[str, Any]:
    """Give what the cache did, without whose answer it was where that is not of this part."""
    source = cached.get("source")
    hidden = {"source"} if isinstance(source, Mapping) and not _in(part, source) else set[str]()
    return {name: value for name, value in cached.items() if name not in hidden}


def _single(value: object) -> bool:
    """Figures and words; lists are of models and of labelled prompts."""
    return value is None or isinstance(value, bool | int | float | str)
