"""How many jobs wait, as dispatchers tell it; it asks none of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common import codec
from common.running import Running
from dispatcher.bridge.sse import event

SILENT_S = 10.0
"""A dispatcher that has not answered for so long is not counted any more; it is asked each second."""


@dataclass(frozen=True, slots=True)
class _Word:
    told: Running
    at_s: float


class Queue:
    """The lines of all dispatchers together."""

    def __init__(self) -> None:
        self._words: dict[str, _Word] = {}
        self._known = False
        self._made: dict[bool, bytes] = {}

    def take(self, told: Running, now_s: float) -> None:
        """Take in what a dispatcher tells."""
        self._words[told.dispatcher] = _Word(told, now_s)
        self._known = True
        self._made.clear()

    def sweep(self, now_s: float) -> frozenset[str]:
        """Forget dispatchers that say nothing any more, and name them."""
        silent = frozenset(name for name, word in self._words.items() if now_s - word.at_s > SILENT_S)
        for name in silent:
            del self._words[name]
            self._made.clear()
        return silent

    def told(self, *, fully: bool) -> bytes:
        """Write how many wait; `fully` for what as well. Nothing while nobody has said."""
        if not self._known:
            return b""
        if fully not in self._made:
            told = sums([word.told for word in self._words.values()], fully=fully)
            self._made[fully] = event(codec.encode(told), name="queue")
        return self._made[fully]


def sums(words: list[Running], *, fully: bool) -> Mapping[str, Any]:
    """Add up what dispatchers tell."""
    told: dict[str, Any] = {
        "waiting": sum(one.waiting for one in words),
        "running": sum(one.at_work for one in words),
        "limit": sum(one.queue_limit for one in words),
        "dispatchers": len(words),
    }
    if fully:
        told["by_model"] = dict(sum((Counter(one.waiting_by_model) for one in words), Counter[str]()))
        told["by_device"] = dict(sum((Counter(one.waiting_by_device) for one in words), Counter[str]()))
    return told
