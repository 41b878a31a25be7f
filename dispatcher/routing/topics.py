"""Topics and how near a text is to them, by words alone; it knows neither devices nor requests.

A topic's centroid is the unit vector over its seed words, all of equal weight; a text is the vector of its word counts, damped
by a square root. Their cosine, scaled, is the similarity. Centroids over embeddings are far better (README, Routing) and take this
place wherever there is an embedder.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

_WORD = re.compile(r"[a-z][a-z+#]+")
_MOST_WORDS = 400

SEEDS: dict[str, str] = {
    "code": "code python java javascript function class bug error compile program script api sql query regex algorithm "
    "implement refactor debug test library variable loop array string html css rust git docker bash c++",
    "reasoning": "prove solve calculate equation probability theorem logic puzzle math number sum integral derive how many "
    "percent ratio triangle formula therefore deduce step physics velocity energy",
    "writing": "write story poem essay email letter blog rewrite summarize paragraph edit draft tone style grammar title "
    "translate headline speech article describe character novel",
    "chat": "hi hello hey thanks please you your feel today weather joke favorite like fun chat weekend friend good morning "
    "recommend dinner movie music",
    "knowledge": "what who when where why explain history country capital science war president define difference meaning "
    "economics biology chemistry ancient theory language",
}

_CENTROIDS: dict[str, frozenset[str]] = {name: frozenset(words.split()) for name, words in SEEDS.items()}

SCALE = 2.0
"""A short question that hits two of its six words has a cosine near 0.1 to 0.5; doubled and cut at 1 it uses the range."""


def word_counts(text: str) -> Counter[str]:
    """Count the words of a text, in lower case; those of a long text's head."""
    return Counter(_WORD.findall(text.lower())[:_MOST_WORDS])


def topic_similarities(counts: Mapping[str, int]) -> dict[str, float]:
    """Give the similarity of a text, by its word counts, to each topic, in [0, 1]; all 0 for a text without words."""
    if not counts:
        return dict.fromkeys(_CENTROIDS, 0.0)
    norm = math.sqrt(sum(counts.values()))  # of the damped counts: sqrt(sum(sqrt(n)^2))
    return {name: _similarity(counts, norm, words) for name, words in _CENTROIDS.items()}


def _similarity(counts: Mapping[str, int], norm: float, words: frozenset[str]) -> float:
    shared = sum(math.sqrt(counts[word]) for word in words & counts.keys())
    cosine = shared / (norm * math.sqrt(min(len(words), len(counts))))
    return min(1.0, SCALE * cosine)
