"""Durations as they are told."""

from __future__ import annotations

import pytest

from common.clock import seconds_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.001 s"), (0.01, "0.01 s"), (0.12345, "0.123 s"), (2.0, "2 s"), (99.96, "100 s"), (3600.4, "3600 s")],
)
def test_a_duration_is_told_with_the_digits_that_count(seconds: float, text: str) -> None:
    """Little is never told as nothing."""
    assert text == seconds_text(seconds)
