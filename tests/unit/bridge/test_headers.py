"""What headers of a request ask for."""

from __future__ import annotations

import pytest

from dispatcher.bridge.headers import STRATEGY_HEADER
from dispatcher.bridge.wishes import strategy


@pytest.mark.parametrize(
    ("given", "meant"),
    [("Hybrid", "hybrid"), (" WEIGHTED:Coding ", "weighted:Coding"), ("energy:eco", "energy:eco"), ("", None)],
)
def test_a_variant_keeps_its_letters(given: str, meant: str | None) -> None:
    """Names of strategies are ours, and what stands behind the colon may be a workload of the owner's."""
    assert meant == strategy({STRATEGY_HEADER: given})


def test_without_the_header_nothing_is_asked() -> None:
    """The tenant's strategy holds."""
    assert strategy({}) is None
