"""How good a router's order is: PGR, APGR, CPT, AUROC and their bootstrap intervals; it knows no router and no file.

A score orders the prompts; the share `c` with the highest scores goes to the strong model. `gain` is strong minus weak, per prompt.
PGR(c) is the part of the gap between the models that is recovered, APGR its integral over c, CPT(x) the least c with PGR >= x.
Random calls give PGR(c) = c, so 0.5 is what an APGR must be held against.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatcher.lab.router.bootstrap import Interval, bounds, resampled

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

BINS = 10
"""RouteLLM's evaluation cuts at the edges of ten quantile bins (routellm/evals/evaluate.py)."""


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
    return float(np.argmax(curve >= part - 1e-9) / max(1, len(gain)))  # sums of thirds fall short of their whole


def auroc(score: Floats, positive: NDArray[np.bool_]) -> float:
    """Give the chance that a positive scores above a negative, ties counting half; NaN where one of them is missing."""
    ups, downs = int(positive.sum()), int((~positive).sum())
    if ups == 0 or downs == 0:
        return float("nan")
    _, at, counts = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    return float((middle[at][positive].sum() - ups * (ups + 1) / 2) / (ups * downs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How good an order of prompts is; each figure with its interval."""

    apgr: Interval
    cpt50: Interval
    cpt80: Interval
    auroc_gain: Interval
    auroc_weak_fails: Interval
    apgr_binned: float
    cpt50_binned: float
    pgr45: float


def judge(
    score: Floats, weak: Floats, strong: Floats, *, group: Rows | None = None, draws: int = 1000, seed: int = 0
) -> Order:
    """Judge a score. The label of the first AUROC is a gain over 0, of the second a weak answer below one half.

    `group` numbers what belongs together and is drawn together for the intervals; None where all prompts are independent.
    """
    gain = strong - weak
    group = np.arange(len(gain)) if group is None else group
    found = resampled(score, gain, weak < 0.5, group, draws=draws, seed=seed)
    values = (
        apgr(score, gain),
        cpt(score, gain, 0.5),
        cpt(score, gain, 0.8),
        auroc(score, gain > 0),
        auroc(score, weak < 0.5),
    )
    figures = [Interval(value, *bounds(column)) for value, column in zip(values, found.T, strict=True)]
    return Order(
        apgr=figures[0],
        cpt50=figures[1],
        cpt80=figures[2],
        auroc_gain=figures[3],
        auroc_weak_fails=figures[4],
        apgr_binned=apgr_binned(score, gain),
        cpt50_binned=cpt_binned(score, gain, 0.5),
        pgr45=pgr_at(score, gain, 0.45),
    )


def lead(
    score: Floats, other: Floats, gain: Floats, *, group: Rows | None = None, draws: int = 1000, seed: int = 0
) -> Interval:
    """Give how much more APGR `score` has than `other` on the same prompts, each draw judging both: paired, so what is hard for
    both does not count."""
    group = np.arange(len(gain)) if group is None else group
    fails = np.zeros(len(gain), dtype=bool)
    mine, theirs = (resampled(one, gain, fails, group, draws=draws, seed=seed)[:, 0] for one in (score, other))
    return Interval(apgr(score, gain) - apgr(other, gain), *bounds(mine - theirs))
