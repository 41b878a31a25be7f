"""The dispatcher's settings: what a text of weights says, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dispatcher.settings import MOST_WEIGHTS, LineSection, RoutingSection, weights_from


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("alice=3,bob=1", {"alice": 3.0, "bob": 1.0}),
        (" alice = 0.5 , ", {"alice": 0.5}),
    ],
)
def test_weights_are_read(text: str, expected: dict[str, float]) -> None:
    """Tenants and their shares, separated by commas."""
    assert expected == weights_from(LineSection(tenant_weights=text).tenant_weights)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("alice", "'alice'"),
        ("alice=", "'alice='"),
        ("alice=0", "'alice=0'"),
        ("alice=-1", "'alice=-1'"),
        ("alice=nan", "'alice=nan'"),
        ("alice=inf", "'alice=inf'"),
        ("alice=1e9", "'alice=1e9'"),
        ("a b=1", "'a b=1'"),
        ("=1", "'=1'"),
        ("a=1,a=2", "'a=2'"),
        (",".join(f"t{n}=1" for n in range(MOST_WEIGHTS + 1)), f"at most {MOST_WEIGHTS}"),
    ],
)
def test_wrong_weights_are_named(text: str, named: str) -> None:
    """A share that would divide by nothing, or that names nobody, stops the start and says which it is."""
    with pytest.raises(ValidationError, match=named):
        LineSection(tenant_weights=text)


@pytest.mark.parametrize("text", ["nan", "inf"])
def test_a_weight_that_is_no_number_is_told_so(text: str) -> None:
    """And not that it is too large."""
    with pytest.raises(ValueError, match="finite number"):
        RoutingSection(weight_tokens=float(text))
