"""How a file is refused; it knows no file."""

from __future__ import annotations


class Refused(Exception):
    """The file can't be used; the message says why, and what its sender can do."""
