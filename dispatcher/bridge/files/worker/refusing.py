"""How a file is refused, and in which words; it knows no file."""

from __future__ import annotations


class Refused(Exception):
    """The file can't be used; the message says why, and what its sender can do."""


def short(error: Exception) -> str:
    """Give the beginning of what a reader said, which is long where it quotes the file."""
    return (str(error) or type(error).__name__)[:120]
