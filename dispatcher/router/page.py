"""What tables of the routing file are made of: strict fields, with their bounds."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator, AllowInfNan, BaseModel, ConfigDict

from common.errors import BadRequest
from dispatcher.routing import require_strategy


class Page(BaseModel):
    """Types are taken as they come: neither true nor "0.4" is a weight."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _known(strategy: str) -> str:
    try:
        require_strategy(strategy)
    except BadRequest as error:
        raise ValueError(error.message) from error
    return strategy


StrategyName = Annotated[str, AfterValidator(_known)]
Finite = Annotated[float, AllowInfNan(allow_inf_nan=False)]
Name = Annotated[str, MinLen(1), MaxLen(64)]
Pattern = Annotated[str, MinLen(1), MaxLen(200)]
Watts = Annotated[Finite, Ge(0), Le(1_000_000)]
PerKwh = Annotated[Finite, Ge(0), Le(1_000_000)]
Grams = Annotated[Finite, Ge(0), Le(100_000)]
