"""By topic: the device whose topics are nearest to the question (requirement A2); among equals the healthiest."""

from __future__ import annotations

from dispatcher.routing.strategies.seam import Scene, Scores

HEALTH_SHARE = 0.05
"""Small: only near ties are broken by it."""


def semantic(scene: Scene) -> Scores:
    """Score by the similarity of the question to the centroids of the device's topics."""
    return Scores((1.0 - HEALTH_SHARE) * scene.terms.topic + HEALTH_SHARE * scene.terms.health)
