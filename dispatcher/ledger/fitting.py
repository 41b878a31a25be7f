"""How much goes into an answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common import codec

MARGIN_BYTES = 16 * 1024
MOST_BYTES = 4 << 20
"""Where a server carries more, an answer still has at most this."""


def room(max_payload: int) -> int:
    """Say how many bytes the rows of an answer may have."""
    return min(max_payload, MOST_BYTES) - MARGIN_BYTES


def fitting(rows: Sequence[dict[str, Any]], room_bytes: int) -> int:
    """Say how many of the first rows go into an answer."""
    for number, row in enumerate(rows):
        room_bytes -= len(codec.encode(row)) + 1
        if room_bytes < 0:
            return number
    return len(rows)
