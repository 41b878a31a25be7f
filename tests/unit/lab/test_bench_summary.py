"""The figures of a bench against hand-computed ones, and the page that shows them."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from dispatcher.lab.bench.page import best, groups, page
from dispatcher.lab.bench.plan import Arm, CacheMode
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.summary import COLUMNS, said, shares, summarise, to_csv
from dispatcher.lab.bench.versus import number, share, signed, verdict


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
    """Latencies 1, 2, 3, 10 and one failure: mean 4, p50 the third of five; p95 is the failure, so there is none.

    400 tokens in 5 + 5 + 20 + 5 = 35 s; 160 J: 40 an answer, 0.4 a token.
    """
    (found,) = summarise(ROWS)

    assert (5, 0.8) == (found.n, found.success_rate)
    assert (4.0, 3.0, None) == (found.latency_mean_s, found.latency_p50_s, found.latency_p95_s)
    assert (0.3, None, 1.0) == (found.first_token_p50_s, found.first_token_p95_s, found.queue_mean_s)
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


def test_few_quick_answers_are_no_quick_strategy() -> None:
    """3 of 50 within a second, the rest never: no median, no green, and nothing for the arm that answered all in 11 s."""
    good = [row(10.0 + n % 3, query_id=str(n)) for n in range(50)]
    bad = [row(1.0, strategy="perf", query_id=str(n), energy_j=1.0) for n in range(3)]
    bad += [
        BenchRow(strategy="perf", error="deadline", latency_s=600.0, query_id=str(n), energy_j=None)
        for n in range(3, 50)
    ]
    found = summarise(good + bad)

    assert [(1.0, 11.0), (0.06, None)] == [(one.success_rate, one.latency_p50_s) for one in found]
    assert (11.0, 10.98) == (best(found)["latency_p50_s"], best(found)["latency_mean_s"])
    assert '<td class="best">1<' not in page("t", found, [], {}, [])


def test_copies_of_a_question_make_no_interval_narrower() -> None:
    """12 conversations once, and with the same figures 20 times: it's as much as 12 questions can tell."""
    base = [row(float(n * 37 % 20), query_id=str(n)) for n in range(12)]
    once, often = (
        summarise([replace(one, repeat=k) for k in range(repeats) for one in base])[0] for repeats in (1, 20)
    )

    assert (12, 240, 12, 12) == (once.n, often.n, once.conversations, often.conversations)
    assert (once.latency_mean_low_s, once.latency_mean_high_s) == (often.latency_mean_low_s, often.latency_mean_high_s)


def test_turns_of_a_conversation_are_drawn_together() -> None:
    """10 conversations of 5 equal turns: 1.96 / sqrt(10) of the deviation to both sides, not 1.96 / sqrt(50)."""
    rows = [row(float(n), query_id=str(n), turn=turn, turns=5) for n in range(10) for turn in range(1, 6)]
    (found,) = summarise(rows)

    assert found.latency_mean_low_s is not None
    assert found.latency_mean_high_s is not None
    half = (found.latency_mean_high_s - found.latency_mean_low_s) / 2
    assert half == pytest.approx(1.96 * np.std(range(10)) / np.sqrt(10), rel=0.15)


def test_arms_are_compared_question_by_question() -> None:
    """Questions of 1 to 40 s, each 0.5 s slower and 5 J dearer under the other: the intervals overlap, the difference is sure."""
    first = [row(float(n), query_id=str(n)) for n in range(1, 41)]
    other = [row(n + 0.5 + 0.01 * (n % 3), strategy="perf", query_id=str(n)) for n in range(1, 40)]
    before, after = summarise([*first, *other, BenchRow(strategy="perf", error="deadline", query_id="40")])

    assert (before.latency_mean_high_s or 0) > (after.latency_mean_low_s or 0)
    assert ("", "hybrid", 39) == (before.versus, after.versus, after.pairs)
    assert [0.51, 5.1] == pytest.approx([after.latency_diff_s, after.energy_diff_j])
    assert 0.5 < (after.latency_diff_low_s or 0) < 0.51 < (after.latency_diff_high_s or 0) < 0.52
    assert "slower and thirstier" == verdict(after)


def test_a_few_conversations_tell_nothing() -> None:
    """5 of 5 lean to one side in one of 16 cases, by chance."""
    first = [row(float(n), query_id=str(n)) for n in range(5)]
    found = summarise([*first, *(replace(one, strategy="perf", latency_s=(one.latency_s or 0) + 9) for one in first)])

    assert "too few conversations to tell" == verdict(found[1])


