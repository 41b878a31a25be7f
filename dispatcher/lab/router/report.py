"""The figures of an evaluation as JSON and as Markdown, ready to be read beside each other; it computes none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from dispatcher.lab.router.bootstrap import Interval
from dispatcher.lab.router.evaluate import COPIES_TOGETHER, HEADS_TOGETHER, Report
from dispatcher.lab.router.judging import Row

_BOTH = (HEADS_TOGETHER, COPIES_TOGETHER)

_SPLITS = (
    "The same prompts, divided by the other rule. Those that begin alike over 100 characters are often of one template (MMLU's "
    "moral scenarios are), so that keeping them together makes a whole kind unseen: the figures then say what a router knows "
    "of new kinds. With copies alone together it may have seen the kind, and never the prompt: what to expect on traffic like the "
    "labels."
)


def as_json(report: Report) -> dict[str, Any]:
    """Give all figures but the curves; what is not defined is null."""
    return {
        "plan": asdict(report.plan),
        "train_rows": report.train_rows,
        "given": report.given,
        "notes": list(report.notes),
        "rows": [_clean(asdict(row)) for row in report.rows],
        "domains": [_clean(asdict(row)) for row in report.domains],
    }


def as_markdown(report: Report, title: str) -> str:
    """Write the tables: the order of the prompts, accuracy at fixed shares of strong calls, domains."""
    parts = [f"# {title}", *report.notes, _how(report)]
    for test in dict.fromkeys(row.test for row in report.rows):
        rows = [row for row in report.rows if row.test == test]
        parts += [_heading(test, rows[0]), *([_SPLITS] if test in _BOTH else []), _orders(rows), _points(rows)]
    if len(report.domains) > 1:
        parts += ["## Domains, scored by the router", _domains(report)]
    return "\n\n".join(parts) + "\n"


def _how(report: Report) -> str:
    plan = report.plan
    how = (
        f"{plan.repeats} draws of a training set"
        if plan.train_rows is not None
        else f"{plan.folds} folds, {plan.repeats} times"
    )
    together = "prompts that begin alike stay together" if plan.grouped else "copies of a prompt stay together"
    drawn = "domains" if plan.by_domain else "prompts, those that begin alike together (for unseen domains: domains)"
    how = report.given or f"Out of sample: {how}, {report.train_rows} rows trained on, {together}."
    return (
        f"{how} Seed {plan.seed}. […] are 95 % bootstrap intervals over {drawn}; other training prompts would move the figures too "
        "(`spread`: standard deviation between the repeats). `over …`: the difference in APGR, judged on the same draws. "
        "APGR: random calls give 0.5. CPT: strong calls needed for 50 % and 80 % of the gap. AUROC (gain): strong better than "
        "weak; AUROC (fails): weak wrong, which is not what routing needs. "
        f"Savings: a weak call costs {plan.cost_ratio:g} of a strong one; a cascade pays every weak call."
    )


def _heading(test: str, row: Row) -> str:
    weak, strong = 100 * row.weak, 100 * row.strong
    return f"## Test: {test} ({row.count} prompts; always weak {weak:.1f} % right, always strong {strong:.1f} %)"


def _orders(rows: Iterable[Row]) -> str:
    return _table(
        (
            "method",
            "APGR",
            "spread",
            "over length",
            "over random",
            "APGR, 11 points",
            "CPT50 %",
            "CPT80 %",
            "PGR at 45 %",
            "AUROC (gain)",
            "AUROC (fails)",
        ),
        (
            (
                row.method,
                _ranged(row.order.apgr),
                "" if row.spread is None else _plain(row.spread),
                _ranged(row.over_length, sign=True),
                _ranged(row.over_chance, sign=True),
                _plain(row.order.apgr_binned),
                _ranged(row.order.cpt50, 100),
                _ranged(row.order.cpt80, 100),
                _plain(row.order.pgr45),
                _ranged(row.order.auroc_gain),
                _ranged(row.order.auroc_weak_fails),
            )
            for row in rows
        ),
    )


def _points(rows: list[Row]) -> str:
    shares = [point.share for point in rows[0].points]
    return _table(
        ("accuracy % (cost saved %) at", *(f"{100 * share:g} % strong" for share in shares)),
        (
            (row.method, *(f"{_plain(point.accuracy, 100)} ({100 * point.saved:.0f})" for point in row.points))
            for row in rows
        ),
    )


def _domains(report: Report) -> str:
    return _table(
        ("domain", "prompts", "weak %", "strong %", "gain", "predicted", "APGR inside"),
        (
            (
                row.domain,
                str(row.count),
                _plain(row.weak, 100),
                _plain(row.strong, 100),
                _plain(row.mean_gain),
                _plain(row.mean_score),
                _plain(row.apgr),
            )
            for row in sorted(report.domains, key=lambda row: -row.count)
        ),
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


def _plain(value: float, times: float = 1) -> str:
    return "n/a" if math.isnan(value) else f"{times * value:.{1 if times > 1 else 3}f}"


def _ranged(interval: Interval, times: float = 1, *, sign: bool = False) -> str:
    if math.isnan(interval.value):
        return "n/a"
    plus = "+" if sign and interval.value >= 0 else ""
    return f"{plus}{_plain(interval.value, times)} [{_plain(interval.low, times)}, {_plain(interval.high, times)}]"


def _clean(value: Any) -> Any:
    """Replace what JSON can't say by null."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {key: _clean(one) for key, one in value.items()}
        case list() | tuple():
            return [_clean(one) for one in value]
        case _:
            return value
