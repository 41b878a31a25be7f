"""Joules on the wire: what a receipt says, how receipts add up, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import codec, energy
from common.codec import Encoding
from common.energy import Energy, lost, total
from common.errors import BadRequest
from dispatcher.tariff import Rate, priced

SIX_DIGITS = st.integers(0, 999_999).map(lambda number: number / 1000)
ENERGY = st.builds(
    Energy,
    joules=SIX_DIGITS,
    idle_joules=SIX_DIGITS,
    lost_joules=SIX_DIGITS,
    measured=st.booleans(),
    source=st.sampled_from(["ina3221", "rapl", "model"]),
    uncertainty=st.integers(0, 1000).map(lambda number: number / 1000),
    tokens=st.integers(0, 10_000),
)


@given(ENERGY, st.sampled_from(Encoding))
def test_round_trip(one: Energy, encoding: Encoding) -> None:
    """It comes back as it went, in either encoding; what follows from it is not read."""
    assert one == energy.from_wire(codec.decode(codec.encode(energy.to_wire(one), encoding)))


def test_a_receipt_says_what_follows_from_it() -> None:
    """7,200 J are 2 Wh; over 100 tokens they are 72 J a token."""
    wire = energy.to_wire(Energy(joules=7200.0, tokens=100))

    assert (2.0, 72.0) == (wire["watt_hours"], wire["joules_per_token"])


def test_without_tokens_there_are_no_joules_per_token() -> None:
    """Nothing is divided by nothing."""
    assert "joules_per_token" not in energy.to_wire(Energy(joules=5.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"joules": -1.0},
        {"joules": float("nan")},
        {"joules": float("inf")},
        {"idle_joules": 1e13},
        {"uncertainty": -0.1},
        {"source": ""},
        {"measured": "perhaps"},
        {"tokens": -1},
        {"cost": -1.0},
        {"currency": "x" * 17},
    ],
)
def test_what_can_be_no_energy_is_refused(wrong: dict[str, object]) -> None:
    """The field is named."""
    with pytest.raises(BadRequest) as caught:
        energy.from_wire({"joules": 1.0, **wrong})

    assert next(iter(wrong)) in caught.value.message


@given(st.lists(ENERGY, min_size=1, max_size=5))
def test_a_sum_loses_no_joule(parts: list[Energy]) -> None:
    """And is measured only where all of it is; its uncertainty lies between those of its parts."""
    whole = total(parts)
    assert whole is not None
    bounds = [one.uncertainty for one in parts]

    assert sum(one.joules for one in parts) == pytest.approx(whole.joules)
    assert all(one.measured for one in parts) == whole.measured
    assert min(bounds) - 1e-9 <= whole.uncertainty <= max(bounds) + 1e-9


@given(
    st.lists(
        st.builds(Energy, joules=st.floats(0, 1e12), uncertainty=st.sampled_from([0.0, 10.0])), min_size=1, max_size=20
    )
)
def test_what_can_be_sent_can_be_sent_as_a_sum(parts: list[Energy]) -> None:
    """At the bounds of every field: an honest device's answer has the joules of a broken one in its receipt."""
    whole = total([replace(one, idle_joules=one.joules, lost_joules=one.joules, tokens=2**62) for one in parts])

    assert whole is not None
    assert energy.from_wire(codec.plain(whole)) == whole


def test_the_sum_of_nothing_is_unknown() -> None:
    """Which is not 0 J."""
    assert total([]) is None


def test_what_nobody_was_given_is_lost() -> None:
    """With its tokens: nobody has them."""
    assert (9.0, 9.0, 0) == (
        (gone := lost(Energy(joules=9.0, tokens=3))).joules,
        gone.lost_joules,
        gone.tokens,
    )


def test_a_price_is_of_the_joules_above_idle() -> None:
    """0.36 kWh at 0.30 EUR and 400 g."""
    told = priced(Energy(joules=1.296e6, idle_joules=1e9), Rate(per_kwh=0.3, currency="EUR", g_co2e_per_kwh=400.0))

    assert (0.108, "EUR", 144.0) == (pytest.approx(told.cost), told.currency, pytest.approx(told.co2e_g))


def test_without_a_tariff_there_is_no_cost() -> None:
    """Nor a currency, nor emissions."""
    told = priced(Energy(joules=5.0), Rate())

    assert (None, None, None) == (told.cost, told.currency, told.co2e_g)
