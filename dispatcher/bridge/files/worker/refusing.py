"""How a file is refused, and in which words; it knows no file."""

from __future__ import annotations


class Refused(Exception):
    """The file can't be used; the message says why, and what its sender can do."""


def short(error: Exception) -> str:
    """Give the beginning of what a reader said, which is long where it quotes the file. What it says of itself is nothing to who
    sent that."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    said = str(error)
    return "it is broken" if not said or " object at 0x" in said else said[:120]
