"""A baseline: by lot, the same for the same job."""

from __future__ import annotations

from dispatcher.routing.strategies.lots import uniform
from dispatcher.routing.strategies.seam import Scene, Scores


def random(scene: Scene) -> Scores:
    """Give each row a number in [0, 1) that the job's seed decides."""
    return Scores(
        uniform(scene.ask.seed, len(scene.options)), local_first=False, rule="by lot, another one for each job"
    )
