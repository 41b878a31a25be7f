"""The sum of all rows of energy, as pages show it beside them."""

from __future__ import annotations

from common.ledger import EnergyRow
from dispatcher.bridge.native.spending import whole


def test_losses_count() -> None:
    """What was paid beyond the cloud's price is taken off what was saved."""
    total = whole([{"jobs": 1, "saved_usd": 1.0}, {"jobs": 2, "saved_usd": -3.0}])

    assert (3, -2.0) == (total.jobs, total.saved_usd)


def test_shares_are_made_anew_of_what_was_summed() -> None:
    """By the answers and tokens that joules are known of, and by the joules that were measured."""
    sensed = {"jobs": 1, "joules": 30.0, "energy_answers": 1, "energy_tokens": 10, "measured_share": 1.0}
    guessed = {"jobs": 3, "joules": 10.0, "energy_answers": 3, "energy_tokens": 10, "measured_share": None}
    total = whole([sensed, guessed])

    assert (10.0, 2.0, 0.75) == (total.joules_per_answer, total.joules_per_token, total.measured_share)


def test_several_currencies_are_no_sum() -> None:
    """The rest is summed as ever."""
    total = whole([{"jobs": 1, "cost": 1.0, "currency": "EUR"}, {"jobs": 1, "cost": 1.0, "currency": "USD"}])

    assert (2, None, None) == (total.jobs, total.cost, total.currency)


def test_nothing_known_stays_unknown() -> None:
    """No rows are no jobs, and no money of which nothing was told."""
    assert whole([]) == EnergyRow(key="all", jobs=0)
