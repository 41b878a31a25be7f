"""Budgets, expiries and overlaps as people write and read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from common.keys import Budget, Period, Unit
from dispatcher.cli import key_words

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100000tokens/day", (Unit.TOKENS, 100_000, Period.DAY)),
        ("2 Mtokens/month", (Unit.TOKENS, 2_000_000, Period.MONTH)),
        ("5usd/month", (Unit.MONEY, 5_000_000, Period.MONTH)),
        ("0.000001 USD", (Unit.MONEY, 1, Period.EVER)),
        ("2kWh/month", (Unit.ENERGY, 7_200_000_000, Period.MONTH)),
        ("1.5Wh/ever", (Unit.ENERGY, 5_400_000, Period.EVER)),
        ("500J", (Unit.ENERGY, 500_000, Period.EVER)),
    ],
)
def test_a_budget_is_read_to_the_millionth(text: str, expected: tuple[Unit, int, Period]) -> None:
    """1 kWh is 3.6 MJ; what has no period is for ever."""
    found = key_words.budget(text)

    assert expected == (found.unit, found.limit, found.period)


@pytest.mark.parametrize(
    ("unit", "spent", "limit", "expected"),
    [
        (Unit.TOKENS, 1200, 100_000, "1200/100000 tokens/day"),
        (Unit.MONEY, 1_250_000, 5_000_000, "1.25/5 usd/day"),
        (Unit.ENERGY, 360_000_000, 7_200_000_000, "0.1/2 kWh/day"),
        (Unit.ENERGY, 1_500, 500_000, "1.5/500 J/day"),
    ],
)
def test_a_budget_is_told_as_used_of_its_limit(unit: Unit, spent: int, limit: int, expected: str) -> None:
    """In the unit that a person would write it in; what is set aside counts as used."""
    told = key_words.used(Budget(unit=unit, limit=limit, period=Period.DAY, spent=spent - 1, reserved=1))

    assert expected == told


def test_an_expiry_is_ahead() -> None:
    """So long from now, or a date of UTC."""
    day_s = 86_400

    assert [NOW.timestamp() + 90 * day_s, datetime(2027, 1, 31, tzinfo=UTC).timestamp()] == [
        key_words.expiry(text, now=NOW) for text in ("90d", "2027-01-31")
    ]


def test_a_key_that_leaked_is_named_by_its_id() -> None:
    """So that it can be revoked as it was found, and its secret goes nowhere."""
    assert "abcd1234" == key_words.which("dr_abcd1234_" + "x" * 43)
