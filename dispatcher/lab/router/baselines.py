"""What a router must be held against: no knowledge, length, the domain's mean, and perfect knowledge; none of them is trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def random_scores(count: int, seed: int) -> Floats:
    """Give scores that know nothing: APGR 0.5 on average."""
    return np.random.default_rng(seed).random(count)


def length_scores(prompts: Sequence[str]) -> Floats:
    """Give the prompts' lengths: longer ones first to the strong model."""
    return np.array([float(len(prompt)) for prompt in prompts])


def domain_scores(train: Sequence[str], gain: Floats, test: Sequence[str]) -> Floats:
    """Give each test prompt its domain's mean gain in training, as if the domain were known; the mean of all for a new domain."""
    seen: dict[str, list[float]] = defaultdict(list)
    for domain, one in zip(train, gain, strict=True):
        seen[domain].append(float(one))
    means = {domain: sum(values) / len(values) for domain, values in seen.items()}
    return np.array([means.get(domain, float(gain.mean())) for domain in test])


def oracle_scores(gain: Floats) -> Floats:
    """Give the gain itself: no router orders better."""
    return gain.copy()
