"""Trained parts that are small enough to be reckoned by hand, as values and as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dispatcher.router.topics_file import write_topics
from dispatcher.router.trained_file import write_router
from dispatcher.routing.centroids import Topics
from dispatcher.routing.multi import Hierarchy, MultiRouter
from dispatcher.routing.prompt_signals import SIGNALS
from dispatcher.routing.trained import Blend, FeatureSpace, Kernel, Memory, TrainedRouter

COUNT = len(SIGNALS)


def flat_router(
    gain: float, *, in_domain: bool = True, embedder: str | None = None, signals: tuple[str, ...] = SIGNALS
) -> TrainedRouter:
    """A router that promises the same gain for every prompt, and has seen traffic with gains from -1 to 1."""
    count = len(signals)
    axes = np.zeros((count, 1), dtype=np.float32)
    return TrainedRouter(
        space=FeatureSpace(
            signals=signals,
            embedder=embedder,
            mean=np.zeros(count, dtype=np.float32),
            scale=np.ones(count, dtype=np.float32),
            weight=1.0,
            centre=np.zeros(count, dtype=np.float32),
        ),
        ridge=np.zeros(count, dtype=np.float32),
        ridge_bias=gain,
        memory=Memory(
            axes=axes,
            rows=np.ones((2, 1), dtype=np.float32),
            gains=np.array([0.5, 0.25], dtype=np.float32),
            heads=("how many apples", "hi there"),
            count=1,
            least_similarity=-1.0 if in_domain else 2.0,
        ),
        kernel=Kernel(rows=np.array([0], dtype=np.int64), weights=np.zeros(1, dtype=np.float32), gamma=1.0, bias=0.0),
        blend=Blend(bias=0.0, ridge=1.0, kernel=0.0, knn=0.0),
        quantiles=np.linspace(-1.0, 1.0, 101),
    )


def save_router(path: Path, gain: float, **how: bool) -> None:
    """Write such a router."""
    write_router(path, flat_router(gain, **how), {})


def save_topics(path: Path, embedder: str, *names: str, dimensions: int = 4) -> None:
    """Write topics, each on an axis of its own."""
    topics = Topics(
        names=names,
        centroids=np.eye(len(names), dimensions, dtype=np.float32),
        embedder=embedder,
        near=1.0,
        far=0.0,
    )
    write_topics(path, topics, {})


def flat_multi(
    gains: Mapping[str, float], *, base: str = "base", table: float = 0.0, share: float = 0.0, in_domain: bool = True
) -> MultiRouter:
    """A router of several models that promises the same gains for every prompt; the last model is strong."""
    return MultiRouter(
        base=base,
        strong=frozenset(list(gains)[-1:]),
        routers={model: flat_router(gain, in_domain=in_domain) for model, gain in gains.items()},
        hierarchy=Hierarchy(
            domains=("chat", "code"),
            centre=None,
            centroids=None,
            least_similarity=0.15,
            edges=(0.2, 0.5),
            gains=np.full((3, 3, len(gains)), table),
        ),
        share=share,
        temperature=0.1,
        least_confidence=0.4,
        quantiles=np.linspace(-1.0, 1.0, 101),
    )
