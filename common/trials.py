"""What is tried in a dry run: other weights of the hybrid score than those that hold; it knows no score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le
from pydantic import AllowInfNan, ConfigDict

from common import codec
from common.errors import BadRequest

MOST_WEIGHT = 1000.0

_Weight = Annotated[float, AllowInfNan(allow_inf_nan=False), Ge(0), Le(MOST_WEIGHT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialWeights:
    """Weights of the three terms; what counts is how they are to each other, so at least one is above 0."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    tokens: _Weight
    topic: _Weight
    health: _Weight


def read_weights(wire: Any) -> TrialWeights:
    """Read what somebody tries. Raises `BadRequest` that names what is wrong."""
    if not isinstance(wire, dict):
        raise BadRequest(
            f'weights is {codec.kind(wire)}: send {{"tokens":0.4,"topic":0.2,"health":0.4}}', param="weights"
        )
    try:
        found = codec.build(TrialWeights, wire)
    except BadRequest as error:
        raise BadRequest(f"weights: {error.message}", param="weights") from error
    if not (found.tokens or found.topic or found.health):
        raise BadRequest("weights are all 0: at least one must be above it", param="weights")
    return found
