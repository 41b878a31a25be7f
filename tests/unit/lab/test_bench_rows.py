"""Rows: from an answer to a line of the CSV and back."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadRequest, NoDevice
from dispatcher.cli.questions import Conversation, Question
from dispatcher.lab.bench.plan import Arm, Asked
from dispatcher.lab.bench.rows import BenchRow, Heard, answered, asked_row, begun, failed
from dispatcher.lab.bench.table import from_csv, to_csv

ASKED = Asked("small", Conversation(id="q1", questions=(Question(messages=()),), category="code"))

ROUTE = {
    "job": "j1",
    "device": "orin",
    "model": "m:1b",
    "reason": "best score; model loaded",
    "attempts": [{}, {}],
    "timings": {
        "queue_s": 0.1,
        "first_token_s": 0.3,
        "total_s": 0.9,
        "load_s": 1.0,
        "prefill_s": 2.0,
        "decode_tps": 10.0,
    },
    "terms": {"tokens": 0.5, "topic": 0.25, "health": 1.0},
    "score": 0.7,
    "simulated": True,
    "features": {"prompt_tokens": 9, "output_tokens": 200, "complexity": 0.4, "lacks": "a trained router"},
}
OTHER = {"device": "pi5", "model": "m:1b", "predicted": {"total_s": 99.0, "wait_s": 0.0, "energy_j": 1.0}}
CHOSEN = {
    "device": "orin",
    "model": "m:1b",
    "predicted": {"total_s": 25.0, "wait_s": 5.0, "load_s": 1.0, "energy_j": 160.0},
}
HEARD = Heard(
    text="hi",
    finish="stop",
    prompt_tokens=8,
    completion_tokens=50,
    route=ROUTE,
    why={"options": [OTHER, CHOSEN]},
    energy={"joules": 64.0, "measured": False},
)


def row_of(heard: Heard, time_factor: float = 1.0) -> BenchRow:
    return answered(asked_row(Arm("token:500"), 2, ASKED, 1, time_factor=time_factor), heard, 1.0)


def test_a_row_says_everything_of_an_answer() -> None:
    """Which question, where it went, and the terms and features that decided."""
    row = row_of(HEARD)

    assert ("token:500", 500, "off", 2, "small", "q1", "code", 1) == (
        row.strategy, row.threshold, row.cache, row.repeat, row.query_set, row.query_id, row.category, row.turn,
    )  # fmt: skip
    assert (True, "orin", "m:1b", 2, 0.25, 0.4) == (
        row.success, row.device, row.model, row.attempts, row.term_topic, row.complexity,
    )  # fmt: skip
    assert "a trained router" == row.lacks


def test_the_prediction_is_that_of_the_device_that_answered() -> None:
    """Not that of the first option: a device that refused stands before it."""
    assert (25.0, 5.0) == (row_of(HEARD).predicted_total_s, row_of(HEARD).predicted_wait_s)


def test_wall_clocks_are_told_in_the_fleets_own_time() -> None:
    """At 20 times life 0.9 s on the wall are 18 s; what a device says of itself is in its own time already."""
    row = row_of(HEARD, time_factor=20.0)

    assert [20.0, 2.0, 18.0] == pytest.approx([row.latency_s, row.queue_s, row.total_s])
    assert (1.0, 2.0, 10.0, 25.0) == (row.load_s, row.prefill_s, row.decode_tps, row.predicted_total_s)


def test_joules_are_those_of_the_receipt() -> None:
    """They are of the wall's seconds: at 20 times life 64 J are 1280."""
    assert (64.0, "estimated") == (row_of(HEARD).energy_j, row_of(HEARD).energy)
    assert 1280.0 == row_of(HEARD, time_factor=20.0).energy_j


def test_joules_that_a_sensor_saw_are_called_measured() -> None:
    """Only all of them."""
    row = row_of(replace(HEARD, energy={"joules": 12.5, "measured": True}))

    assert (12.5, "measured") == (row.energy_j, row.energy)


HIT = {
    "outcome": "hit",
    "kind": "semantic",
    "similarity": 0.97,
    "why": "all words agree",
    "saved": {"s": 0.5, "energy_j": 14.0, "energy_estimated": True},
}


