"""A baseline: one device after the other, in the order of their names, whatever is asked."""

from __future__ import annotations

import numpy as np

from dispatcher.routing.strategies.seam import Scene, Scores


def round_robin(scene: Scene) -> Scores:
    """Put the device whose turn it is first, and the others behind it in their order."""
    devices, place = np.unique(scene.device_of, return_inverse=True)
    many = max(1, len(devices))
    return Scores(1.0 - (place - scene.ask.turn) % many / many, local_first=False, rule="each device in its turn")
