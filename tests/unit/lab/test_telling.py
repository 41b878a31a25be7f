"""What the lab tells of its figures in manifests."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.summary import summarise
from dispatcher.lab.bench.telling import figures, plots
from dispatcher.lab.speed.run import write
from tests.experiments import sound


def row(number: int, latency_s: float | None, **fields: Any) -> BenchRow:
    told: dict[str, Any] = {
        "strategy": "hybrid",
        "query_id": str(number),
        "success": latency_s is not None,
        "device": "pi",
    }
    return BenchRow(**told | {"latency_s": latency_s} | fields)


def test_the_spread_is_that_of_answers() -> None:
    """1, 2 and 3 s: the mean is 2 and the standard deviation 1; of failures nothing is known."""
    rows = [row(number, float(number), energy_j=10.0) for number in (1, 2, 3)]
    [one] = summarise(rows)
    [failed] = summarise([row(1, None), row(2, None)])
    found = figures(one, rows)

    assert (2.0, 1.0) == (found["latency_mean"].value, found["latency_mean"].spread)
    assert (10.0, 0.0) == (found["energy_per_answer"].value, found["energy_per_answer"].spread)
    assert {"success_rate"} == set(figures(failed, [row(1, None), row(2, None)]))


def test_bars_are_shares_and_steps_end_where_answers_did() -> None:
    """Three of four answered, two of them by pi."""
    rows = [row(1, 1.0), row(2, 2.0), row(3, 3.0, device="orin"), row(4, None)]
    latency, _, placed, *_ = plots({"hybrid": rows}, summarise(rows))

    assert ((1.0, 25.0), (2.0, 50.0), (3.0, 75.0)) == latency.lines[0].points
    assert ["orin", "pi"] == [one.name for one in placed.lines]
    assert math.isclose(200 / 3, placed.lines[1].points[0][1])


def test_speeds_are_left_with_the_range_of_their_rounds(tmp_path: Path) -> None:
    """And a row for each round, with what is not shown side by side."""
    rounds = [{"jobs_per_s": 900.0, "seat_us": 1.0}, {"jobs_per_s": 1000.0, "seat_us": 2.0}]
    result = {
        "drover": "0.1.0",
        "plan": {"rounds": 2, "in_flight": 64, "seconds": 1.0},
        "figures": {name: {"median": 950.0, "min": 900.0, "max": 1000.0} for name in rounds[0]},
        "rounds": rounds,
    }
    write(result, tmp_path / "deep" / "speed.json")
    [run] = sound(tmp_path)
    figure = run.manifest.arms[0].figures["jobs_per_s"]

    assert (950.0, 900.0, 1000.0, 50.0) == (figure.value, figure.low, figure.high, figure.spread)
    assert (["jobs_per_s"], "high") == ([*run.manifest.arms[0].figures], run.manifest.metrics[0].better)
    assert ["1.0", "2.0"] == [one["seat_us"] for one in csv.DictReader(run.rows.decode().splitlines())]
