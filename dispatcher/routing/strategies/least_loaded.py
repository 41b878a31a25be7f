"""A baseline: the device with the fewest jobs for each of its slots."""

from __future__ import annotations

from dispatcher.routing.strategies.seam import Scene, Scores


def least_loaded(scene: Scene) -> Scores:
    """Score by room alone."""
    return Scores(scene.options.room, local_first=False)
