"""The figures of a bench against hand-computed ones, and the page that shows them."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest

from dispatcher.lab.bench.page import groups, number, page
from dispatcher.lab.bench.plan import Arm
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.summary import COLUMNS, bootstrap, said, shares, summarise, to_csv


def row(latency_s: float, device: str = "orin", **fields: object) -> BenchRow:
    usual: dict[str, object] = {
        "strategy": "hybrid", "success": True, "model": "m", "first_token_s": latency_s / 10, "queue_s": 1.0,
        "prompt_tokens": 10, "completion_tokens": 100, "decode_tps": 20.0, "energy_j": 10.0 * latency_s, "energy": "estimated",
    }  # fmt: skip
    return BenchRow(latency_s=latency_s, device=device, **(usual | fields))  # type: ignore[arg-type]


ROWS = [
    row(1.0), row(2.0), row(3.0, "pi5", decode_tps=5.0), row(10.0, cost_usd=0.25),
    BenchRow(strategy="hybrid", error="no_device", latency_s=0.1),
]  # fmt: skip


def test_the_figures_of_an_arm() -> None:
    """Latencies 1, 2, 3, 10: mean 4, p50 the second, p95 the fourth.

    400 tokens in 5 + 5 + 20 + 5 = 35 s; 160 J: 40 an answer, 0.4 a token.
    """
    (found,) = summarise(ROWS)

    assert (5, 0.8) == (found.n, found.success_rate)
    assert (4.0, 2.0, 10.0) == (found.latency_mean_s, found.latency_p50_s, found.latency_p95_s)
    assert (0.2, 1.0, 1.0) == (found.first_token_p50_s, found.first_token_p95_s, found.queue_mean_s)
    assert (40, 400, pytest.approx(400 / 35)) == (found.tokens_in, found.tokens_out, found.tokens_per_s)
    assert (160.0, 40.0, 0.4, "estimated") == (
        found.energy_j, found.energy_per_answer_j, found.energy_per_token_j, found.energy,
    )  # fmt: skip
    assert (0.25, "orin=0.750 pi5=0.250", "m=1.000", "no_device=1") == (
        found.cost_usd, found.devices, found.models, found.errors,
    )  # fmt: skip


def test_predictions_are_judged_by_the_median_of_what_they_were_off() -> None:
    """Off by 1/2, 1/4 and 3/1 of the actual seconds: 0.5 in the middle."""
    rows = [
        row(1.0, total_s=2.0, predicted_total_s=3.0),
        row(1.0, total_s=4.0, predicted_total_s=3.0),
        row(1.0, total_s=1.0, predicted_total_s=4.0),
    ]

    assert [0.5] == [one.prediction_error for one in summarise(rows)]


def test_arms_stay_apart_and_in_order() -> None:
    """First those of this run, then what else the file has; an arm without rows has no line."""
    rows = [row(1.0, strategy="perf"), row(2.0, strategy="token:500"), row(3.0)]
    found = summarise(rows, [Arm("hybrid"), Arm("random"), Arm("token:500")])

    assert [("hybrid", None), ("token:500", 500), ("perf", None)] == [(one.strategy, one.threshold) for one in found]


def test_an_arm_without_answers_has_no_latency() -> None:
    """Failures are counted, and nothing is made up."""
    (found,) = summarise([BenchRow(strategy="hybrid", error="no_device", latency_s=0.1)])

    assert (0.0, None, None, None, "") == (
        found.success_rate, found.latency_p50_s, found.energy_j, found.cost_usd, found.devices,
    )  # fmt: skip


def test_measured_and_estimated_joules_are_told_apart() -> None:
    """Both in one arm are called mixed."""
    assert ["mixed"] == [one.energy for one in summarise([row(1.0), row(1.0, energy="measured")])]


def test_a_bootstrap_interval_is_that_of_the_mean() -> None:
    """200 values of a standard deviation of 1: 1.96 / sqrt(200) = 0.139 to both sides, within a fifth; by seed."""
    values = list(np.random.default_rng(1).normal(5.0, 1.0, 200))
    found = bootstrap(values, lambda column: float(column.mean()), seed=7)

    assert found is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(values) / np.sqrt(200), rel=0.2)
    assert found.low < found.value < found.high
    assert pytest.approx(np.mean(values)) == found.value
    assert found == bootstrap(values, lambda column: float(column.mean()), seed=7)


def test_a_bootstrap_of_equals_has_no_width() -> None:
    """And of nothing there is none."""
    found = bootstrap([3.0] * 9, lambda column: float(column.mean()), seed=0)

    assert found is not None
    assert (3.0, 3.0, 3.0) == (found.value, found.low, found.high)
    assert bootstrap([], lambda column: float(column.mean()), seed=0) is None


def test_shares() -> None:
    """The largest first, in one cell."""
    assert "pi5=0.667 orin=0.333" == said(shares(["orin", "pi5", "pi5"]))


def test_the_summary_is_a_csv_with_a_line_for_each_arm() -> None:
    """Absent values are empty."""
    lines = list(csv.DictReader(io.StringIO(to_csv(summarise([*ROWS, row(1.0, strategy="token:100")])))))

    assert list(COLUMNS) == list(lines[0])
    assert [("hybrid", "", "4"), ("token:100", "100", "1")] == [
        (line["strategy"], line["threshold"], line["latency_mean_s"]) for line in lines
    ]


def test_the_page_stands_alone() -> None:
    """Nothing is fetched, nothing runs, every id is there once, and names can't become markup."""
    plots = pytest.importorskip("dispatcher.lab.bench.plots", reason="matplotlib is of the extra lab")
    rows = [*ROWS, row(2.0, strategy="token:100", predicted_total_s=3.0, total_s=2.0, device="<b>")]
    found = groups(rows, [])
    drawings = [
        ("Latency", "", plots.latency(found)),
        ("Devices", "", plots.placed(found, by="device")),
        ("Prediction", "", plots.prediction(found)),
        ("Trade", "", plots.trade({"hybrid": (4.0, 40.0)})),
    ]
    text = page("Bench <x>", summarise(rows), drawings, {"seed": "0"}, ["a & b"])
    ids = re.findall(r'\bid="([^"]+)"', text)

    assert 4 == text.count("<svg")
    assert [] == re.findall(r'<script|<img|<link|@import|(?:src|href)="(?:https?:)?//', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)
    assert "Bench &lt;x&gt;" in text
    assert "<b>" not in text


def test_plots_of_nothing_are_drawn() -> None:
    """A bench that was interrupted before its first answer, or whose questions all failed."""
    plots = pytest.importorskip("dispatcher.lab.bench.plots", reason="matplotlib is of the extra lab")
    found = {"hybrid": [BenchRow(strategy="hybrid", error="no_device")]}

    drawn = [plots.latency(found), plots.placed(found, by="model"), plots.prediction(found), plots.trade({})]
    assert [True] * 4 == [text.startswith("<svg") for text in drawn]


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.0, "0"), (1234.5, "1,234"), (0.123456, "0.123"), (12.0, "12")]
)
def test_figures_have_three_digits(value: float | None, text: str) -> None:
    """Enough to compare."""
    assert text == number(value)
