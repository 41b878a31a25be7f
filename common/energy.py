"""Watts and joules as they travel: a device's samples, what a job has taken, the sums of a minute; it measures nothing.

Joules of a job are those above what its device draws idle anyway; the idle part is told apart, and never added in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen
from pydantic import AllowInfNan, BeforeValidator

from common import codec
from common.errors import BadRequest
from common.messages import MOST_COUNT, Celsius, Count, Name, Token

JOULES_PER_KWH = 3.6e6
JOULES_PER_WH = 3600.0

Finite = Annotated[float, AllowInfNan(allow_inf_nan=False)]
MOST_J = 1e12
Joules = Annotated[Finite, Ge(0), Le(MOST_J)]
Watts = Annotated[Finite, Ge(0), Le(100_000)]

MOST_UNCERTAINTY = 10.0
Uncertainty = Annotated[Finite, Ge(0), Le(MOST_UNCERTAINTY)]
"""Half the width of a 95 % interval, as a share of the figure: 0.05 is ± 5 %."""


def _few_rails(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > 32:
        raise ValueError(f"at most 32 rails are taken, not {len(value)}")
    return value


Rails = Annotated[dict[Annotated[str, MaxLen(64)], Watts], BeforeValidator(_few_rails)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """What an attempt, or a whole job, has taken of its devices.

    `joules` are above idle and include load, prefill and `lost_joules`: those of attempts whose text nobody was given.
    `idle_joules` is the job's share of what the devices drew idle meanwhile. `measured` tells that it comes from sensors, but for a
    tenth at most; `source` names the reader, or several. `cost` and `co2e_g` are of `joules`, where a tariff and a grid factor are
    set.
    """

    joules: Joules = 0.0
    idle_joules: Joules = 0.0
    lost_joules: Joules = 0.0
    measured: bool = False
    source: Name = "model"
    uncertainty: Uncertainty = 1.0
    tokens: Count = 0
    cost: Annotated[Finite, Ge(0), Le(1e9)] | None = None
    currency: Annotated[str, MaxLen(16)] | None = None
    co2e_g: Annotated[Finite, Ge(0), Le(1e12)] | None = None

    @property
    def joules_per_token(self) -> float | None:
        """Joules for one token of the answer; None where there is none."""
        return self.joules / self.tokens if self.tokens else None

    @property
    def watt_hours(self) -> float:
        return self.joules / JOULES_PER_WH


def total(parts: Iterable[Energy]) -> Energy | None:
    """Add up what several attempts have taken; None for none. Errors of one sensor point the same way, so the uncertainty of the
    sum is their mean, weighted by joules. What parts can be, their sum can be too: it ends at the bounds of the fields."""
    known = tuple(parts)
    if not known:
        return None
    if len(known) == 1:  # as nearly all jobs have it
        return unpriced(known[0])
    joules = sum(one.joules for one in known)
    # Without a joule there is nothing to weigh by.
    shares = [one.joules / joules if joules else 1 / len(known) for one in known]
    return Energy(
        joules=min(MOST_J, joules),
        idle_joules=min(MOST_J, sum(one.idle_joules for one in known)),
        lost_joules=min(MOST_J, sum(one.lost_joules for one in known)),
        measured=all(one.measured for one in known),
        source="+".join(sorted({one.source for one in known}))[:200],
        # Shares add up to one but for their rounding.
        uncertainty=min(
            MOST_UNCERTAINTY, sum(share * one.uncertainty for share, one in zip(shares, known, strict=True))
        ),
        tokens=min(MOST_COUNT, sum(one.tokens for one in known)),
    )


def unpriced(energy: Energy) -> Energy:
    """Give it without what it costs and emits, which follow from a rate."""
    if energy.cost is None and energy.currency is None and energy.co2e_g is None:
        return energy
    return replace(energy, cost=None, currency=None, co2e_g=None)


def parted(energy: Energy, *, lost_joules: float, tokens: int) -> Energy:
    """Give it with so much of it lost, and for so many tokens; itself where it says that already, as mostly it does."""
    if energy.lost_joules == lost_joules and energy.tokens == tokens:
        return energy
    return replace(energy, lost_joules=lost_joules, tokens=tokens)


def lost(energy: Energy) -> Energy:
    """Give what an attempt has taken whose text nobody was given."""
    return parted(energy, lost_joules=energy.joules, tokens=0)


def to_wire(energy: Energy) -> dict[str, Any]:
    """Give it as it travels, with what follows from it: joules per token and watt-hours."""
    wire = {**codec.plain(energy), "watt_hours": energy.watt_hours, "joules_per_token": energy.joules_per_token}
    return {
        key: float(f"{value:.6g}") if isinstance(value, float) else value  # six digits are more than any sensor has
        for key, value in wire.items()
        if value is not None
    }


def from_wire(wire: Mapping[str, Any]) -> Energy:
    """Read it; what follows from it is worked out anew. Raises `BadRequest`."""
    return codec.build(Energy, wire)


def told(wire: object) -> Energy | None:
    """Read what a stranger says of energy; None for what can't be read, since a figure that nobody needs for the answer must not
    spoil it."""
    try:
        return from_wire(wire) if isinstance(wire, Mapping) else None
    except BadRequest:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSample:
    """What a device draws at one moment, on `llm.v1.power.<device>`. `rail` names what `watts` is of, `rails` all that were read.

    `energy_j` counts up from the agent's start, so that whoever misses samples still knows the energy between two of them.
    `idle_w` is the baseline that jobs are charged above.
    """

    device: Token
    boot: Token
    seq: Count
    at_unix_s: Finite
    watts: Watts
    rail: Annotated[str, MaxLen(64)]
    source: Name
    measured: bool
    uncertainty: Uncertainty
    rails: Rails = field(default_factory=dict)
    idle_w: Watts | None = None
    energy_j: Joules = 0.0
    in_flight: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSummary:
    """What a device has drawn in an interval, usually a minute, for the ledger: one number in `seq` for each of a `boot`.

    `energy_j` is all of it, `jobs_j` what was charged to jobs that ended in it, above idle. `in_flight` is how many jobs there were
    at once on average; heat and memory are those at its end.
    """

    device: Token
    boot: Token
    seq: Count
    from_unix_s: Finite
    to_unix_s: Finite
    samples: Count
    mean_w: Watts
    least_w: Watts
    most_w: Watts
    energy_j: Joules
    jobs_j: Joules = 0.0
    jobs: Count = 0
    idle_w: Watts | None = None
    source: Name = "model"
    measured: bool = False
    uncertainty: Uncertainty = 1.0
    in_flight: Annotated[Finite, Ge(0), Le(1e6)] | None = None
    temperature_c: Celsius = None
    memory_used_bytes: Count | None = None
    memory_total_bytes: Count | None = None
