"""Rows and the table over them, with the arithmetic in the margin."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from common.chat_stream import Answer
from common.energy import Energy
from common.errors import NoDevice
from common.messages import Usage
from dispatcher.cli.results import COLUMNS, Group, Row, answered, failed, percentile, summarise, to_csv

WHERE = Row(id="81", category="writing", turn=2)


def good(device: str, first_s: float, total_s: float, tokens: int) -> Row:
    return Row(
        id="1",
        category="",
        turn=1,
        device=device,
        model="m",
        reason="fastest",
        first_token_s=first_s,
        total_s=total_s,
        completion_tokens=tokens,
        tokens_per_s=tokens / (total_s - first_s),
    )


def test_an_answer_becomes_a_row_with_the_dispatchers_times() -> None:
    """The route's account fills the columns; the speed is tokens over decoding time: 30 / (2.0 - 0.5) = 20."""
    answer = Answer(
        job="j",
        text="hello",
        device="nano",
        model="m",
        reason="fastest",
        usage=Usage(prompt_tokens=7, completion_tokens=30),
        route={
            "attempts": [{"device": "orin"}, {"device": "nano"}],
            "timings": {"queue_s": 0.1, "first_token_s": 0.5, "total_s": 2.0},
        },
    )
    expected = Row(
        id="81",
        category="writing",
        turn=2,
        job="j",
        device="nano",
        model="m",
        reason="fastest",
        attempts=2,
        asked=3,
        queue_s=0.1,
        first_token_s=0.5,
        total_s=2.0,
        prompt_tokens=7,
        completion_tokens=30,
        tokens_per_s=20.0,
        finish="stop",
        text="hello",
    )

    assert expected == answered(WHERE, answer, asked=3)


def test_a_failure_becomes_a_row_with_its_code() -> None:
    """The code comes first, so that a spreadsheet can group by it."""
    assert failed(WHERE, NoDevice("all are gone"), asked=1).error == "no_device: all are gone"


def test_csv_holds_one_line_per_row_and_survives_any_text() -> None:
    """Commas, quotes and line breaks in an answer come back as they were."""
    row = Row(id="1", category="", turn=1, total_s=1.23456, text='a, "b"\nc')
    [record] = list(csv.DictReader(io.StringIO(to_csv([row]), newline="")))

    assert (list(COLUMNS), "1.235", "", 'a, "b"\nc') == (
        list(record),
        record["total_s"],
        record["queue_s"],
        record["text"],
    )


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([3.0], 0.95, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),  # rank ceil(0.5 * 4) = 2
        ([4.0, 3.0, 2.0, 1.0], 0.95, 4.0),  # rank ceil(3.8) = 4
        ([float(n) for n in range(1, 101)], 0.95, 95.0),
    ],
)
def test_percentiles_are_nearest_rank(values: list[float], share: float, expected: float | None) -> None:
    """The smallest value that the share of all values don't exceed."""
    assert expected == percentile(values, share)


def test_the_table_groups_by_device_and_model() -> None:
    """Answers, errors and times per device; speed is all tokens over all decoding time: (10 + 50) / (1 + 2) = 20."""
    rows = [
        good("orin", 0.5, 1.5, 10),
        good("orin", 1.0, 3.0, 50),
        Row(id="3", category="", turn=1, device="orin", model="m", error="busy: full"),
    ]
    expected = Group(
        device="orin",
        model="m",
        answers=2,
        errors=1,
        first_token_p50_s=0.5,
        first_token_p95_s=1.0,
        total_p50_s=1.5,
        total_p95_s=3.0,
        tokens_per_s=20.0,
    )

    assert (expected,) == summarise(rows).groups


@pytest.mark.parametrize(("second", "measured"), [(True, True), (False, False)])
def test_joules_are_those_of_the_receipts(second: bool, measured: bool) -> None:
    """(30 + 90) J over (10 + 50) tokens; measured where all of them are."""
    receipts = (Energy(joules=30.0, measured=True), Energy(joules=90.0, measured=second))
    rows = [
        answered(
            WHERE,
            Answer(
                job="j", text="", device="d", model="m", reason="", usage=Usage(completion_tokens=tokens), energy=energy
            ),
            asked=1,
        )
        for tokens, energy in zip((10, 50), receipts, strict=True)
    ]
    group = summarise(rows).groups[0]

    assert (2.0, measured) == (group.joules_per_token, group.measured)
    assert ["measured", "measured" if second else "estimated"] == [row.energy for row in rows]


def test_the_summary_counts_answers_and_reasons() -> None:
    """Failures count as asked, and give no reason; of a reason its cause counts, not the scores after it."""
    one = replace(good("a", 0.1, 0.2, 1), reason="best score; hybrid score 0.81")
    other = replace(good("b", 0.1, 0.2, 1), reason="best score; hybrid score 0.80")
    summary = summarise([one, other, failed(WHERE, NoDevice(), asked=1)])

    assert (summary.answered, summary.asked, summary.reasons) == (2, 3, (("best score", 2),))