def test_what_is_not_the_devices_is_told() -> None:
    """10 s, of which 1 in the queue, 2 to load, 1 to read, 100 / 20 to write, and 0.25 that the bench was late."""
    one = row(10.0, load_s=2.0, prefill_s=1.0, lag_s=0.25)

    assert (0.75, 0.75) == (one.overhead_s, summarise([one])[0].overhead_p50_s)


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


@pytest.mark.parametrize(("value", "text"), [(1.0, "100 %"), (0.9999, "99.9 %"), (0.5, "50 %"), (0.0, "0 %")])
def test_nearly_all_is_not_all(value: float, text: str) -> None:
    """A failure in ten thousand shows."""
    assert text == share(value)


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (1.4e-10, "0"), (0.5, "+0.5"), (-0.5, "\N{MINUS SIGN}0.5"), (0.0, "0")]
)
def test_a_difference_has_a_sign(value: float | None, text: str) -> None:
    """And what is left of subtracting equals is none."""
    assert text == signed(value)


def test_a_short_axis_has_more_than_two_numbers() -> None:
    """Answers between 4 and 30 s: on a logarithmic axis 10 alone would stand there."""
    plots = pytest.importorskip("dispatcher.lab.bench.plots", reason="matplotlib is of the extra lab")
    drawn = plots.latency({"hybrid": [row(float(seconds)) for seconds in range(4, 31)]})
    numbers = {float(text) for text in re.findall(r">([0-9.]+)</text>", drawn)}

    assert {5.0, 7.0, 10.0, 20.0, 30.0} <= numbers


def hit(latency_s: float, kind: str = "exact", **fields: object) -> BenchRow:
    """A hit of an arm with the cache on."""
    told: dict[str, object] = {
        "cache": "on", "cache_outcome": "hit", "cache_kind": kind, "energy_j": 0.0, "energy": "", "decode_tps": None,
        "saved_s": 2.0, "saved_j": 20.0,
    }  # fmt: skip
    return row(latency_s, "cache", **(told | fields))


CACHED = [
    *[row(2.0, query_id=str(n)) for n in range(4)],
    *[row(2.0, query_id=str(n), cache="on", cache_outcome="miss") for n in range(2)],
    hit(0.1, query_id="2"),
    hit(0.1, "semantic", query_id="3", saved_j=None),
]


def test_the_figures_of_a_cache() -> None:
    """2 hits of 4 answers, 1 of them by likeness; 2 + 2 s and 20 J saved; 20 + 20 + 0 + 0 J are 10 an answer."""
    off, on = summarise(CACHED)

    assert (None, 0, None) == (off.cache_hit_rate, off.cache_hits, off.cache_saved_s)
    assert (0.5, 2, 1, 4.0, 20.0) == (
        on.cache_hit_rate, on.cache_hits, on.cache_by_likeness, on.cache_saved_s, on.cache_saved_j,
    )  # fmt: skip
    assert (10.0, "estimated") == (on.energy_per_answer_j, on.energy)
    assert 0.0 <= (on.cache_hit_rate_low or 0.0) <= 0.5 <= (on.cache_hit_rate_high or 0.0) <= 1.0


def test_a_strategy_is_compared_with_itself_without_a_cache() -> None:
    """The same questions, and both arms are called by what they are: 0.5 x 1.9 s less."""
    off, on = summarise(CACHED)

    assert ("hybrid", "hybrid, cache on", "hybrid", 4) == (off.name, on.name, on.versus, on.pairs)
    assert pytest.approx(-0.95) == on.latency_diff_s
    assert ["hybrid", "hybrid, cache on"] == list(groups(CACHED, [Arm("hybrid"), Arm("hybrid", CacheMode.ON)]))


def test_the_page_tells_of_a_cache_where_one_was_asked() -> None:
    """The share of hits, how many were alike, and what they saved; no such column on other pages."""
    text = page("t", summarise(CACHED), [], {}, [])

    assert "<th>from cache<small>of answers</small></th>" in text
    assert re.search(
        r"<td>50 %<small>[^<]*</small><small>1 of 2 alike</small><small>saved 4 s, 20 J</small></td>", text
    )
    assert "from cache" not in page("t", summarise(ROWS), [], {}, [])
