"""What routing is asked, and what it knows besides the fleet: immutable values, made by whoever does the I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dispatcher.routing.features import Features
from dispatcher.routing.predict import Warmth


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """The weights of the three terms of the hybrid score: any non-negative numbers, at least one above 0."""

    tokens: float = 0.4
    topic: float = 0.2
    health: float = 0.4

    def normalised(self) -> Mapping[str, float]:
        """Give them with a sum of 1."""
        total = self.tokens + self.topic + self.health or 1.0
        return {"tokens": self.tokens / total, "topic": self.topic / total, "health": self.health / total}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked for: a full model name or `auto`, perhaps a device, and the features of the request.

    `strategy` names how to score; `seed` and `turn` stand for chance and sequence, so that deciding stays pure. `warmth` tells
    where the conversation was before.
    """

    model: str
    device: str | None
    wanted: Features
    strategy: str = "hybrid"
    seed: int = 0
    turn: int = 0
    warmth: Warmth | None = None
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What strategies know besides the request and the fleet: settings and trained parts."""

    policy: RoutingPolicy = field(default_factory=RoutingPolicy)
