"""How much a model can be told at most, by what the devices that have it say of themselves. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from common.messages import ChatRequest, ModelInfo
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.presence import allowed, may_answer
from dispatcher.fleet import Fleet

USUAL_TOKENS = 4096
"""Where no device says how much: what Ollama gives a model that nobody asks more for."""


@dataclass(frozen=True, slots=True)
class Room:
    """Tokens of a context; `known` tells that a device has said so."""

    tokens: int
    known: bool


def room_of(chat: ChatRequest, caller: Caller, fleet: Fleet) -> Room:
    """Give the largest context that any device, where the caller may ask it, has for the model of a chat.

    What is told is trimmed to it, whichever device answers then: routing sends a prompt only where it fits, so that a long
    conversation keeps to the devices that have the room, and a short one goes anywhere.
    """
    found = max(filter(None, map(usable, may_answer(chat, allowed(fleet, caller.grant)))), default=None)
    return Room(USUAL_TOKENS, known=False) if found is None else Room(found, known=True)


def usable(info: ModelInfo) -> int | None:
    """Give the context that a device really has of a model: what it was trained for, or less where memory is short."""
    known = [one for one in (info.context_tokens, info.most_context_tokens) if one]
    return min(known, default=None)
