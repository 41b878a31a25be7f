"""How many jobs wait, as dispatchers tell it, and how many for a dispatcher; it asks nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common import codec
from common.durable_backlog import Backlog
from common.keys import Scope
from common.patterns import matches
from common.running import Running
from dispatcher.bridge.callers import Caller, Part
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
        self._untaken: Backlog | None = None
        self._looked = self._known = False
        self._made: dict[Part | None, bytes] = {}

    def take(self, told: Running, now_s: float) -> None:
        """Take in what a dispatcher tells."""
        self._words[told.dispatcher] = _Word(told, now_s)
        self._known = True
        self._made.clear()

    def lie(self, untaken: Backlog | None) -> None:
        """Take in what lies in the durable queue. By the second time dispatchers have had theirs: who has said nothing is not
        there."""
        self._known |= self._looked and untaken is not None
        self._looked = True
        if untaken != self._untaken:
            self._untaken = untaken
            self._made.clear()

    def sweep(self, now_s: float) -> frozenset[str]:
        """Forget dispatchers that say nothing any more, and name them."""
        silent = frozenset(name for name, word in self._words.items() if now_s - word.at_s > SILENT_S)
        for name in silent:
            del self._words[name]
            self._made.clear()
        return silent

    def told(self, part: Part | None) -> bytes:
        """Write how many wait, and of a part of the fleet also for what. Nothing while nobody has said."""
        if not self._known:
            return b""
        if part not in self._made:
            told = {**sums([word.told for word in self._words.values()], part), **_lying(self._untaken)}
            self._made[part] = event(codec.encode(told), name="queue")
        return self._made[part]


def part_of(caller: Caller) -> Part | None:
    """Give the part of the fleet of which a caller is told what is waited for; None for none of it."""
    return (caller.part or Part()) if caller.may(Scope.FLEET) else None


def sums(words: list[Running], part: Part | None) -> Mapping[str, Any]:
    """Add up what dispatchers tell."""
    told: dict[str, Any] = {
        "waiting": sum(one.waiting for one in words),
        "running": sum(one.at_work for one in words),
        "limit": sum(one.queue_limit for one in words),
        "dispatchers": len(words),
    }
    if part is not None:
        told["by_model"] = _counted((one.waiting_by_model for one in words), part.models)
        told["by_device"] = _counted((one.waiting_by_device for one in words), part.devices)
    return told


def _lying(untaken: Backlog | None) -> Mapping[str, Any]:
    return {} if untaken is None else {"durable": codec.plain(untaken)}


def _counted(counts: Iterable[Mapping[str, int]], patterns: tuple[str, ...]) -> dict[str, int]:
    """Add up counts of the names that fit."""
    both = sum((Counter(one) for one in counts), Counter[str]())
    return {name: number for name, number in both.items() if matches(name, patterns or None)}
