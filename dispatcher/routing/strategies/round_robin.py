"""A baseline: one device after the other, in the order of their names, whatever is asked."""

from __future__ import annotations

import numpy as np

from dispatcher.routing.strategies.seam import Scene, Scores


def round_robin(scene: Scene) -> Scores:
    """Put the device whose turn it is first, and the others behind it in their order."""
    names = scene.devices
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    after = np.array([(place[name] - scene.ask.turn) % len(place) for name in names], dtype=np.float64)
    return Scores(1.0 - after / max(1, len(place)), local_first=False, rule="each device in its turn")
