"""Grows boosted trees on labelled features, and takes them out as plain arrays; with centroids the only module that knows
scikit-learn.

Trees may not be more doubtful of a question that is more alike, nor less of one that lacks more: of that they are told, and need
not learn it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatcher.cache.guard.trees import Trees

RISING = frozenset(["similarity", "words_cosine"])
FALLING = frozenset(
    ["unmatched_more", "worst_more", "rest_more", "numbers", "negations", "names", "opposed", "degrees"]
)
"""Features that can only speak for, and only against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How trees are grown; chosen by the figures in FINDINGS.md. `share` of the features are
    looked at for each split; `told` says that trees know which features speak for and against; values go
    into `bins`."""

    trees: int = 400
    leaves: int = 10
    rate: float = 0.03
    fewest: int = 200
    l2: float = 10.0
    share: float = 0.2
    told: bool = True
    bins: int = 255
    seed: int = 0


def grow(
    rows: NDArray[np.float64],
    right: NDArray[np.bool_],
    weight: NDArray[np.float64],
    names: Sequence[str],
    recipe: Recipe,
) -> Trees:
    """Grow trees that tell right from wrong."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415  # an extra, and slow to import
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  # comes with it

    signs = [1 if name in RISING else -1 if name in FALLING else 0 for name in names]
    growing = HistGradientBoostingClassifier(
        max_iter=recipe.trees,
        max_leaf_nodes=recipe.leaves,
        learning_rate=recipe.rate,
        min_samples_leaf=min(recipe.fewest, max(5, len(rows) // 50)),
        l2_regularization=recipe.l2,
        monotonic_cst=signs if recipe.told else None,
        max_features=recipe.share,
        max_bins=recipe.bins,
        early_stopping=False,
        random_state=recipe.seed,
    )
    with threadpool_limits(
        1, user_api="openmp"
    ):  # its threads wait for each other at full speed, on cores that others need
        grown = growing.fit(rows, right, sample_weight=weight)
    made = _taken(grown)
    if not np.allclose(made.score(rows[:64]), grown.decision_function(rows[:64]), atol=1e-6):
        raise RuntimeError("this scikit-learn keeps its trees in another way than versions 1.5 to 1.9 do")
    return made


def rising(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give a rising table from scores to the share that is right."""
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415  # as above

    found = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, right.astype(np.float64))
    return np.asarray(found.X_thresholds_, dtype=np.float64), np.asarray(found.y_thresholds_, dtype=np.float64)


def _taken(grown: Any) -> Trees:
    """Take the nodes out. scikit-learn has no public way to them; `grow` compares what both say."""
    grown_trees = [predictor.nodes for (predictor,) in grown._predictors]  # noqa: SLF001  # see above
    starts = np.cumsum([0, *(len(nodes) for nodes in grown_trees[:-1])])
    leaf = np.concatenate([nodes["is_leaf"] for nodes in grown_trees]).astype(bool)
    base = np.repeat(starts, [len(nodes) for nodes in grown_trees])
    here = np.arange(len(leaf))
    parts = {
        name: np.concatenate([nodes[name] for nodes in grown_trees])
        for name in ("feature_idx", "num_threshold", "left", "right", "value", "depth")
    }
    return Trees(
        roots=starts.astype(np.int32),
        feature=np.where(leaf, 0, parts["feature_idx"]).astype(np.int32),
        threshold=np.where(leaf, 0.0, parts["num_threshold"]).astype(np.float64),
        left=np.where(leaf, here, parts["left"] + base).astype(np.int32),
        right=np.where(leaf, here, parts["right"] + base).astype(np.int32),
        value=np.where(leaf, parts["value"], 0.0).astype(np.float64),
        start=float(np.ravel(grown._baseline_prediction)[0]),  # noqa: SLF001  # see above
        depth=int(parts["depth"].max()),
    )
