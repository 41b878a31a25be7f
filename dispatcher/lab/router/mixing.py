"""How the three opinions and the lean towards length are mixed: found on the training rows alone; it fits nothing and sees no test.

Every mix of a small grid is judged by the order into which it brings the training rows, each as predicted from the others; the
shares are the mean of the best few, which is steadier than the very best. It was measured against one mix for all data, which had
been picked with test figures in view (half a straight line, a kernel, neighbours, a lean of a half): within 0.003 APGR of it on the
mean of each of MMLU, GSM8K and LLMRouter, with the shipped embedder and with MiniLM, while the single best mix lost up to 0.010 on
one division. Five folds in place of leaving one out gave the same at five times the time. It is asked twice: with each row
predicted from others of all kinds, and with its kind unseen: what orders known kinds best orders new ones worse (FINDINGS.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dispatcher.lab.router.least_squares import Ridge
from dispatcher.lab.router.metrics import apgr
from dispatcher.routing.trained import Blend

Floats = NDArray[np.float64]

MEAN_OF = 8
"""So many of the best mixes are averaged; 3 and 5 did as well within 0.003 on all but one division of GSM8K."""

LEAST_GAP_ROWS = 20
"""With fewer prompts for which one model is better, no order can be told from another: then all mixes count the same."""


class Shares(NamedTuple):
    """How much each opinion counts, at the same spread; `length` is the lean towards longer prompts."""

    ridge: float
    kernel: float
    knn: float
    length: float


def grid(opinions: Sequence[tuple[float, float, float]], lengths: Sequence[float]) -> tuple[Shares, ...]:
    """Give each mix of opinions with each lean."""
    return tuple(Shares(*mix, lean) for mix in opinions for lean in lengths)


LENGTHS = (0.0, 0.25, 0.5, 1.0)
MIXES = grid(
    (
        (1.0, 0.0, 0.0),
        (0.0, 1.0, 0.0),
        (0.0, 0.0, 1.0),
        (0.0, 1.0, 1.0),
        (0.5, 1.0, 0.0),
        (0.5, 1.0, 1.0),
        (1.0, 1.0, 1.0),
        (1.0, 0.0, 1.0),
    ),
    LENGTHS,
)


def choose(parts: Floats, gain: Floats, mixes: Sequence[Shares], mean_of: int = MEAN_OF) -> Shares:
    """Find the shares. `parts` are the opinions of each row without it, and the length: four rows, each of spread 1 or constant.

    1. The best mixes by APGR, each brought to a sum of 1, averaged. 2. Where there is no gap to recover or too little to tell by,
    the mean of all.
    """
    told = float(gain.sum()) > 0 and int(np.count_nonzero(gain)) >= LEAST_GAP_ROWS
    best = sorted(mixes, key=lambda mix: -apgr(np.array(mix) @ parts, gain))[:mean_of] if told else mixes
    mean = np.mean([np.array(mix) / max(sum(mix), 1e-9) for mix in best], axis=0)
    return Shares(*(float(share) for share in mean))


def between(known: Shares, new: Shares) -> Shares:
    """Give the middle of what is best for prompts of kinds that were seen, and of kinds that were not."""
    return Shares(*((one + other) / 2 for one, other in zip(known, new, strict=True)))


def leaning(line: Ridge, length: Floats, at: int | None, shares: Shares, spreads: tuple[float, float]) -> Ridge:
    """Bring the lean into the straight line, at its own spread. `at` is where length stands among its weights, None for nowhere."""
    whole = shares.ridge + shares.length
    if at is None or shares.length <= 0:
        return line
    keep, slope = shares.ridge / whole, shares.length / whole * spreads[0] / spreads[1]
    weights = keep * line.weights
    weights[at] += slope
    middle = (1 - keep) * line.bias  # so that it still reads as a gain
    left_out, apart = (keep * one + middle + slope * length for one in (line.left_out, line.apart))
    return Ridge(weights, keep * line.bias + middle, left_out, line.loss, apart)


def blend(opinions: Floats, spreads: Floats, gain: Floats, shares: Shares) -> tuple[Blend, Floats]:
    """Mix three opinions, the first with its lean, and bring the sum to the scale of the gain by one straight line.

    Gives the mix, and what it says of each row.
    """
    parts = np.array([shares.ridge + shares.length, shares.kernel, shares.knn]) / spreads
    mixed = parts @ opinions
    spread = float(mixed.var())
    slope = max(float(np.mean((mixed - mixed.mean()) * (gain - gain.mean()))) / spread, 1e-6) if spread > 0 else 1e-6
    parts = parts * slope
    bias = float(gain.mean() - slope * mixed.mean())
    return Blend(bias=bias, ridge=float(parts[0]), kernel=float(parts[1]), knn=float(parts[2])), bias + slope * mixed
