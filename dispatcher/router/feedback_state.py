"""What the file holds in which a dispatcher keeps what feedback taught it, with its bounds: anybody may have changed it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Le, MaxLen

from dispatcher.routing.feedback import FACTOR, SHARE_DOWN, SHARE_UP, Learned

MOST_TENANTS = 256
"""Tenants of whom something is remembered; whoever was not heard for longest is forgotten, and gets the owner's weights."""

MOST_KINDS = 20
"""Kinds of questions that a tenant's ratings are counted by: five, and the owner's topics."""

_Log = Annotated[float, Ge(-math.log(FACTOR)), Le(math.log(FACTOR))]
_Liked = tuple[Annotated[int, Ge(0)], Annotated[float, Ge(0), Le(1)]]
"""How many ratings there were, and their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the file says of one tenant: what was learned, and how each kind of question was liked."""

    logs: tuple[_Log, _Log, _Log] = (0.0, 0.0, 0.0)
    share: Annotated[float, Ge(-SHARE_DOWN), Le(SHARE_UP)] = 0.0
    usual: Annotated[float, Ge(0), Le(1)] | None = None
    outcomes: Annotated[int, Ge(0)] = 0
    kinds: Annotated[dict[str, _Liked], MaxLen(MOST_KINDS)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The file. Version 1 learned for all tenants as one."""

    version: Literal[2] = 2
    tenants: Annotated[dict[str, Kept], MaxLen(MOST_TENANTS)] = field(default_factory=dict)


def kept_of(learned: Learned, kinds: Mapping[str, tuple[int, float]]) -> Kept:
    """Give what is written of a tenant."""
    return Kept(
        logs=learned.logs, share=learned.share, usual=learned.usual, outcomes=learned.outcomes, kinds=dict(kinds)
    )


def learned_of(kept: Kept) -> Learned:
    """Give what was learned, as it was written."""
    return Learned(logs=kept.logs, share=kept.share, usual=kept.usual, outcomes=kept.outcomes)
