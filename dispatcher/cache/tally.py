"""What the cache has done since its start, and which answers it gave to whom lately; plain counting, nothing of it is kept."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dispatcher.cache.values import Kind, Place
from dispatcher.outcomes import Cached, CacheOutcome

MOST_GIVEN = 2048
"""Hits that can be reported by the id of their job."""

MOST_TENANTS = 1000
"""Tenants whose figures are kept apart; the one that was quiet for longest is begun anew."""


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that a job got: `asked` is its own place, `kept` that of the answer; `told` is what its account says of it,
    and empty for the job that made it."""

    asked: Place
    kept: Place
    told: Mapping[str, Any]


@dataclass(slots=True)
class Tally:
    """Counts. Reasons are few and stable: they hold nothing of what anybody asked."""

    outcomes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    bypassed: Counter[str] = field(default_factory=Counter)
    not_kept: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    reported: int = 0
    saved: dict[str, float] = field(default_factory=lambda: {"s": 0.0, "tokens": 0.0, "energy_j": 0.0, "cost_usd": 0.0})

    def made(self, outcome: CacheOutcome, reason: str) -> None:
        """Count a job that was run."""
        self.outcomes[str(outcome)] += 1
        if outcome is CacheOutcome.REFUSED:
            self.refused[reason] += 1
        elif outcome is CacheOutcome.BYPASS:
            self.bypassed[reason] += 1

    def keeps(self, why_not: str) -> None:
        """Count an answer that is kept, or why it is not."""
        if why_not:
            self.not_kept[why_not] += 1
        else:
            self.kept += 1

    def hit(self, told: Cached) -> None:
        """Count a job that was not run, and what that saved."""
        self.outcomes[told.kind] += 1
        for name in self.saved:
            self.saved[name] += float(told.saved.get(name) or 0.0)

    def brief(self) -> dict[str, Any]:
        """Tell all counts."""
        kinds = {str(kind): self.outcomes[str(kind)] for kind in Kind}
        return {
            "counts": {
                **kinds,
                "miss": self.outcomes[str(CacheOutcome.MISS)],
                "bypass": sum(self.bypassed.values()),
                "bypassed": dict(self.bypassed),
                "refused": dict(self.refused),
                "kept": self.kept,
                "not_kept": dict(self.not_kept),
            },
            "saved": {name: round(value, 6) for name, value in self.saved.items()},
            "reported": self.reported,
        }


class Tallies:
    """The figures of all tenants together, and of each; and the hits of late."""

    def __init__(self) -> None:
        self.all = Tally()
        self._tenants: OrderedDict[str, Tally] = OrderedDict()
        self._given: OrderedDict[tuple[str, str], Given] = OrderedDict()

    def of(self, tenant: str | None) -> Tally:
        """Give the figures of a tenant, or of all."""
        return self.all if tenant is None else self._tenants.get(tenant, Tally())

    def both(self, tenant: str) -> tuple[Tally, Tally]:
        """Give where something of a tenant is to be counted."""
        tally = self._tenants.setdefault(tenant, Tally())
        self._tenants.move_to_end(tenant)
        if len(self._tenants) > MOST_TENANTS:
            self._tenants.popitem(last=False)
        return self.all, tally

    def gave(self, tenant: str, job: str, given: Given) -> None:
        """Remember whose answer a job got, for whoever finds it wrong."""
        self._given[tenant, job] = given
        if len(self._given) > MOST_GIVEN:
            self._given.popitem(last=False)

    def find(self, tenant: str | None, job: str) -> Given | None:
        """Give the answer that a job got; without a tenant any tenant's, if it is one only."""
        if tenant is not None:
            return self._given.get((tenant, job))
        found = [given for (_, name), given in self._given.items() if name == job]
        return found[0] if len(found) == 1 else None
