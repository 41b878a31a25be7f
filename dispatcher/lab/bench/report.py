"""From rows to files: the summary CSV, the table on the terminal, the HTML page; it measures nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from dispatcher.cli.running import say
from dispatcher.experiments.writing import beside, write_manifest
from dispatcher.lab.bench.caveats import notes
from dispatcher.lab.bench.order import BenchOrder, shown
from dispatcher.lab.bench.page import groups, page
from dispatcher.lab.bench.plan import Arrival
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.summary import Summary, summarise, to_csv
from dispatcher.lab.bench.surroundings import told as settings_told
from dispatcher.lab.bench.telling import manifest
from dispatcher.lab.bench.view import print_table

_ABOUT_PREDICTION = (
    "Seconds from the dispatcher's door to the end, as predicted by the decision and as it came. A prediction reckons with an "
    "answer of ordinary length."
)


def write(order: BenchOrder, rows: Sequence[BenchRow], *, took_s: float) -> None:
    """Write and print what the rows say; `took_s` is how long this run measured."""
    summaries = summarise(rows, order.plan.arms, seed=order.plan.seed)
    out = order.outputs
    out.summary.parent.mkdir(parents=True, exist_ok=True)
    out.summary.write_text(to_csv(summaries), encoding="utf-8")
    print_table(summaries)
    say(f"{len(rows)} rows in {out.per_query}, {len(summaries)} strategies in {out.summary}")
    told = manifest(order, rows, summaries, _facts(order, rows, took_s), now_unix_s=time.time())
    write_manifest(beside(out.per_query), told)
    if out.report is not None:
        text = _report(order, rows, summaries, took_s=took_s)
        out.report.write_text(text, encoding="utf-8")
        say(f"report: {out.report}")


def _report(order: BenchOrder, rows: Sequence[BenchRow], summaries: Sequence[Summary], *, took_s: float) -> str:
    from dispatcher.lab.bench import plots  # noqa: PLC0415  # matplotlib takes a second, and not everybody has it

    found = groups(rows, order.plan.arms)
    points = {
        one.name: (one.latency_mean_s, one.energy_per_answer_j)
        for one in summaries
        if one.latency_mean_s is not None and one.energy_per_answer_j is not None
    }
    figures = [
        ("Latency", "Which share of the questions was answered after so many seconds; the producer's clock.", plots.latency(found)),
        ("Seconds and joules", "Down and to the left is better. Nothing here says how good the answers are.", plots.trade(points)),
        ("Who answered", "The share of each device.", plots.placed(found, by="device")),
        ("Which models", "The share of each model.", plots.placed(found, by="model")),
        (
            "Predicted and actual",
            _ABOUT_PREDICTION,
            plots.prediction(found),
        ),
    ]  # fmt: skip
    return page("Drover bench", summaries, figures, _facts(order, rows, took_s), notes(order, rows, summaries))


def _facts(order: BenchOrder, rows: Sequence[BenchRow], took_s: float) -> dict[str, str]:
    plan = order.plan
    sets = ", ".join(dict.fromkeys(one.query_set for one in plan.asked))
    arrival = (
        f"{plan.load.concurrency} conversations at a time: a slow answer puts off the next question"
        if plan.load.arrival is Arrival.CLOSED
        else f"conversations begin at random, {plan.load.rate:g} a second of the fleet's time"
    )
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Drover": version("drover"),
        "fleet": f"simulated: {order.simulated.devices}" if order.url is None else shown(order.url),
        "query sets": f"{sets}: {len(plan.asked)} conversations, {plan.questions} questions",
        "load": arrival,
        "repeats": str(plan.repeat),
        "seed": str(plan.seed),
        "before each strategy": "each model on each device answered once" if order.warm_up else "nothing was warmed up",
        "settings": settings_told(order.simulated.settings) or ("defaults" if order.url is None else "the fleet's own"),
        "most tokens an answer": "as the fleet has it" if plan.max_tokens is None else str(plan.max_tokens),
        "rows": f"{len(rows)}, of which {sum(row.success for row in rows)} answered",
        "took": f"{took_s:.0f} s in this run",
    }
