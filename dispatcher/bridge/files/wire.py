"""What the bridge and the process that looks at files say to each other: pieces of bytes, each behind its length; the standard
library alone, since that process starts anew for each request."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

MOST_PARTS = 64

_LENGTH = struct.Struct(">I")


def framed(parts: Sequence[bytes]) -> Iterator[bytes]:
    """Give what is to be written, piece by piece, so that nothing large is copied to stand beside something small."""
    for part in parts:
        yield _LENGTH.pack(len(part))
        yield part


def parts_of(data: bytes) -> list[bytes]:
    """Read all pieces. Raises `ValueError` when they don't end where `data` does, or are too many."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        if len(parts) == MOST_PARTS or at + _LENGTH.size > len(data):
            raise ValueError(f"{len(data)} bytes are no {MOST_PARTS} pieces or less, each behind its length")
        begin = at + _LENGTH.size
        at = begin + _LENGTH.unpack_from(data, at)[0]
        parts.append(data[begin:at])
    if at != len(data):
        raise ValueError(f"a piece ends {at - len(data)} bytes behind the end")
    return parts
