"""Has each model on each device of a fleet answer once, so that all have measured themselves; what is measured then is not its
affair."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from common.errors import FleetError
from common.messages import CacheWish, Message, Role
from dispatcher.lab.bench.target import Target

WARM_UP_TOKENS = 16
MOST_WARMED = 64


async def warm_up(target: Target) -> None:
    """Ask each model on each device for a few tokens, the devices side by side. A model that can't be had is passed over: it will
    show in what is measured."""
    told = await target.explain("least_loaded")
    pairs = sorted({(one["device"], one["model"]) for one in told.get("options") or ()})[:MOST_WARMED]
    by_device: dict[str, list[str]] = {}
    for device, model in pairs:
        by_device.setdefault(device, []).append(model)
    async with asyncio.TaskGroup() as tasks:
        for device, models in by_device.items():
            tasks.create_task(_warm(target, device, models))


async def _warm(target: Target, device: str, models: Sequence[str]) -> None:
    for model in models:
        fields = {
            "model": f"{model}@{device}",
            "options": {"max_tokens": WARM_UP_TOKENS},
            "cache": str(CacheWish.OFF),
        }
        try:
            await target.ask((Message(role=Role.USER, content="Count to ten, please."),), fields)
        except FleetError:
            continue
