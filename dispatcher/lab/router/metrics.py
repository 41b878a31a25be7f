"""How good a router's order is: PGR, APGR, CPT, AUROC and their bootstrap intervals; it knows no router and no file.

A score orders the prompts; the share `c` with the highest scores goes to the strong model. `gain` is strong minus weak, per prompt.
PGR(c) is the part of the gap between the models that is recovered, APGR its integral over c, CPT(x) the least c with PGR >= x.
Random calls give PGR(c) = c, so 0.5 is what an APGR must be held against.
"""

from __future__ import annotations

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


def judge(score: Floats, weak: Floats, strong: Floats, *, draws: int = 1000, seed: int = 0) -> Order:
    """Judge a score. The label of the first AUROC is a gain over 0, of the second a weak answer below one half."""
    gain = strong - weak
    intervals = _resampled(score, gain, weak < 0.5, draws, np.random.default_rng(seed))
    values = (
        apgr(score, gain),
        cpt(score, gain, 0.5),
        cpt(score, gain, 0.8),
        auroc(score, gain > 0),
        auroc(score, weak < 0.5),
    )
    figures = [Interval(value, low, high) for value, (low, high) in zip(values, intervals, strict=True)]
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


def _resampled(
    score: Floats, gain: Floats, fails: NDArray[np.bool_], draws: int, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Give the 2.5 % and 97.5 % quantiles of five figures over draws of the prompts with replacement.

    The prompts are sorted once, and a draw is how often each of them occurs. Equal scores are in random order.
    Draws in which a figure is not defined are left out of it.
    """
    order = np.lexsort((rng.random(len(score)), -score))
    gain, up, fails = gain[order], gain[order] > 0, fails[order]
    drawn = np.array(
        [
            _once(np.bincount(rng.integers(0, len(score), len(score)), minlength=len(score)), gain, up, fails)
            for _ in range(draws)
        ]
    )
    bounds = []
    for figures in drawn.reshape(draws, 5).T:
        sound = figures[np.isfinite(figures)]
        low, high = np.quantile(sound, [0.025, 0.975]) if len(sound) else (np.nan, np.nan)
        bounds.append((float(low), float(high)))
    return bounds


def _once(times: NDArray[np.intp], gain: Floats, up: NDArray[np.bool_], fails: NDArray[np.bool_]) -> tuple[float, ...]:
    recovered = np.cumsum(times * gain)
    share = np.cumsum(times) / times.sum()
    total = recovered[-1]
    if total <= 0:
        return (np.nan, np.nan, np.nan, _ranked(times, up), _ranked(times, fails))
    area = float((times * (recovered - times * gain / 2)).sum() / times.sum() / total)
    half, most = (float(share[np.argmax(recovered >= part * total)]) for part in (0.5, 0.8))
    return (area, half, most, _ranked(times, up), _ranked(times, fails))


def _ranked(times: NDArray[np.intp], positive: NDArray[np.bool_]) -> float:
    """Give the AUROC of prompts that are in falling order of score, each so many times."""
    ups, downs = times * positive, times * ~positive
    if not ups.any() or not downs.any():
        return float("nan")
    return float((ups[::-1] * (np.cumsum(downs[::-1]) - downs[::-1] / 2)).sum() / ups.sum() / downs.sum())
