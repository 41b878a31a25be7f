"""By live health and recent latency alone (requirement A2)."""

from __future__ import annotations

from dispatcher.routing.strategies.seam import Scene, Scores


def perf(scene: Scene) -> Scores:
    """Score by H_latency."""
    return Scores(scene.terms.health)
