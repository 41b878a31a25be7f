"""A baseline: by lot, the same for the same job."""

from __future__ import annotations

import numpy as np

from dispatcher.routing.strategies.seam import Scene, Scores


def random(scene: Scene) -> Scores:
    """Give each row a number in [0, 1) that the job's seed decides."""
    lots = np.random.default_rng(scene.ask.seed).random(len(scene.options))
    return Scores(lots, local_first=False, rule="by lot, another one for each job")
