"""What jobs took of simulated devices, from when each worked; pure.

A profile says what a board draws idle and at work. Jobs that a device works on at once share what it draws above idle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What a device draws, in watts."""

    idle_w: float
    busy_w: float

    @property
    def above_w(self) -> float:
        """Give what work adds."""
        return max(0.0, self.busy_w - self.idle_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A job's time on a device, in seconds of the device's own."""

    device: str
    from_s: float
    to_s: float


def joules(works: Sequence[Work], boards: Mapping[str, Board]) -> list[float | None]:
    """Give what each took above idle; None for a device that says nothing of its watts. What a device took all in all is its watts
    above idle times the seconds in which it worked on anything."""
    taken: list[float | None] = [0.0 if work.device in boards else None for work in works]
    on: dict[str, list[int]] = defaultdict(list)
    for place, work in enumerate(works):
        if work.device in boards and work.to_s > work.from_s:
            on[work.device].append(place)
    for device, places in on.items():
        for place, seconds in _shared(works, places):
            taken[place] = (taken[place] or 0.0) + boards[device].above_w * seconds
    return taken


def _shared(works: Sequence[Work], places: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Give each job its part of each stretch between two moments at which one begins or ends."""
    changes = sorted((edge, place) for place in places for edge in (works[place].from_s, works[place].to_s))
    active: set[int] = set()
    for (at_s, place), (next_s, _) in pairwise(changes):
        active ^= {place}
        for one in active:
            yield one, (next_s - at_s) / len(active)
