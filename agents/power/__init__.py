"""What the device draws: readers of sensors behind one protocol, each in its own file; what jobs take of it is not known here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a reader saw at one moment of the monotonic clock. `rail` names what `watts` is of: a rail of the board, or how several
    were added. `uncertainty` is half the width of a 95 % interval, as a share of `watts`."""

    at_s: float
    watts: float
    rail: str
    source: str
    measured: bool
    uncertainty: float
    most_hz: float = math.inf
    """Whoever reads more often costs the device more than the hundredth of a core that watching it may."""
    rails: Mapping[str, float] = field(default_factory=dict)
    """What was read of single rails, in watts; `measured` tells of `watts` alone: a sensor of all that the device draws gave it,
    and neither a fit nor a model nor a sensor of only a part, such as the CPU's package."""


class Unreadable(Exception):
    """There is nothing to read with this reader, and why: no such sensor, no permission, no service. The text is for the owner."""


class Absent(Unreadable):
    """This device has no such sensor: nothing is broken, nothing is to be mended."""


class PowerReader(Protocol):
    """One way to learn what the device draws. Making one touches nothing: `read` opens what it needs, also after a `close`."""

    name: str
    """As `DROVER_POWER` names it, and as samples tell it."""

    async def read(self) -> Reading:
        """Read once; never blocks the event loop. Raises `Unreadable`."""
        ...

    async def close(self) -> None:
        """Let go of processes and connections."""
        ...


class PowerSource(PowerReader, Protocol):
    """What an agent reads its watts from: one reader, or the best of several."""

    async def seek(self) -> None:
        """Look for a better reader now and then, beside the reads; runs as long as the agent."""
        ...
