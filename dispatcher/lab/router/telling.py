"""An evaluation of routers as a manifest: methods side by side on each test, and what each recovers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

from dispatcher.experiments.manifest import MOST_ARMS, Arm, Figure, Kind, Manifest, Metric, Plot, Rows, known, line
from dispatcher.experiments.writing import caveats, environment
from dispatcher.lab.router.bootstrap import Interval
from dispatcher.lab.router.evaluate import Report
from dispatcher.lab.router.judging import Row
from dispatcher.lab.router.metrics import pgr_curve

METRICS = (
    Metric(
        name="apgr",
        what="performance gap recovered, over all shares of strong calls: random calls give 0.5",
        better="high",
    ),
    Metric(name="over_length", what="APGR more than prompt length has, paired", better="high"),
    Metric(name="over_random", what="APGR more than random calls have, paired", better="high"),
    Metric(name="cpt50", what="share of strong calls that half of the gap takes", better="low"),
    Metric(name="cpt80", what="share of strong calls that four fifths of the gap take", better="low"),
    Metric(name="auroc_gain", what="how well it tells where the strong answer is better", better="high"),
    Metric(name="accuracy_45", what="right answers with 45 % strong calls", better="high"),
    Metric(name="saved_45", what="part of the all-strong cost that is saved then", better="high"),
)
AT = 0.45


def manifest(report: Report, labels: str, *, rows: Rows, now_unix_s: float) -> Manifest:
    """Give the manifest; `labels` names what was judged on."""
    plan = report.plan
    how = report.given or "out of sample: every method is judged on prompts that it was not trained on"
    return Manifest(
        kind=Kind.ROUTER,
        title=f"Router on {labels}"[:200],
        made_unix_s=now_unix_s,
        drover=version("drover"),
        n=max((row.count for row in report.rows), default=0),
        repeats=plan.repeats,
        seed=plan.seed,
        data={"labels": labels[:200], "trained on": str(report.train_rows), "folds": str(plan.folds)},
        environment=environment(),
        caveats=caveats([how, *report.notes]),
        metrics=METRICS,
        arms=tuple(
            Arm(name=row.method, test=row.test[:2000], n=row.count, figures=dict(_figures(row)))
            for row in report.rows[:MOST_ARMS]
        ),
        plots=(
            Plot(
                title="Recovered", x="strong calls, %", y="performance gap recovered, %",
                lines=tuple(line(method, _curve(score, gain)) for method, score, gain in report.curves),
            ),
        ),
        rows=rows,
    )  # fmt: skip


def flat(report: Report) -> list[dict[str, Any]]:
    """Give a row for each method on each test."""
    return [
        {"test": row.test, "method": row.method, "n": row.count, "weak": row.weak, "strong": row.strong}
        | {
            f"{name}{end}": value
            for name, one in _figures(row)
            for end, value in (("", one.value), ("_low", one.low), ("_high", one.high), ("_spread", one.spread))
            if value is not None
        }
        for row in report.rows
    ]


def _figures(row: Row) -> Iterator[tuple[str, Figure]]:
    order = row.order
    intervals = {
        "apgr": order.apgr,
        "over_length": row.over_length,
        "over_random": row.over_chance,
        "cpt50": order.cpt50,
        "cpt80": order.cpt80,
        "auroc_gain": order.auroc_gain,
    }
    for name, one in intervals.items():
        if known(one.value) is not None:
            yield name, _ranged(one, row.spread if name == "apgr" else None)
    for point in row.points:
        if point.share == AT and known(point.accuracy) is not None:
            yield "accuracy_45", Figure(value=point.accuracy)
            yield "saved_45", Figure(value=point.saved)


def _ranged(one: Interval, spread: float | None) -> Figure:
    return Figure(value=known(one.value), low=known(one.low), high=known(one.high), spread=known(spread))


def _curve(score: Any, gain: Any) -> Iterable[tuple[float, float]]:
    curve = pgr_curve(score, gain)
    last = max(1, len(curve) - 1)
    return [(100 * at / last, 100 * float(value)) for at, value in enumerate(curve)]
