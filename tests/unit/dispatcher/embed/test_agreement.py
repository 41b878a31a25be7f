"""Agreement of two embedders: figures that can be reckoned by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dispatcher.embed.protocol import Vectors
from dispatcher.lab.embedder.agreement import agreement


def sphere(texts: int, dimensions: int, seed: int = 0) -> Vectors:
    """Points on the unit sphere."""
    rows = np.random.default_rng(seed).normal(size=(texts, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_same_vectors_agree_wholly() -> None:
    """1 in all three, and no map was needed."""
    rows = sphere(50, 8)
    found = agreement(rows, rows)

    assert [1.0, 1.0, 1.0] == pytest.approx([found.cosine, found.spearman, found.overlap], abs=1e-6)
    assert not found.mapped


def test_a_linear_map_is_found_where_dimensions_differ() -> None:
    """Vectors that live in four of six dimensions, turned and cut to those four, lose nothing."""
    ours = sphere(200, 4)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))
    found = agreement(ours, (ours @ turn[:4]).astype(np.float32))

    assert (True, pytest.approx(1.0, abs=1e-3), pytest.approx(1.0, abs=1e-4)) == (
        found.mapped,
        found.cosine,
        found.spearman,
    )


def test_the_map_is_judged_on_texts_that_it_has_not_seen() -> None:
    """Chance fits 30 texts in 25 dimensions perfectly when it knows them; on others it is worth nothing."""
    found = agreement(sphere(30, 25), sphere(30, 40, seed=2))

    assert found.cosine < 0.4


def test_vectors_of_chance_do_not_agree() -> None:
    """Similarities are unrelated, and a tenth of 100 texts are common neighbours by chance."""
    found = agreement(sphere(100, 16), sphere(100, 16, seed=2))

    assert (0.0, 0.1) == (pytest.approx(found.spearman, abs=0.05), pytest.approx(found.overlap, abs=0.05))


def test_opposite_order_is_minus_one() -> None:
    """Three texts on a line: who was nearest is farthest. Similarities a, b, c against their mirror."""
    angles = np.radians([0, 10, 50])
    ours = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)  # pairs: 10, 50, 40 degrees apart
    other = np.radians([0, 50, 10])  # 50, 10, 40
    theirs = np.stack([np.cos(other), np.sin(other)], axis=1).astype(np.float32)

    assert -1.0 == pytest.approx(agreement(ours, theirs).spearman)


@pytest.mark.parametrize(("ours", "theirs"), [(2, 2), (3, 4)])
def test_too_few_texts_or_others_are_refused(ours: int, theirs: int) -> None:
    """Two texts have one similarity, and rows must be of the same texts."""
    with pytest.raises(ValueError, match="three or more"):
        agreement(sphere(ours, 4), sphere(theirs, 4))
