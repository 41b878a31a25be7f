"""A bench as a manifest: figures side by side, and the points of its plots; pure but for the machine that it names."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from dispatcher.experiments.manifest import Arm, Figure, Kind, Line, Manifest, Metric, Plot, known, line
from dispatcher.experiments.writing import caveats, environment, rows_of
from dispatcher.experiments.writing import facts as fitting
from dispatcher.lab.bench.caveats import notes
from dispatcher.lab.bench.order import BenchOrder
from dispatcher.lab.bench.page import groups
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.summary import Summary, shares

_S, _J = "s", "J"
METRICS = (
    Metric(name="success_rate", what="questions that got an answer", better="high"),
    Metric(name="latency_mean", what="mean time to the whole answer", unit=_S, better="low"),
    Metric(name="latency_p50", what="median time to the whole answer, failures counted", unit=_S, better="low"),
    Metric(name="latency_p95", what="95 % have the whole answer by then", unit=_S, better="low"),
    Metric(name="first_token_p50", what="median time to the first token", unit=_S, better="low"),
    Metric(name="first_token_p95", what="95 % have the first token by then", unit=_S, better="low"),
    Metric(name="queue_mean", what="mean wait for a device", unit=_S, better="low"),
    Metric(name="tokens_per_s", what="tokens written a second of decoding", unit="1/s", better="high"),
    Metric(name="energy_per_answer", what="mean energy of an answer", unit=_J, better="low"),
    Metric(name="energy_per_token", what="energy of a token", unit=_J, better="low"),
    Metric(name="cost", what="what all answers cost", unit="USD", better="low"),
    Metric(name="cache_hit_rate", what="answers that the cache gave", better="high"),
    Metric(name="prediction_error", what="median error of the predicted time, of the time", better="low"),
    Metric(name="latency_diff", what="time less that of the first strategy, paired", unit=_S, better="low"),
    Metric(name="energy_diff", what="energy less that of the first strategy, paired", unit=_J, better="low"),
)


def manifest(
    order: BenchOrder,
    rows: Sequence[BenchRow],
    summaries: Sequence[Summary],
    facts: Mapping[str, str],
    *,
    now_unix_s: float,
) -> Manifest:
    """Give the manifest; `facts` are those of the page."""
    by_name = groups(rows, order.plan.arms)
    own = {
        name: facts[name]
        for name in ("query sets", "load", "repeats", "seed", "most tokens an answer")
        if name in facts
    }
    rest = {name: words for name, words in facts.items() if name not in own and name != "when"}
    return Manifest(
        kind=Kind.BENCH,
        title=f"Bench of {', '.join(dict.fromkeys(one.query_set for one in order.plan.asked))}"[:200],
        made_unix_s=now_unix_s,
        drover=facts["Drover"],
        simulated=any(row.simulated for row in rows),
        n=len(rows),
        repeats=order.plan.repeat,
        seed=order.plan.seed,
        data=fitting(own),
        environment=environment(**rest),
        caveats=caveats(notes(order, rows, summaries)),
        metrics=METRICS,
        arms=tuple(Arm(name=one.name, n=one.n, figures=figures(one, by_name[one.name])) for one in summaries),
        plots=tuple(plots(by_name, summaries)),
        rows=rows_of(order.outputs.per_query, len(rows)),
    )


def figures(one: Summary, rows: Sequence[BenchRow]) -> dict[str, Figure]:
    """Give the figures of a strategy; the spread is that of single answers."""
    good = [row for row in rows if row.success]
    found = {
        "success_rate": Figure(
            value=one.success_rate, low=known(one.success_rate_low), high=known(one.success_rate_high)
        ),
        "latency_mean": _ranged(one, "latency_mean", "_s", [row.latency_s for row in good]),
        "latency_p50": _ranged(one, "latency_p50", "_s", ()),
        "energy_per_answer": _ranged(one, "energy_per_answer", "_j", [row.energy_j for row in good]),
        "cache_hit_rate": _ranged(one, "cache_hit_rate", "", ()),
        "latency_diff": _ranged(one, "latency_diff", "_s", ()),
        "energy_diff": _ranged(one, "energy_diff", "_j", ()),
    }
    single = {
        "latency_p95": one.latency_p95_s,
        "first_token_p50": one.first_token_p50_s,
        "first_token_p95": one.first_token_p95_s,
        "queue_mean": one.queue_mean_s,
        "tokens_per_s": one.tokens_per_s,
        "energy_per_token": one.energy_per_token_j,
        "cost": one.cost_usd,
        "prediction_error": one.prediction_error,
    }
    found |= {name: Figure(value=known(value)) for name, value in single.items()}
    return {name: figure for name, figure in found.items() if figure.value is not None}


def _ranged(one: Summary, name: str, unit: str, values: Sequence[float | None]) -> Figure:
    spread = [value for value in values if value is not None]
    return Figure(
        value=known(getattr(one, f"{name}{unit}")),
        low=known(getattr(one, f"{name}_low{unit}")),
        high=known(getattr(one, f"{name}_high{unit}")),
        spread=statistics.stdev(spread) if len(spread) > 1 else None,
    )


def plots(by_name: Mapping[str, Sequence[BenchRow]], summaries: Sequence[Summary]) -> list[Plot]:
    """Give what the page draws, as points."""
    answered = "questions answered, %"
    return [
        Plot(
            title="Latency", x="seconds until the whole answer was there", y=answered, shape="step", log_x=True,
            lines=tuple(line(name, _passed(rows)) for name, rows in by_name.items()),
        ),
        Plot(
            title="Seconds and joules", x="mean seconds an answer", y="joules an answer", shape="points", log_x=True, log_y=True,
            lines=tuple(
                line(one.name, [(one.latency_mean_s, one.energy_per_answer_j)])
                for one in summaries
                if one.latency_mean_s is not None and one.energy_per_answer_j is not None
            ),
        ),
        _placed("Who answered", by_name, "device"),
        _placed("Which models", by_name, "model"),
        Plot(
            title="Predicted and actual", x="actual seconds", y="predicted seconds", shape="points", log_x=True, log_y=True,
            lines=tuple(_predicted([row for rows in by_name.values() for row in rows if row.success])),
        ),
    ]  # fmt: skip


def _passed(rows: Sequence[BenchRow]) -> list[tuple[float, float]]:
    seconds = sorted(row.latency_s for row in rows if row.success and row.latency_s is not None)
    return [(value, 100 * number / len(rows)) for number, value in enumerate(seconds, 1)]


def _placed(title: str, by_name: Mapping[str, Sequence[BenchRow]], by: str) -> Plot:
    parts = {name: shares(getattr(row, by) for row in rows if row.success) for name, rows in by_name.items()}
    names = sorted({one for part in parts.values() for one in part})
    return Plot(
        title=title, x="strategy", y="answers, %", shape="shares", bars=tuple(parts),
        lines=tuple(
            Line(name=name or "-", points=tuple((at, 100 * part.get(name, 0.0)) for at, part in enumerate(parts.values())))
            for name in names
        ),
    )  # fmt: skip


def _predicted(rows: Sequence[BenchRow]) -> list[Line]:
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.total_s and row.predicted_total_s:
            found.setdefault(row.device or "-", []).append((row.total_s, row.predicted_total_s))
    return [line(device, points) for device, points in sorted(found.items())]
