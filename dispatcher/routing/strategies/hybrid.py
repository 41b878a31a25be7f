"""S = w1*C_tokens + w2*Sim_centroid + w3*H_latency, weights normalised to a sum of 1 (requirement A3)."""

from __future__ import annotations

from dispatcher.routing.strategies.seam import Scene, Scores


def hybrid(scene: Scene) -> Scores:
    """Weigh the three terms."""
    weights, parts = scene.policy.normalised(), scene.terms
    values = weights["tokens"] * parts.tokens + weights["topic"] * parts.topic + weights["health"] * parts.health
    return Scores(values, weights)
