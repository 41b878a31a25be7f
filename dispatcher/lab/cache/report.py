"""The figures of an evaluation as text and as JSON; it computes none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from dispatcher.lab.cache.curves import Point
from dispatcher.lab.cache.evaluate import Report, Row
from dispatcher.lab.intervals import Interval


def as_text(report: Report) -> str:
    """Write tables for people."""
    rate = 100 * report.wish.error_rate
    head = (
        f"{report.questions} test questions of {report.intents} intents; embedder {report.embedder}; verifier: {report.verifier}.\n"
        "hits and errors in % of all requests, [95 % intervals over intents]; "
        f"times: hits over those of plain cosine, both at their best threshold that errs on {rate:g} % of all requests at most"
    )
    parts = [head]
    tests = dict.fromkeys(row.test for row in report.rows)
    parts += [f"\n{test}\n" + _table(_rows([row for row in report.rows if row.test == test], rate)) for test in tests]
    if report.sizes:
        lines = [("scope", "entries", "policy", "hits", "errors", "precision")]
        lines += [
            (
                one.test,
                str(one.entries),
                one.policy,
                _ranged(one.point.hits),
                _ranged(one.point.errors),
                _ranged(one.point.precision),
            )
            for one in report.sizes
        ]
        parts.append("\nby scope size, each policy at its own threshold\n" + _table(lines))
    return "\n".join(parts)


def _rows(rows: Sequence[Row], rate: float) -> Iterable[tuple[str, ...]]:
    yield ("policy", f"hits at {rate:g} %", "errors", "times", "as set: hits", "errors", "precision")
    for row in rows:
        fixed = row.policy.startswith("cosine 0.")
        found = (
            ("", "", "") if fixed else (_ranged(row.at_error.hits), _ranged(row.at_error.errors), _times(row.at_error))
        )
        own = row.as_set
        yield (
            row.policy,
            *found,
            *(("", "", "") if own is None else (_ranged(own.hits), _ranged(own.errors), _ranged(own.precision))),
        )


def _times(point: Point) -> str:
    found = point.times
    if found is None or not math.isfinite(found.value):
        return "n/a"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _ranged(one: Interval) -> str:
    if math.isnan(one.value):
        return "n/a"
    return f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def _table(rows: Iterable[Sequence[str]]) -> str:
    rows = [tuple(row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def as_json(report: Report) -> dict[str, Any]:
    """Give all figures, the curves among them, as plain values."""
    return {
        "embedder": report.embedder,
        "verifier": report.verifier,
        "questions": report.questions,
        "intents": report.intents,
        "error_rate": report.wish.error_rate,
        "seed": report.wish.seed,
        "folds": report.wish.folds,
        "repeats": report.wish.repeats,
        "rows": [
            {
                "test": row.test,
                "policy": row.policy,
                "at_error": _point(row.at_error),
                "as_set": None if row.as_set is None else _point(row.as_set),
                "curve": {
                    "cut": [_finite(one) for one in row.curve.cuts.tolist()],
                    "hits": row.curve.hit_rate.tolist(),
                    "errors": row.curve.error_rate.tolist(),
                },
            }
            for row in report.rows
        ],
        "sizes": [
            {"test": one.test, "entries": one.entries, "policy": one.policy, **_point(one.point)}
            for one in report.sizes
        ],
        "notes": list(report.notes),
    }


def _point(point: Point) -> dict[str, Any]:
    named = {"hits": point.hits, "errors": point.errors, "precision": point.precision, "times": point.times}
    return {"cut": _finite(point.cut)} | {
        name: None if one is None else [_finite(one.value), _finite(one.low), _finite(one.high)]
        for name, one in named.items()
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) and abs(value) < 1e300 else None
