"""Moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from common.errors import BadRequest
from dispatcher.cli.times import moment, span

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def unix(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[misc]  # year, month, day, hour …


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", unix(2026, 11, 20, 12)),
        ("7d", unix(2026, 11, 14, 12)),
        ("90 min", unix(2026, 11, 21, 10, 30)),
        ("1.5h", unix(2026, 11, 21, 10, 30)),
        ("2w", unix(2026, 11, 7, 12)),
        ("now", unix(2026, 11, 21, 12)),
        ("today", unix(2026, 11, 21)),
        ("Yesterday", unix(2026, 11, 20)),
        ("2026-11-20", unix(2026, 11, 20)),
        ("2026-11-20T18:30", unix(2026, 11, 20, 18, 30)),
        ("2026-11-20T18:30+01:00", unix(2026, 11, 20, 17, 30)),
        ("2026-11-20T18:30Z", unix(2026, 11, 20, 18, 30)),
    ],
)
def test_moments(text: str, expected: float) -> None:
    """So long ago, a day, or a date; what has no zone is of UTC."""
    assert expected == moment(text, now=NOW, option="--since")


@pytest.mark.parametrize("text", ["", "soon", "24", "-3h", "2026-13-01", "٣h", "1e9h"])
def test_what_is_no_moment_is_refused_with_the_way_out(text: str) -> None:
    """The option and what can be written are named."""
    with pytest.raises(BadRequest, match=r"--since .* is no moment: write for example 24h"):
        moment(text, now=NOW, option="--since")


def test_the_end_may_not_come_first() -> None:
    """An empty span would look as if nothing had happened."""
    with pytest.raises(BadRequest, match="--since 1h is not before --until 2h"):
        span("1h", "2h", now=NOW)
