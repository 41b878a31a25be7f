"""Imports that spare memory: a library comes without what it would bring along for a use that we have not; it knows no library."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """Let imports within find none of `names`, as where they are not installed; what was imported before stays, and so does what
    is imported behind. For libraries that take them only where they are."""
    missing = [name for name in names if name not in sys.modules]
    for name in missing:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way to say that there is none
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]
