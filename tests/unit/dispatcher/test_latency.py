"""How long answers took, counted: columns, buckets, percentiles, and what is counted apart."""

from __future__ import annotations

from bisect import bisect_right
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadRequest
from common.latency import (
    BOUNDS_S,
    BUCKETS,
    LEAST_SPAN_S,
    MOST_COLUMNS,
    MOST_NAMES,
    MOST_SPAN_S,
    USUAL_COLUMNS,
    Latency,
    LatencyQuery,
    Outcomes,
    Percentiles,
    window,
)
from dispatcher.ledger.latency import Took, latency, of_query

NOON = 1_795_262_400


def took(total_s: float = 1.0, at_s: float = 0.0, **fields: Any) -> Took:
    """A chat that was answered on nano, so long after noon."""
    told = {"state": "done", "device": "nano", "model": "m", "cache_outcome": None, "first_token_s": 0.1} | fields
    return Took(received_unix_s=NOON + at_s, total_s=total_s, simulated=False, **told)


def counted(*rows: Took, **fields: Any) -> Latency:
    """Of the ten minutes that begin at noon."""
    query = LatencyQuery(**{"since_s": 600, "step_s": 60, "until_unix_s": NOON + 599.0, **fields})
    return latency(query, of_query(query), rows, left_out_before=None)


def test_a_chat_stands_in_the_column_in_which_it_came_and_in_the_bucket_of_what_it_took() -> None:
    """Apart for the first token and for all of it; what is on a bound is of the bucket above."""
    told = counted(took(BOUNDS_S[3]), took(BOUNDS_S[3] + 1e-6, 59.9), took(5000.0, 60.0), took(0.001, 599.0))

    assert (NOON, NOON + 600, 60, 10) == (told.since_unix_s, told.until_unix_s, told.step_s, told.columns)
    assert ((0, 4, 2), (1, BUCKETS - 1, 1), (9, 0, 1)) == told.total.cells
    assert [(0, 2), (1, 1), (9, 1)] == [(one.column, one.count) for one in told.total.columns]
    assert (4, 0.1, 0.1) == (told.first_token.count, told.first_token.p50_s, told.first_token.p99_s)


def test_percentiles_are_values_that_were_seen() -> None:
    """The least that so many per cent are not above: of 1 to 100 s the 50th, the 95th and the 99th."""
    told = counted(*(took(float(number)) for number in range(1, 101))).total

    assert (100, 50.0, 95.0, 99.0) == (told.count, told.p50_s, told.p95_s, told.p99_s)
    assert Percentiles() == Percentiles(count=0, p50_s=None, p95_s=None, p99_s=None)


def test_what_no_model_answered_is_counted_apart() -> None:
    """What failed, was refused or cancelled, and what came from the cache, is in no time."""
    ended = [took(9.0, state=state) for state in ("failed", "failed", "refused", "cancelled", "of another Drover")]
    told = counted(took(), took(cache_outcome="miss"), took(0.001, cache_outcome="hit"), *ended)

    assert Outcomes(answered=2, cache_hits=1, failed=2, refused=1, cancelled=1) == told.outcomes
    assert (2, 2, 1.0) == (told.total.count, told.first_token.count, told.total.p99_s)


def test_devices_and_models_are_told_by_name() -> None:
    """The devices of the model that is asked for, and the models of the device; the most used first."""
    rows = [
        took(1.0),
        took(2.0, model="n"),
        took(3.0, device="pi"),
        took(4.0, device="pi"),
        took(5.0, first_token_s=None),
    ]
    every, pi, n = counted(*rows), counted(*rows, device="pi"), counted(*rows, model="n")

    assert [("nano", 3), ("pi", 2)] == [(one.name, one.total.count) for one in every.devices]
    assert [("m", 4, 3), ("n", 1, 1)] == [(one.name, one.total.count, one.first_token.count) for one in every.models]
    assert (["nano", "pi"], ["m"], 2) == (
        [one.name for one in pi.devices],
        [one.name for one in pi.models],
        pi.total.count,
    )
    assert (["nano"], ["m", "n"], 1) == (
        [one.name for one in n.devices],
        [one.name for one in n.models],
        n.total.count,
    )


def test_nothing_is_counted_of_what_the_asker_is_not_allowed() -> None:
    """Neither a device, nor a model, nor a chat that nobody was chosen for."""
    rows = [took(), took(device="pi"), took(model="n"), took(state="refused", device=None, model=None)]
    device, model = counted(*rows, allow_devices=("na*",)), counted(*rows, allow_models=("m",))

    assert (2, 0, ["nano"]) == (device.total.count, device.outcomes.refused, [one.name for one in device.devices])
    assert (2, 0, ["m"]) == (model.total.count, model.outcomes.refused, [one.name for one in model.models])
    assert (3, 1) == (counted(*rows).total.count, counted(*rows).outcomes.refused)


def test_of_many_names_the_most_used_are_told() -> None:
    """And that there are more."""
    told = counted(*(took(device=f"d{number:02}") for number in range(MOST_NAMES + 1)), took(device="d50"))

    assert (MOST_NAMES, "d50", True, 1) == (len(told.devices), told.devices[0].name, told.more_names, len(told.models))


@given(st.integers(LEAST_SPAN_S, MOST_SPAN_S), st.floats(0, 4e9))
def test_without_a_step_there_are_few_columns_and_they_cover_the_span(since_s: int, until_unix_s: float) -> None:
    """The moment is in the last one, and all but a part of one step of the span is in them."""
    found = window(since_s=since_s, until_unix_s=until_unix_s, step_s=None, most=MOST_COLUMNS, usual=USUAL_COLUMNS)

    assert 1 <= found.columns <= USUAL_COLUMNS
    assert found.until_unix_s - found.step_s <= until_unix_s < found.until_unix_s
    assert until_unix_s - since_s >= found.since_unix_s - found.step_s
    assert 0 == found.since_unix_s % found.step_s


def test_more_columns_than_are_told_are_refused_with_the_step_that_would_do() -> None:
    """One hour in steps of 29 s are too many, and of 30 s not."""
    with pytest.raises(BadRequest, match="125 columns, and at most 120 are told: set step_s to 30 or more") as told:
        of_query(LatencyQuery(since_s=3600, step_s=29, until_unix_s=NOON))

    assert ("step_s", 120) == (
        told.value.details["param"],
        of_query(LatencyQuery(since_s=3600, step_s=30, until_unix_s=NOON)).columns,
    )


@given(st.lists(st.tuples(st.floats(0, 599), st.floats(0, 1e6)), max_size=60))
def test_no_answer_is_lost_or_counted_twice(some: list[tuple[float, float]]) -> None:
    """Cells, columns and sums are of the same answers, and each percentile is a value with as many below it as it says."""
    told = counted(*(took(total_s, at_s) for at_s, total_s in some)).total
    ordered = sorted(total_s for _, total_s in some)

    assert len(some) == told.count == sum(one.count for one in told.columns) == sum(count for *_, count in told.cells)
    assert {(int(at_s // 60), bisect_right(BOUNDS_S, total_s)) for at_s, total_s in some} == {
        (column, bucket) for column, bucket, _ in told.cells
    }
    for share, found in ((50, told.p50_s), (95, told.p95_s), (99, told.p99_s)) if some else ():
        assert round(ordered[ceil(share * len(ordered) / 100) - 1], 4) == found
