"""Sums of energy and jobs on a terminal: figures, estimates, money, and widths."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from common.errors import BadRequest
from common.ledger import By, EnergyRow
from dispatcher.cli.energy import Wanted
from dispatcher.cli.energy_view import energy_table, total
from dispatcher.cli.figures import joules, money, share, three, watt_hours
from dispatcher.cli.jobs_view import job_table
from dispatcher.cli.ledger_answers import measured_share


def row(key: str, joule: float, **more: Any) -> EnergyRow:
    told: dict[str, Any] = {"jobs": 2, "completion_tokens": 100, "energy_tokens": 100, "joules_per_token": joule / 100}
    told |= {"measured_share": 1.0}
    return EnergyRow(key=key, joules=joule, **told | more)


def drawn(shown: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


ROWS = [
    row("orin", 3600.0, cost=0.0003, currency="EUR", co2e_g=0.38, idle_joules=50.0),
    row("pi4", 400.0, measured_share=0.5, cost=0.0001, currency="EUR", co2e_g=0.04, lost_joules=9.0),
    row("-", 0.0, measured_share=None, joules_per_token=None, completion_tokens=0, energy_tokens=0),
]


def test_the_sum_has_everything() -> None:
    """Joules, tokens and money add up; the measured share is weighted by joules: (3600 + 200) / 4000."""
    every = total(ROWS)

    assert (4000.0, 200, 20.0, 0.95) == (
        every.joules,
        every.completion_tokens,
        every.joules_per_token,
        every.measured_share,
    )
    assert (pytest.approx(0.0004), "EUR") == (every.cost, every.currency)


def test_tokens_that_took_no_joule_are_in_no_mean() -> None:
    """Those of the cache and of models elsewhere: the sum is by the tokens that its rows are by."""
    elsewhere = row("cloud", 0.0, measured_share=None, joules_per_token=None, energy_tokens=0)
    every = total([*ROWS, elsewhere])

    assert (300, 20.0) == (every.completion_tokens, every.joules_per_token)


def test_several_currencies_have_no_sum() -> None:
    """Euros and dollars are not added up."""
    assert None is total([ROWS[0], row("b", 1.0, cost=1.0, currency="USD")]).cost


def test_nothing_known_has_no_measured_share() -> None:
    """No joule, no share: neither all nor none of it."""
    assert None is measured_share([ROWS[2]])


def test_estimates_are_marked_and_explained() -> None:
    """A tilde where not all came from sensors, none where it did, and what it means."""
    text = drawn(energy_table(ROWS, By.DEVICE, 160), 160)
    orin, pi4, nobody = (
        next(line for line in text.splitlines() if f" {name} " in line) for name in ("orin", "pi4", "(none)")
    )

    assert (False, True, False) == ("~3.60 kJ" in orin, "~400 J" in pi4, "~0 J" in nobody.split("│")[4])
    assert "~ in part or wholly estimated" in text


def test_what_was_cancelled_is_told_apart_from_what_was_lost() -> None:
    """In a column of its own, where anything was, with what it means; as many digits, and the same mark of an estimate."""
    lost = [*ROWS, row("nano", 90.0, lost_joules=80.0, cancelled_joules=33.0)]
    without, text = (drawn(energy_table(rows, By.DEVICE, 200), 200) for rows in (ROWS, lost))
    cells = [
        [cell.strip() for cell in line.split("│")] for line in text.splitlines() if " nano " in line or " all " in line
    ]

    assert (False, False) == ("cancelled" in without, "stopped" in without)
    assert ("80.0 J", "33.0 J") == next((one, other) for one, other in pairwise(cells[0]) if one == "80.0 J")
    assert ("~89.0 J", "~33.0 J") == next((one, other) for one, other in pairwise(cells[1]) if one == "~89.0 J")
    assert "cancelled is in lost: jobs that somebody stopped" in text


@pytest.mark.parametrize("width", [44, 60, 80, 100, 140])
def test_no_cell_is_cut(width: int) -> None:
    """What has no room goes as a whole column; what a row is known by stays."""
    text = drawn(energy_table(ROWS, By.DEVICE, width), width)

    assert (False, True) == ("…" in text, all(word in text for word in ("orin", "pi4", "3.60 kJ", "all")))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (joules(0.0), "0 J"),
        (joules(0.1234), "0.12 J"),
        (joules(999.4), "999 J"),
        (joules(999.6), "1.00 kJ"),
        (joules(2.5e6, measured=False), "~2.50 MJ"),
        (joules(None), ""),
        (three(0.00001), "<0.001"),
        (three(1234.5), "1,234"),
        (watt_hours(3600.0), "1.00 Wh"),
        (watt_hours(3.6e6), "1.00 kWh"),
        (share(0.9999), "99 %"),
        (share(1.0), "100 %"),
        (share(0.0001), "1 %"),
        (money(0.0000321, "EUR"), "0.000032 EUR"),
        (money(1234.5, "EUR"), "1,234.50 EUR"),
        (money(None, "EUR"), ""),
    ],
)
def test_figures(shown: str, expected: str) -> None:
    """About three digits, never a power of ten, and no rounding to all or nothing."""
    assert expected == shown


@pytest.mark.parametrize("width", [60, 80, 140])
def test_jobs_fit_and_what_is_strange_is_shown_plainly(width: int) -> None:
    """A record of any version: what is missing is empty, what would steer the terminal is written out."""
    jobs = [
        {"received_unix_s": 1e9, "state": "done", "device": "orin", "total_s": 2.5, "energy": {"joules": 9.0}},
        {"received_unix_s": "?", "state": "x\x1b[2J", "usage": 7, "energy": [], "cache": {"outcome": "hit"}},
    ]
    text = drawn(job_table(jobs, width), width)

    assert (False, True, True) == (
        "\x1b" in text,
        "~9.00 J" in text,
        all(len(line) <= width for line in text.splitlines()),
    )


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(by=By.DAY, since="soon"), "--since 'soon' is no moment"),
        (Wanted(by=By.DAY, plot=Path("e.jpg")), "--plot e.jpg: give the name of a .png file"),
        (
            Wanted(by=By.DAY, plot=Path("/nonexistent/x.png")),
            "--plot /nonexistent/x.png: there is no folder /nonexistent",
        ),
    ],
)
def test_what_is_asked_wrongly_is_told(wanted: Wanted, said: str) -> None:
    """A time that is none, and a plot that would be no PNG or has no folder: before anybody is asked."""
    with pytest.raises(BadRequest, match=said):
        wanted.query(datetime(2026, 11, 21, tzinfo=UTC))
