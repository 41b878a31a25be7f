"""Those who wait, and the account of one tenant in one class; who is next among several is not known here."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from common.messages import Priority

RANK: Mapping[Priority, int] = {Priority.INTERACTIVE: 0, Priority.NORMAL: 1, Priority.BATCH: 2}

LEAST_COST_S, MOST_COST_S = 0.01, 600.0
"""Bounds of what one job counts for: predictions come from strangers' figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a job's place in the line depends on. `deadline_s` is on the loop's clock; `expected_s` is what a device will likely
    take for it, without any waiting. `work_s` is the same without a load, and 0 where no device has measured its speed. Jobs of
    one `kind` wait for the same."""

    deadline_s: float
    priority: Priority = Priority.NORMAL
    tenant: str = "default"
    expected_s: float = 1.0
    work_s: float = 0.0
    kind: str = ""

    @property
    def cost_s(self) -> float:
        """What the job counts for in its tenant's share."""
        return min(MOST_COST_S, max(LEAST_COST_S, self.expected_s))

    @property
    def habit(self) -> tuple[str, str]:
        """Whose answers take as long as this one's: those of its tenant, of its kind."""
        return (self.tenant, self.kind)


Key = tuple[bool, float, int]
FlowKey = tuple[str, Priority, int]
"""Tenant, class, and how many classes it has risen."""


class Chance(Enum):
    """Whether a job that gets a slot now will be answered in time: likely, hardly, or as one in ten at best."""

    GOOD = 1
    POOR = 2
    SLIGHT = 3


def level(priority: Priority, waited_s: float, guard_s: float) -> int:
    """Give the class that a job counts for, 0 the highest: its own, and one higher for each `guard_s` that it has waited."""
    return max(0, RANK[priority] - int(waited_s // guard_s))


class Waiter:
    """One who waits. `Order` alone touches what follows `seq`."""

    def __init__(self, place: Place, *, first: bool, joined_s: float) -> None:
        self.place = place
        self.first = first
        self.joined_s = joined_s
        self.devices: Collection[str] = ()
        self.seq = 0
        self.flow: Flow | None = None
        self.poor = False

    @property
    def key(self) -> Key:
        """Where it stands in its flow."""
        return (not self.first, self.place.deadline_s, self.seq)


@dataclass(slots=True, eq=False, kw_only=True)
class Flow:
    """The jobs of one tenant and one class that have risen equally far. `served_s` is its virtual time."""

    key: FlowKey
    level: int
    weight: float
    number: int
    served_s: float
    good: list[Waiter] = field(default_factory=list)
    poor: list[Waiter] = field(default_factory=list)
    devices: set[str] = field(default_factory=set)
    cost_s: float = 0.0

    def __len__(self) -> int:
        return len(self.good) + len(self.poor)

    def in_order(self) -> Iterator[tuple[bool, float, Waiter]]:
        """Give each waiter with the virtual time at which its turn comes, and whether its chance is poor."""
        start_s = self.served_s
        for poor, waiters in ((False, self.good), (True, self.poor)):
            for waiter in waiters:
                yield poor, start_s, waiter
                start_s += waiter.place.cost_s / self.weight

    def start_s(self, before: Key) -> float:
        """Give the virtual time at which a new waiter with this key has its turn."""
        return self.served_s + self._ahead(before) * self._step_s()

    def ahead(self, until_s: float) -> int:
        """Give about how many have their turn before a virtual time."""
        return min(len(self.good), max(0, round((until_s - self.served_s) / self._step_s())))

    def _ahead(self, key: Key) -> int:
        return bisect_left(self.good, key, key=by_key)

    def _step_s(self) -> float:
        return max(LEAST_COST_S, self.cost_s / max(1, len(self))) / self.weight


def by_key(waiter: Waiter) -> Key:
    """For sorted lists of waiters."""
    return waiter.key
