"""How good a router's order is: PGR, APGR, CPT, AUROC and their bootstrap intervals; it knows no router and no file.

A score orders the prompts; the share `c` with the highest scores goes to the strong model. `gain` is strong minus weak, per prompt.
PGR(c) is the part of the gap between the models that is recovered, APGR its integral over c, CPT(x) the least c with PGR >= x.
Random calls give PGR(c) = c, so 0.5 is what an APGR must be held against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 10
"""RouteLLM's evaluation cuts at the edges of ten quantile bins (routellm/evals/evaluate.py)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the bounds of its 95 % bootstrap interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


def pgr_curve(score: Floats, gain: Floats) -> Floats:
    """Give PGR at the cuts 0, 1/n, ..., 1. Prompts of equal score share their gain, as a coin would deal them out.

    NaN throughout where the strong model is no better on the whole: then there is no gap to recover.
    """
    total = float(gain.sum())
    if len(gain) == 0 or total <= 0:
        return np.full(len(gain) + 1, np.nan)
    order = np.argsort(-score, kind="stable")
    _, first, size = np.unique(-score[order], return_index=True, return_counts=True)
    shared = np.repeat(np.add.reduceat(gain[order], first) / size, size)
    curve = np.concatenate([[0.0], np.cumsum(shared)]) / total
    curve[-1] = 1.0
    return np.asarray(curve, dtype=np.float64)


def apgr(score: Floats, gain: Floats) -> float:
    """Give the area under PGR(c) over all n + 1 cuts."""
    curve = pgr_curve(score, gain)
    return float((curve[:-1] + curve[1:]).mean() / 2) if len(curve) > 1 else float("nan")


def binned(score: Floats, gain: Floats, bins: int = BINS) -> tuple[Floats, Floats]:
    """Give the share of strong calls and the PGR at the `bins` + 1 thresholds that RouteLLM looks at, calls rising.

    The thresholds are the edges of quantile bins. Scores at the edge are strong, except at the last, where none is.
    """
    edges = np.quantile(score, np.linspace(0, 1, bins + 1))
    chosen = [score >= edge for edge in edges[:-1]] + [score > edges[-1]]
    total = float(gain.sum())
    return (
        np.array([mask.mean() for mask in reversed(chosen)]),
        np.array([gain[mask].sum() / total if total > 0 else np.nan for mask in reversed(chosen)]),
    )


def apgr_binned(score: Floats, gain: Floats, bins: int = BINS) -> float:
    """Give APGR as RouteLLM computes it: the trapezium rule over `binned`."""
    calls, recovered = binned(score, gain, bins)
    return float(((recovered[1:] + recovered[:-1]) / 2 * np.diff(calls)).sum())


def cpt_binned(score: Floats, gain: Floats, part: float, bins: int = BINS) -> float:
    """Give CPT as RouteLLM computes it: interpolated between the points of `binned`."""
    calls, recovered = binned(score, gain, bins)
    return float(np.interp(part, recovered, calls))


def pgr_at(score: Floats, gain: Floats, share: float) -> float:
    """Give PGR where `share` of the prompts goes to the strong model."""
    curve = pgr_curve(score, gain)
    return float(np.interp(share * (len(curve) - 1), np.arange(len(curve)), curve))


def cpt(score: Floats, gain: Floats, part: float) -> float:
    """Give the least share of strong calls that recovers `part` of the gap."""
    curve = pgr_curve(score, gain)
    if np.isnan(curve).any():
        return float("nan")
    return float(np.argmax(curve >= part) / max(1, len(gain)))


def auroc(score: Floats, positive: NDArray[np.bool_]) -> float:
    """Give the chance that a positive scores above a negative, ties counting half; NaN where one of them is missing."""
    ups, downs = int(positive.sum()), int((~positive).sum())
    if ups == 0 or downs == 0:
        return float("nan")
    values, at, counts = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    return float((middle[at][positive].sum() - ups * (ups + 1) / 2) / (ups * downs))


def bootstrap(figure: Callable[[NDArray[np.intp]], float], count: int, *, draws: int = 1000, seed: int = 0) -> Interval:
    """Give a figure with its 95 % interval over draws of the test prompts with replacement.

    `figure` gets the indices of the prompts that were drawn. Draws where it is not defined are left out.
    """
    rng = np.random.default_rng(seed)
    drawn = np.array([figure(rng.integers(0, count, count)) for _ in range(draws)]) if count else np.array([])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (float("nan"), float("nan"))
    return Interval(figure(np.arange(count)), float(low), float(high))
