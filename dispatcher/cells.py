"""Values as cells of a CSV, and texts back from them; it knows no table.

Each text comes back as it was: one that begins with an apostrophe of its own gets another.
"""

from __future__ import annotations

from typing import Any

_AS_TEXT = "'"
_MARKED = ("=", "+", "-", "@", "\t", "\r", _AS_TEXT)
"""What a spreadsheet takes for the beginning of a formula, or of a text."""


def harmless(value: Any) -> Any:
    """Write a cell so that no spreadsheet takes a text for a formula; what is absent is empty."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(_MARKED):
        return f"{_AS_TEXT}{value}"
    return value


def text_of(cell: str) -> str:
    """Give the text of a cell that `harmless` wrote; what others wrote stays, but for an apostrophe before a formula."""
    return cell[1:] if cell.startswith(_AS_TEXT) and cell[1:].startswith(_MARKED) else cell
