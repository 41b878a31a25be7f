"""Has the C library give large blocks back to the system as soon as they are free; it knows no request."""

from __future__ import annotations

import ctypes

LARGE_BYTES = 128 * 1024
"""As glibc has it until a larger one is given back: from then on it takes blocks up to that size for small ones, and keeps them. A
bridge would hold one or two bodies of 20 MB for good. Said once, the bound stays (mallopt(3), M_MMAP_THRESHOLD)."""

_M_MMAP_THRESHOLD = -3


def return_large_blocks() -> bool:
    """Say so; False where the C library knows no such thing, and does as it does."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
