"""Makes embeddings by hashing: equal texts have equal vectors, texts with words in common are close; no model is involved."""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Iterable
from itertools import pairwise


def embed(text: str, dimension: int) -> list[float]:
    """Give a unit vector of `dimension` numbers for a text."""
    vector = [0.0] * dimension
    for feature in _features(text):
        digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for (place,) in struct.iter_unpack("<H", digest):
            vector[place % dimension] += 1.0 if place & 0x8000 else -1.0
    return normalised(vector)


def shortened(vector: list[float], dimension: int) -> list[float]:
    """Keep the first `dimension` numbers, again as a unit vector."""
    return normalised(vector[:dimension])


def normalised(vector: list[float]) -> list[float]:
    """Scale to length one, in float32 as the real server answers."""
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [struct.unpack("<f", struct.pack("<f", value / length))[0] for value in vector]


def _features(text: str) -> Iterable[str]:
    words = re.findall(r"\w+", text.lower())
    yield "\0text"  # so that an empty text has a direction too
    yield from words
    yield from (f"{first} {second}" for first, second in pairwise(words))