def test_a_hit_takes_no_device_and_says_what_it_saves() -> None:
    """At 20 times life the dispatcher's 0.5 s are 10 s, and 14 J are 280."""
    row = row_of(replace(HEARD, route=ROUTE | {"cache": HIT}), time_factor=20.0)

    assert (True, "semantic", 0.97, "all words agree") == (row.hit, row.cache_kind, row.cache_similarity, row.cache_why)
    assert (0.0, "", 10.0, 280.0) == (row.energy_j, row.energy, row.saved_s, row.saved_j)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, ("", "", "", False)),
        ({"outcome": "miss", "why": "never asked"}, ("miss", "never asked", "", False)),
        ({"outcome": "refused", "why": "it names a time"}, ("refused", "it names a time", "", False)),
        ({"outcome": "miss", "shadow": {"would": True, "why": "alike"}}, ("miss", "alike", "yes", False)),
        ({"outcome": "miss", "shadow": {"would": False, "why": "a number"}}, ("miss", "a number", "no", False)),
    ],
)
def test_what_was_no_hit_says_why(told: dict[str, object] | None, expected: tuple[str, str, str, bool]) -> None:
    """And what likeness would have given, where the fleet only looks; the joules are the device's."""
    row = row_of(replace(HEARD, route=ROUTE | {"cache": told}))

    assert expected == (row.cache_outcome, row.cache_why, row.shadow, row.hit)
    assert 64.0 == row.energy_j


def test_without_a_record_of_the_decision_nothing_is_made_up() -> None:
    """No prediction, and no joules without a receipt; the answer counts all the same."""
    row = row_of(replace(HEARD, why={}, energy={}))

    assert (None, "", None, True) == (row.energy_j, row.energy, row.predicted_total_s, row.success)


def test_a_failure_has_its_code() -> None:
    """And the time it took to hear of it."""
    row = failed(asked_row(Arm("hybrid"), 1, ASKED, 1, time_factor=20.0), NoDevice("nobody"), 0.5)

    assert (False, "no_device", "nobody", 10.0) == (row.success, row.error, row.error_message, row.latency_s)


texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=20)
numbers = st.none() | st.floats(0, 1e5, allow_nan=False).map(lambda value: float(f"{value:.6g}"))
rows = st.builds(
    BenchRow,
    strategy=st.sampled_from(["hybrid", "token:500"]),
    threshold=st.none() | st.integers(1, 9999),
    repeat=st.integers(1, 9),
    query_id=texts,
    reason=texts,
    success=st.booleans(),
    latency_s=numbers,
    energy_j=numbers,
    prompt_tokens=st.integers(0, 10**6),
    time_factor=st.sampled_from([1.0, 20.0]),
)


@given(st.lists(rows, max_size=5))
def test_rows_survive_their_file(given_rows: list[BenchRow]) -> None:
    """Commas and quotes included; absent stays absent, and 0 stays 0."""
    assert given_rows == from_csv(to_csv(given_rows, head=True), "x.csv")


def test_a_record_is_one_line() -> None:
    """An error of several lines is joined: a line that was cut off can then be told from a whole one."""
    text = to_csv([BenchRow(strategy="hybrid", error_message="one\ntwo")], head=False)

    assert (1, True) == (text.count("\n"), "one two" in text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "has other columns than a per-query CSV"),
        (to_csv([BenchRow(strategy="hybrid")], head=True).replace(",off,1,", ",off,one,"), "line 2: repeat is 'one'"),
    ],
)
def test_a_strange_file_is_refused(text: str, said: str) -> None:
    """With the place and the way out."""
    with pytest.raises(BadRequest, match=said):
        from_csv(text, "x.csv")


def test_a_name_can_be_no_formula() -> None:
    """Questions are their author's own, and errors quote them: a spreadsheet takes the cell for text, and it reads back."""
    rows = [
        BenchRow(strategy="hybrid", query_id=text, error_message=text)
        for text in ("=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "'quoted")
    ]
    text = to_csv(rows, head=True)
    cells = [line[column] for line in csv.DictReader(io.StringIO(text)) for column in ("query_id", "error_message")]

    assert [] == [cell for cell in cells if not cell.startswith("'")]
    assert rows == from_csv(text, "x.csv")


def test_a_row_tells_how_late_the_bench_was() -> None:
    """Due at 100 s and put at 100.5 s: at 20 times life 10 s of the fleet's."""
    row = begun(asked_row(Arm("hybrid"), 1, ASKED, 1, time_factor=20.0), lag_s=0.5, unix_s=100.5)

    assert (100.0, 100.5, 10.0) == (row.due_unix_s, row.began_unix_s, row.lag_s)
