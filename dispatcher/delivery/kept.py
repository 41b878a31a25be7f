"""Finished answers, kept for a while for whoever sends the same job again; bounded by age, number and size. It knows no bus."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from dispatcher.delivery.answer import Ended

Key = tuple[str, str]
"""Tenant and job."""

OVERHEAD_BYTES = 1000
"""What an answer takes besides its text, its account and its tool calls: names, times, and the places where they stand."""

SWEEP_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Keep:
    """An answer with the name of its question."""

    fingerprint: str
    ended: Ended
    until_s: float
    size_bytes: int


class ReplayCache:
    """The answers, the least recently used first. `now` is monotonic, in seconds."""

    def __init__(self, now: Callable[[], float], *, ttl_s: float, entries: int, size_bytes: int) -> None:
        self._now = now
        self._ttl_s = ttl_s
        self._entries = entries
        self._limit_bytes = size_bytes
        self._sweep_s = -math.inf
        self._kept: dict[Key, Keep] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def bound(self, *, entries: int, size_bytes: int) -> None:
        """Keep no more than this from now on; the oldest make room at once."""
        self._entries, self._limit_bytes = entries, size_bytes
        self._make_room()

    def put(self, key: Key, fingerprint: str, ended: Ended, *, most_s: float = math.inf) -> None:
        """Keep an answer, for `most_s` at most; the oldest make room, and one that is larger than all the room is not kept."""
        size_bytes = _size_bytes(ended)
        self.drop(key)
        if size_bytes > self._limit_bytes or not self._entries:
            return
        self._kept[key] = Keep(fingerprint, ended, self._now() + min(self._ttl_s, most_s), size_bytes)
        self.size_bytes += size_bytes
        self._make_room()

    def _make_room(self) -> None:
        while self.size_bytes > self._limit_bytes or len(self._kept) > self._entries:
            self.drop(next(iter(self._kept)))

    def get(self, key: Key) -> Keep | None:
        """Give an answer that is not too old."""
        found = self._kept.get(key)
        if found is None:
            return None
        if self._now() >= found.until_s:
            self.drop(key)
            return None
        self._kept[key] = self._kept.pop(key)  # used last
        return found

    def drop(self, key: Key) -> None:
        """Forget an answer."""
        found = self._kept.pop(key, None)
        if found is not None:
            self.size_bytes -= found.size_bytes

    def sweep(self) -> None:
        """Forget those that are too old. It looks at all of them, and so only now and then, however often it is called: nobody is
        given one that is too old."""
        now_s = self._now()
        if now_s < self._sweep_s:
            return
        self._sweep_s = now_s + SWEEP_EVERY_S
        for key in [key for key, keep in self._kept.items() if now_s >= keep.until_s]:
            self.drop(key)


def _size_bytes(ended: Ended) -> int:
    """Count what an answer takes in memory, 4 bytes for each character of its text: the most that Python takes."""
    calls = [part for call in ended.end.tool_calls for part in (call.name, call.id, call.arguments)]
    vectors = sum(map(len, ended.end.embeddings))
    return OVERHEAD_BYTES + 4 * len(ended.text) + vectors + _deep_bytes(calls) + _deep_bytes(ended.route)


def _deep_bytes(whole: dict[str, Any] | list[Any]) -> int:
    """Count an object with all that is in it. Without recursion: models nest arguments as deep as they like."""
    total, holders = sys.getsizeof(whole), list[Any]([whole])
    for holder in holders:  # more come while it is walked through
        parts: Collection[Any] = holder
        if isinstance(holder, dict):
            total += sum(map(sys.getsizeof, holder))
            parts = holder.values()
        total += sum(map(sys.getsizeof, parts))
        holders += [part for part in parts if isinstance(part, _HOLDERS)]
    return total


_HOLDERS = (dict, list, tuple)
