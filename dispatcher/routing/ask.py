"""What routing is asked, and what it knows besides the fleet: immutable values, made by whoever does the I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from common.messages import AUTO
from dispatcher.hours import Moment
from dispatcher.routing.features import Features
from dispatcher.routing.limits import NO_CALENDAR, Calendar, Limit, Scope
from dispatcher.routing.warmth import Warmth
from dispatcher.tariff import NO_RATE, Rate


class Cloud(StrEnum):
    """Whether questions may go to models that run elsewhere: not at all, where they are worth it, or before all others."""

    NEVER = "never"
    ALLOWED = "allowed"
    PREFERRED = "preferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRules:
    """What one tenant gets: a strategy of its own, the models and devices that it may use (patterns as in `qwen2.5*`; None for
    all, and an empty list for none), and whether the cloud is open to it (None: as to all)."""

    strategy: str = ""
    cloud: Cloud | None = None
    models: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What keeps devices out whenever it is reached: degrees Celsius of a device, watts of any one device, of those that a pattern
    names, of a site, and of all; `drain_throttled` keeps out what throttles hard. `limits` are the watts among it."""

    celsius: float | None = None
    device_w: float | None = None
    fleet_w: float | None = None
    sites: Mapping[str, float] = field(default_factory=dict)
    devices: Mapping[str, float] = field(default_factory=dict)
    drain_throttled: bool = False
    limits: tuple[Limit, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out the limits, once for all decisions."""
        object.__setattr__(self, "limits", tuple(self._limits()))

    def _limits(self) -> Iterator[Limit]:
        if self.device_w is not None:
            yield Limit(name="caps.device_w", watts=self.device_w, scope=Scope.DEVICE, of="*")
        for pattern, watts in self.devices.items():
            yield Limit(name=f"caps.devices.{pattern}", watts=watts, scope=Scope.DEVICE, of=pattern)
        for site, watts in self.sites.items():
            yield Limit(name=f"caps.sites.{site}", watts=watts, scope=Scope.SITE, of=site)
        if self.fleet_w is not None:
            yield Limit(name="caps.fleet_w", watts=self.fleet_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """What the owner decided. `tokens`, `topic` and `health` are the weights of the hybrid score: any non-negative numbers, at
    least one above 0. `strategy` is that of tenants without one of their own. `workloads` gives the shares of devices for each
    workload, `strong_from` the strength in [0, 1] from which a model counts as strong (None: the upper half of those at hand),
    `token_threshold` the tokens from which a prompt is long. `cloud_from` is what a question must deserve, in [0, 1], to go to a
    remote model where the cloud is allowed; `cloud_reference` the model that savings are reckoned against, empty for the dearest.
    `limits` are those in force now, and `rate` is what energy costs now; what depends on the moment stands in `calendar`.
    """

    tokens: float = 0.4
    topic: float = 0.2
    health: float = 0.4
    strategy: str = "hybrid"
    strong_from: float | None = None
    token_threshold: int = 500
    workloads: Mapping[str, dict[str, float]] = field(default_factory=dict)
    tenants: Mapping[str, TenantRules] = field(default_factory=dict)
    caps: Caps = Caps()
    cloud: Cloud = Cloud.ALLOWED
    cloud_from: float = 0.7
    cloud_reference: str = ""
    rate: Rate = NO_RATE
    limits: tuple[Limit, ...] = ()
    calendar: Calendar = NO_CALENDAR

    def at(self, moment: Moment) -> RoutingPolicy:
        """Give what an owner's policy, as it is written, comes to at a moment."""
        calendar = self.calendar
        rate = calendar.rate(self.rate, moment)
        due = tuple(limit for limit in calendar.limits if limit.when.holds(moment, rate))
        return replace(
            self,
            rate=rate,
            limits=(*self.limits, *due),
            strategy=calendar.strategy(self.strategy, moment, rate),
        )

    @property
    def watts(self) -> tuple[Limit, ...]:
        """All limits in force."""
        return (*self.caps.limits, *self.limits)

    @property
    def shuts(self) -> bool:
        """True when anything may keep a device out for its heat or its watts."""
        caps = self.caps
        return bool(caps.limits or self.limits or caps.drain_throttled or caps.celsius is not None)

    def normalised(self) -> Mapping[str, float]:
        """Give the weights with a sum of 1."""
        total = self.tokens + self.topic + self.health or 1.0
        return {"tokens": self.tokens / total, "topic": self.topic / total, "health": self.health / total}

    def strategy_for(self, tenant: str) -> str:
        """Give the strategy of a tenant that asks for none."""
        rules = self.tenants.get(tenant)
        return rules.strategy if rules is not None and rules.strategy else self.strategy

    def cloud_for(self, tenant: str) -> Cloud:
        """Say whether the cloud is open to a tenant."""
        rules = self.tenants.get(tenant)
        return rules.cloud if rules is not None and rules.cloud is not None else self.cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the trained router says: the predicted gain of a strong model over a weak one, which it takes, and why. `told` are the
    opinions and the labelled prompts behind it, as they are explained."""

    gain: float
    strong: bool
    reason: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a trained router of several models says: what each gains over the `base`, by full name, in answers right; how sure it
    must be, and whether it was taught anything alike. `explored` asks for the answer of any of them, to learn from; `held` says why
    the budget keeps the job from the `strong` ones, empty where it does not. `told` is explained."""

    base: str
    gains: Mapping[str, float]
    strong: frozenset[str]
    temperature: float
    least_confidence: float = 0.0
    in_domain: bool = True
    explored: bool = False
    held: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked for: a full model name or `auto`, perhaps a device, and the features of the request.

    `strategy` names how to score, with a variant behind a colon; `seed` and `turn` stand for chance and sequence, so that deciding
    stays pure. `workload` overrides the kind that the text looks like. `warmth` tells where its beginning was read, `verdict`
    what the trained router says (`forecast` where it is one of several models), `difficulty` in [0, 1] what a classifying model
    says, and `classified` which one; `escalated` that a weak answer did not hold, `explores` that the second best is to be tried,
    where it is not far behind. `lacks` says what the strategy would have used and was not there; `max_cost_usd` is what the answer
    may cost at most, `brings_key` that the request pays with a key of its own, `local` that it must not leave the house.
    `allow_models` and `allow_devices` are patterns of what it may use, besides what its tenant may; empty for all.
    """

    model: str
    device: str | None
    wanted: Features
    tenant: str = ""
    strategy: str = "hybrid"
    seed: int = 0
    turn: int = 0
    workload: str = ""
    warmth: tuple[Warmth, ...] = ()
    verdict: Verdict | None = None
    forecast: Forecast | None = None
    difficulty: float | None = None
    classified: Mapping[str, Any] = field(default_factory=dict)
    escalated: bool = False
    explores: bool = False
    lacks: str = ""
    embedder: str = ""
    max_cost_usd: float | None = None
    brings_key: bool = False
    local: bool = False
    allow_models: tuple[str, ...] = ()
    allow_devices: tuple[str, ...] = ()

    @property
    def classifies(self) -> bool:
        """True when a small model is to say how hard the question is: the strategy asks for it, and models are free to choose."""
        return self.strategy.partition(":")[0] == "llm" and self.model == AUTO and self.difficulty is None

    @property
    def cascades(self) -> bool:
        """True when a weak answer is to be checked."""
        return self.strategy.partition(":")[0] == "cascade"

    @property
    def variant(self) -> str:
        """What stands behind the colon of the strategy's name."""
        return self.strategy.partition(":")[2]
