"""How much a model can be told at most, by what the devices that have it say of themselves. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from common.messages import AUTO, ChatRequest, DeviceState, ModelInfo, split_target
from common.virtual import resolved
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.presence import narrowed
from dispatcher.fleet import Device, Fleet, Liveness, canonical

USUAL_TOKENS = 4096
"""Where no device says how much: what Ollama gives a model that nobody asks more for."""


@dataclass(frozen=True, slots=True)
class Room:
    """Tokens of a context; `known` tells that a device has said so."""

    tokens: int
    known: bool


def room_of(chat: ChatRequest, caller: Caller, fleet: Fleet) -> Room:
    """Give the largest context that any device, where the caller may ask it, has for the model of a chat."""
    found = max((context for info in _offered(chat, caller, fleet) if (context := _context(info))), default=None)
    return Room(USUAL_TOKENS, known=False) if found is None else Room(found, known=True)


def present(fleet: Fleet) -> Iterator[Device]:
    """Give the devices that are there, or were a moment ago."""
    for device in fleet.devices.values():
        if device.liveness is not Liveness.DEAD and device.beat.state is not DeviceState.STOPPED:
            yield device


def _offered(chat: ChatRequest, caller: Caller, fleet: Fleet) -> Iterator[ModelInfo]:
    wanted = resolved(chat)
    name, pinned = split_target(wanted.model)
    pinned = wanted.device or pinned
    grant = caller.grant
    for device in present(fleet if grant is None else narrowed(fleet, models=grant.models, devices=grant.devices)):
        if pinned not in (None, device.name) or (wanted.local and device.beat.remote):
            continue
        for model, info in device.models.items():
            named = _chats(info) if name == AUTO else model == canonical(name)
            if named:
                yield info


def _chats(info: ModelInfo) -> bool:
    return not info.capabilities or "completion" in info.capabilities


def _context(info: ModelInfo) -> int:
    known = [one for one in (info.context_tokens, info.most_context_tokens) if one]
    return min(known, default=0)
