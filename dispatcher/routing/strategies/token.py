"""By size: short prompts to the small devices, long ones to the capable (requirement A2). `token:1000` sets the threshold."""

from __future__ import annotations

import numpy as np

from common.errors import BadRequest
from dispatcher.routing.strategies.seam import Scene, Scores
from dispatcher.routing.strategies.tiers import spread

HEALTH_SHARE = 0.2
"""Among devices of one size the healthy one is taken."""


def token(scene: Scene) -> Scores:
    """Score by capability, upwards from the threshold on and downwards below. Raises `BadRequest` for a threshold that is none.

    Capability is the mean of the model's strength and the logarithm of the prefill speed, both stretched over those at hand.
    """
    capability = (spread(scene.options.strength) + spread(np.log(scene.options.prefill_tps))) / 2
    long = scene.ask.wanted.prompt_tokens >= _threshold(scene)
    values = (1.0 - HEALTH_SHARE) * (capability if long else 1.0 - capability) + HEALTH_SHARE * scene.terms.health
    return Scores(values, details={"capability": capability})


def _threshold(scene: Scene) -> int:
    given = scene.ask.variant
    if not given:
        return scene.policy.token_threshold
    if not given.isascii() or not given.isdigit() or not 0 < len(given) < 8:
        raise BadRequest(f"the threshold {given[:40]!r} is no number of tokens: write token:500", param="strategy")
    return int(given)
