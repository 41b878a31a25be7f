"""Which conversation was answered where last, so that the next turn finds its prompt read already; bounded, and only a hint."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from common.messages import Message, Role
from dispatcher.fleet import Fleet
from dispatcher.routing import Warmth

MOST = 10_000
"""Conversations that are remembered: some 3 MB."""

Conversation = tuple[str, int]
"""The tenant, and the hash of how it began."""


class Affinity:
    """Remembers the last conversations of each model on each device: an engine keeps one prompt for each of its slots, and the
    next conversation there overwrites the oldest."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._where: OrderedDict[Conversation, Warmth] = OrderedDict()
        self._held: dict[tuple[str, str], deque[Conversation]] = {}

    def note(self, conversation: Conversation, warmth: Warmth, *, slots: int, fleet: Fleet) -> None:
        """Remember that a conversation was answered there, and is as long as that now. A place that is new drops those that the
        fleet has no more: devices, and models on them."""
        place = warmth.device, warmth.model
        held = self._held.get(place)
        if held is None:
            self._held = {known: kept for known, kept in self._held.items() if _there(known, fleet)}
        if held is None or held.maxlen != max(1, slots):
            held = self._held[place] = deque(held or (), maxlen=max(1, slots))
        if conversation in held:
            held.remove(conversation)
        held.append(conversation)
        self._where[conversation] = warmth
        self._where.move_to_end(conversation)
        if len(self._where) > self._most:
            self._where.popitem(last=False)

    @property
    def places(self) -> int:
        """How many models on devices are followed."""
        return len(self._held)

    def warmth(self, conversation: Conversation) -> Warmth | None:
        """Say where a conversation's prompt is still in memory, as far as we know."""
        warmth = self._where.get(conversation)
        if warmth is None or conversation not in self._held.get((warmth.device, warmth.model), ()):
            return None
        return warmth


def _there(place: tuple[str, str], fleet: Fleet) -> bool:
    device = fleet.devices.get(place[0])
    return device is not None and place[1] in device.models


def conversation_of(tenant: str, messages: Sequence[Message]) -> Conversation:
    """Name a conversation by how it began: up to and with the first question."""
    head: list[str] = []
    for message in messages:
        head.append(message.content)
        if message.role is Role.USER:
            break
    return tenant, hash(tuple(head))


def goes_on(messages: Sequence[Message]) -> bool:
    """Tell whether a request is a later turn of a conversation."""
    return any(message.role is Role.ASSISTANT for message in messages)
