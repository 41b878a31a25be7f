"""An evaluation of the cache as a manifest: policies side by side on each test, hits over wrong answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

from dispatcher.experiments.manifest import (
    MOST_ARMS,
    MOST_PLOTS,
    Arm,
    Figure,
    Kind,
    Manifest,
    Metric,
    Plot,
    Rows,
    known,
    line,
)
from dispatcher.experiments.writing import caveats, environment
from dispatcher.lab.cache.evaluate import Report, Row
from dispatcher.lab.intervals import Interval

METRICS = (
    Metric(name="hits", what="requests that get a kept answer, at the error rate", better="high"),
    Metric(name="errors", what="requests that get a wrong one then", better="low"),
    Metric(name="precision", what="right ones among the kept answers then", better="high"),
    Metric(name="times", what="hits over those of plain cosine at the same error rate", better="high"),
    Metric(name="hits_as_set", what="requests that get a kept answer, as it is set", better="high"),
    Metric(name="errors_as_set", what="requests that get a wrong one, as it is set", better="low"),
)


def manifest(report: Report, data: Sequence[str], *, rows: Rows, now_unix_s: float) -> Manifest:
    """Give the manifest; `data` names the files."""
    wish = report.wish
    tests = list(dict.fromkeys(row.test for row in report.rows))
    return Manifest(
        kind=Kind.CACHE,
        title=f"Cache at {100 * wish.error_rate:g} % wrong answers",
        made_unix_s=now_unix_s,
        drover=version("drover"),
        n=report.questions,
        repeats=wish.repeats,
        seed=wish.seed,
        data={"files": ", ".join(data)[:2000], "intents": str(report.intents), "folds": str(wish.folds)},
        environment=environment(embedder=report.embedder, verifier=report.verifier),
        caveats=caveats(["Intervals are over draws of whole intents.", *report.notes]),
        metrics=METRICS,
        arms=tuple(
            Arm(name=row.policy, test=row.test, n=report.questions, figures=dict(_figures(row)))
            for row in report.rows[:MOST_ARMS]
        ),
        plots=tuple(_plot(test, [row for row in report.rows if row.test == test]) for test in tests[:MOST_PLOTS]),
        rows=rows,
    )


def flat(report: Report) -> list[dict[str, Any]]:
    """Give a row for each threshold of each policy on each test."""
    return [
        {"test": row.test, "policy": row.policy, "cut": known(float(cut)), "hits": float(hits), "errors": float(errors)}
        for row in report.rows
        for cut, hits, errors in zip(row.curve.cuts, row.curve.hit_rate, row.curve.error_rate, strict=True)
    ]


def _plot(test: str, rows: Sequence[Row]) -> Plot:
    return Plot(
        title=test[:200],
        x="wrong answers, % of requests",
        y="kept answers, % of requests",
        lines=tuple(line(row.policy, _curve(row)) for row in rows),
    )


def _curve(row: Row) -> list[tuple[float, float]]:
    wrong, given = row.curve.error_rate.tolist(), row.curve.hit_rate.tolist()
    return [(100 * x, 100 * y) for x, y in zip(wrong, given, strict=True)]


def _figures(row: Row) -> Iterator[tuple[str, Figure]]:
    own = row.as_set
    found: dict[str, Interval | None] = {
        "hits": row.at_error.hits,
        "errors": row.at_error.errors,
        "precision": row.at_error.precision,
        "times": row.at_error.times,
        "hits_as_set": None if own is None else own.hits,
        "errors_as_set": None if own is None else own.errors,
    }
    for name, one in found.items():
        if one is not None and known(one.value) is not None:
            yield name, Figure(value=one.value, low=known(one.low), high=known(one.high))
