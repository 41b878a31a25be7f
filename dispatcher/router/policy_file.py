"""The owner's routing rules in a TOML file, read again when it has changed and stands still; one that is wrong or says nothing
changes nothing and is told.

strategy = "hybrid"          # of tenants that name none
token_threshold = 500
strong_from = 0.5
cloud = "allowed"            # never, allowed, preferred
cloud_from = 0.7             # what a question must deserve
cloud_reference = "gpt-4o"   # savings are reckoned against it; else against the dearest
timezone = "UTC"             # of all hours; else the machine's

[weights]
tokens = 0.4
topic = 0.2
health = 0.4

[caps]
celsius = 88.0
drain_throttled = true
device_w = 30.0
fleet_w = 60.0
devices = { "pi*" = 12.0 }
sites = { attic = 25.0 }

[[limit]]                    # of the fleet, or of a site, or of each device of a pattern
name = "quiet attic"
site = "attic"
watts = 0                    # no job at all
from = "22:00"
to = "06:00"
days = ["sat", "sun"]        # on which it begins

[[limit]]
name = "dear"
watts = 40
tariff_above = 0.40

[[limit]]
name = "spare the battery"
device = "laptop*"
watts = 0
on_battery = true
battery_below_percent = 40

[[schedule]]
name = "eco while dear"
strategy = "energy:eco"
tariff_above = 0.40

[tariff]
currency = "EUR"
per_kwh = 0.32
g_co2e_per_kwh = 380

[[tariff.hours]]
from = "17:00"
to = "20:00"
days = ["mon", "tue", "wed", "thu", "fri"]
per_kwh = 0.45
g_co2e_per_kwh = 520

[workloads.code]             # shares of devices
orin = 80
nano = 20

[tenants.alice]
strategy = "energy:eco"
models = ["qwen2.5*"]
devices = ["pi*"]
cloud = "never"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import Field, Strict, ValidationError, model_validator

from common import codec
from common.errors import BadRequest, ConfigError
from common.logs import get_logger
from common.messages import Token
from dispatcher.files import Stillness, stamp_of
from dispatcher.router.calendar_file import Limits, Schedules, TariffPage, Timezone, strategies, timed
from dispatcher.router.page import Finite, Page, Pattern, StrategyName, Watts
from dispatcher.routing import Cloud, RoutingPolicy, require_strategy
from dispatcher.routing.ask import Caps, TenantRules

log = get_logger("router.policy")

MOST_BYTES = 1_000_000

Weight = Annotated[Finite, Ge(0), Le(1000)]
Share = Annotated[Finite, Ge(0), Le(1_000_000)]
CloudName = Annotated[Cloud, Strict(strict=False)]
"""TOML has no such type: it is read from its name."""

Patterns = Annotated[list[Annotated[str, MaxLen(200)]], MaxLen(1000)]


class _Weights(Page):
    tokens: Weight
    topic: Weight
    health: Weight

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not (self.tokens or self.topic or self.health):
            raise ValueError("tokens, topic and health are all 0: one must be more")
        return self


class _Caps(Page):
    celsius: Annotated[Finite, Gt(0), Le(200)] | None = None
    device_w: Annotated[Finite, Gt(0), Le(100_000)] | None = None
    fleet_w: Annotated[Finite, Gt(0), Le(1_000_000)] | None = None
    sites: Annotated[dict[Token, Watts], MaxLen(100)] = Field(default_factory=dict)
    devices: Annotated[dict[Pattern, Watts], MaxLen(100)] = Field(default_factory=dict)
    drain_throttled: bool = False


class _Tenant(Page):
    strategy: StrategyName | None = None
    cloud: CloudName | None = None
    models: Patterns | None = None
    devices: Patterns | None = None


class _File(Page):
    strategy: StrategyName | None = None
    token_threshold: Annotated[int, Ge(1), Le(10_000_000)] | None = None
    strong_from: Annotated[Finite, Ge(0), Le(1)] | None = None
    cloud: CloudName | None = None
    cloud_from: Annotated[Finite, Ge(0), Le(1)] | None = None
    cloud_reference: Annotated[str, MaxLen(200)] | None = None
    weights: _Weights | None = None
    caps: _Caps = Field(default_factory=_Caps)
    limit: Limits = Field(default_factory=list)
    schedule: Schedules = Field(default_factory=list)
    tariff: TariffPage = Field(default_factory=TariffPage)
    timezone: Timezone | None = None
    workloads: Annotated[dict[str, Annotated[dict[str, Share], MaxLen(10_000)]], MaxLen(1000)] = Field(
        default_factory=dict
    )
    tenants: Annotated[dict[str, _Tenant], MaxLen(10_000)] = Field(default_factory=dict)


def policy_from(text: str, base: RoutingPolicy) -> RoutingPolicy:
    """Give the policy of a file over `base`, which holds for all that it does not name. Raises `ConfigError` that names each wrong
    key, its value and what was expected."""
    try:
        said = _File.model_validate(tomllib.loads(text))
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])}={_shown(fault['input'])}: {codec.expectation(fault)}"
            for fault in error.errors(include_url=False, include_context=False)[:10]
        ]
        raise ConfigError("; ".join(faults)) from error
    except (ValueError, RecursionError) as error:  # also a number of 5,000 digits, and brackets as deep
        raise ConfigError(f"it is no TOML: {error}") from error
    policy = replace(
        base, **_given(said), **timed(said.limit, said.schedule, said.tariff, said.timezone or "", base.rate)
    )
    _require_workloads(policy)
    return policy


def _shown(value: object) -> str:
    try:
        return f"{value!r:.80}"
    except (ValueError, RecursionError):  # 0xfff… of 5,000 digits is read, and can't be written
        return "…"


def _require_workloads(policy: RoutingPolicy) -> None:
    """Raise `ConfigError` for a strategy that asks for a workload that the policy lacks: each job would be refused for it."""
    asked = {"strategy": policy.strategy, **strategies(policy)}
    asked |= {f"tenants.{name}.strategy": rules.strategy for name, rules in policy.tenants.items() if rules.strategy}
    faults: list[str] = []
    for key, strategy in asked.items():
        try:
            require_strategy(strategy, policy)
        except BadRequest as error:
            faults.append(f"{key}={strategy!r:.80}: {error.message}")
    if faults:
        raise ConfigError("; ".join(faults[:10]))


def _given(said: _File) -> Mapping[str, Any]:
    weights = said.weights.model_dump() if said.weights else {}
    singles = {
        name: value
        for name in ("strategy", "token_threshold", "strong_from", "cloud", "cloud_from", "cloud_reference")
        if (value := getattr(said, name)) is not None
    }
    return {
        **weights,
        **singles,
        "caps": Caps(**said.caps.model_dump()),
        "workloads": said.workloads,
        "tenants": {
            name: TenantRules(
                strategy=rules.strategy or "",
                cloud=rules.cloud,
                models=None if rules.models is None else tuple(rules.models),
                devices=None if rules.devices is None else tuple(rules.devices),
            )
            for name, rules in said.tenants.items()
        },
    }


class PolicyFile:
    """The policy as the file has it now. Without a path it is `base` for ever."""

    def __init__(self, path: Path | None, base: RoutingPolicy) -> None:
        """Read the file. Raises `ConfigError` when it is wrong: at the start somebody is there to mend it."""
        self._path = path
        self._base = base
        self._stillness = Stillness(None if path is None else stamp_of(path))
        self.policy = base if path is None else _policy(path, _read(path), base)

    def over(self, base: RoutingPolicy) -> RoutingPolicy:
        """Give what the file makes of another base; nothing changes. Raises `ConfigError` when the file is wrong now."""
        return base if self._path is None else _policy(self._path, _read(self._path), base)

    def rest_on(self, base: RoutingPolicy, policy: RoutingPolicy) -> None:
        """Take another base from now on, and what `over` gave for it."""
        self._base, self.policy = base, policy

    def refresh(self) -> None:
        """Read the file again if it changed, and stood still since the last look. One that is wrong, gone or empty leaves the
        policy as it was, and is told once: whoever cuts a file to write it anew has not taken back what it forbade."""
        if self._path is None or not self._stillness.settled(stamp := stamp_of(self._path)):
            return
        try:
            text = _read(self._path)
            if stamp_of(self._path) != stamp:
                self._stillness.moved()
                return
            self.policy = _policy(self._path, _said(self._path, text), self._base)
        except ConfigError as error:
            log.warning("policy.refused", path=str(self._path), error=error.message)
        except Exception as error:  # noqa: BLE001  # a border: no file of whatever content may end the dispatcher
            log.warning("policy.refused", path=str(self._path), error=type(error).__name__)
        else:
            log.info("policy.changed", path=str(self._path), strategy=self.policy.strategy)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the routing file {path} can't be read: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise ConfigError(f"the routing file {path} is larger than {MOST_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"the routing file {path} is not UTF-8 at byte {error.start}") from error


def _said(path: Path, text: str) -> str:
    """Give the text back. Raises `ConfigError` for one of blanks and comments alone."""
    if all(not line or line.startswith("#") for line in map(str.strip, text.splitlines())):
        raise ConfigError(
            f"the routing file {path} says nothing now, so what it said holds on: start anew to go without its rules"
        )
    return text


def _policy(path: Path, text: str, base: RoutingPolicy) -> RoutingPolicy:
    try:
        return policy_from(text, base)
    except ConfigError as error:
        raise ConfigError(f"the routing file {path} is wrong: {error.message}") from error
