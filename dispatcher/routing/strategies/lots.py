"""Chance for a pure function: numbers that a seed decides, in a few microseconds."""

from __future__ import annotations

import numpy as np

from dispatcher.routing.figures import Numbers

_STEP = 0x9E3779B97F4A7C15
_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MASK = 2**64 - 1


def uniform(seed: int, count: int) -> Numbers:
    """Give uniform numbers in [0, 1): SplitMix64 (Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators). A
    generator of numpy takes ten times as long to begin."""
    begin = np.uint64(seed * _STEP * _STEP & _MASK)
    bits = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_STEP) + begin
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX[0]
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX[1]
    return ((bits ^ (bits >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
