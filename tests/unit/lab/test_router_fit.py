"""Training: closed forms against brute force, and what is learned from data whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dispatcher.lab.router import least_squares
from dispatcher.lab.router.fit import Examples, Recipe, scores, train
from dispatcher.lab.router.kinds import joined, kinds
from dispatcher.lab.router.least_squares import Parts
from dispatcher.lab.router.metrics import apgr
from dispatcher.routing.trained import TrainedRouter


def examples(count: int, seed: int, *, dimensions: int = 8) -> Examples:
    """Prompts whose gain depends on one signal and one direction of the embedding."""
    rng = np.random.default_rng(seed)
    signals = rng.normal(size=(count, 3)).astype(np.float32)
    vectors = rng.normal(size=(count, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chance = 1 / (1 + np.exp(-(1.5 * signals[:, 0] + 4 * vectors[:, 0])))
    return Examples(
        names=("a", "b", "c"),
        signals=signals,
        embedder="toy",
        vectors=vectors if dimensions else None,
        gain=(rng.random(count) < chance).astype(float),
        heads=tuple(f"prompt {row}" for row in range(count)),
    )


def _router(rows: int = 300, recipe: Recipe | None = None) -> tuple[TrainedRouter, Examples]:
    known = examples(rows, 0)
    return train(known, recipe), known


def test_leaving_one_out_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The closed form gives what fitting without the row gives."""
    monkeypatch.setattr(least_squares, "PENALTIES", np.array([3.0]))
    rng = np.random.default_rng(0)
    rows, target = rng.normal(size=(40, 5)), rng.normal(size=40)
    left_out = []
    for one in range(40):
        rest = np.arange(40) != one
        fitted = least_squares.ridge(rows[rest], target[rest])
        left_out.append(rows[one] @ fitted.weights + fitted.bias)

    assert least_squares.ridge(rows, target).left_out == pytest.approx(np.array(left_out))


def test_leaving_a_group_out_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where groups are of different sizes, and for the kernel."""
    monkeypatch.setattr(least_squares, "PENALTIES", np.array([3.0]))
    rng = np.random.default_rng(0)
    rows, target, group = rng.normal(size=(40, 5)), rng.normal(size=40), rng.integers(0, 12, 40)
    left_out = np.zeros(40)
    for one in range(12):
        inside = group == one
        fitted = least_squares.ridge(rows[~inside], target[~inside])
        left_out[inside] = rows[inside] @ fitted.weights + fitted.bias

    alone = np.arange(40)
    for parts, of in ((Parts(group, alone), "left_out"), (Parts(alone, group), "apart")):
        for found in (
            least_squares.ridge(rows, target, parts),
            least_squares.kernel_ridge(rows @ rows.T, target, parts),
        ):
            assert getattr(found, of) == pytest.approx(left_out, abs=1e-4)


def test_one_group_of_nearly_all_can_be_fitted_too() -> None:
    """Then its rows are left out one by one: without it there would be nothing to fit."""
    rng = np.random.default_rng(0)
    rows, target, group = rng.normal(size=(40, 5)), rng.normal(size=40), np.r_[np.zeros(39, dtype=int), 1]

    assert least_squares.ridge(rows, target, Parts(group, group)).loss == least_squares.ridge(rows, target).loss


def test_kinds_are_what_lies_together() -> None:
    """Three bundles of directions are three kinds, whatever their order; and a group is of one kind alone."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 90)
    rows = np.eye(6)[true] + 0.05 * rng.normal(size=(90, 6))
    found = kinds(rows / np.linalg.norm(rows, axis=1, keepdims=True), 12, rng)
    pairs = {(int(one), int(own)) for one, own in zip(true, found, strict=True)}

    assert len(pairs) == len({own for _, own in pairs})
    assert joined(np.array([4, 5, 6, 7]), np.array([0, 1, 0, 1])).tolist() == [4, 5, 4, 5]


def test_a_lean_that_holds_for_new_kinds_is_kept() -> None:
    """Inside each of ten kinds of prompts the vector says what gains, and in no two kinds alike; longer prompts gain a little more
    in all. Of a kind that was never seen a router that knows this orders better than chance."""
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 20, 1600)
    middles = rng.normal(size=(20, 16))
    vectors = (middles[kind] + 0.3 * rng.normal(size=(1600, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    length = rng.normal(size=1600)
    chance = 1 / (1 + np.exp(-(0.6 * length + rng.normal(size=20)[kind])))
    known = Examples(
        names=("chars", "b"),
        signals=np.column_stack([length, rng.normal(size=1600)]).astype(np.float32),
        embedder="toy",
        vectors=vectors,
        gain=(rng.random(1600) < chance).astype(float),
        heads=("",) * 1600,
    )
    new = np.flatnonzero(kind >= 10)
    router = train(known.take(np.flatnonzero(kind < 10)))

    assert apgr(scores(router, known.signals[new], vectors[new]), known.gain[new]) > 0.54


def test_kernel_ridge_with_a_linear_kernel_is_ridge() -> None:
    """Two ways to one fit."""
    rng = np.random.default_rng(1)
    rows, target = rng.normal(size=(40, 5)), rng.normal(size=40)
    plain, kernel = least_squares.ridge(rows, target), least_squares.kernel_ridge(rows @ rows.T, target)

    assert rows @ rows.T @ kernel.weights + kernel.bias == pytest.approx(rows @ plain.weights + plain.bias)


def test_one_prompt_is_judged_as_among_many() -> None:
    """The batch that evaluation uses and the call that routing uses give the same scores, exact and with landmarks."""
    for recipe in (Recipe(), Recipe(landmarks=60, memory_rows=200)):
        router, _ = _router(recipe=recipe)
        asked = examples(20, 1)
        one_by_one = [router.gain(asked.signals[row].tolist(), asked.vectors[row]).score for row in range(20)]  # type: ignore[index]

        assert scores(router, asked.signals, asked.vectors) == pytest.approx(one_by_one, abs=1e-4)


def test_it_learns_what_there_is_to_learn() -> None:
    """On other prompts of the same kind it orders much better than chance, and by chance where labels are noise."""
    asked = examples(2000, 2)
    known = examples(600, 3)
    noise = replace(known, gain=np.random.default_rng(4).permutation(known.gain))
    learned, fooled = (apgr(scores(train(one), asked.signals, asked.vectors), asked.gain) for one in (known, noise))

    assert learned > 0.66
    assert 0.4 < fooled < 0.6


def test_scores_are_gains() -> None:
    """A score is on the scale of the labels: over many prompts they agree on the mean."""
    asked = examples(2000, 5)
    router, _ = _router(600)

    assert scores(router, asked.signals, asked.vectors).mean() == pytest.approx(asked.gain.mean(), abs=0.05)


def test_the_same_seed_gives_the_same_weights() -> None:
    """Also where rows are drawn by chance."""
    recipe = Recipe(landmarks=60, memory_rows=100, tried_rows=80, seed=5)
    first, again = (_router(recipe=recipe)[0] for _ in range(2))

    assert (first.memory.heads, first.ridge.tolist()) == (again.memory.heads, again.ridge.tolist())


def test_text_signals_alone_are_enough_to_train() -> None:
    """Without any embedder."""
    known = replace(examples(300, 0), vectors=None, embedder=None)
    router = train(known)
    judged = router.gain(known.signals[0].tolist(), None)

    assert (router.space.dimensions, len(judged.neighbours)) == (0, 5)


def test_the_nearest_neighbour_of_a_labelled_prompt_is_itself() -> None:
    """Neighbours are told with how their text begins, their label, and how alike they are."""
    router, known = _router()
    assert known.vectors is not None
    judged = router.gain(known.signals[7].tolist(), known.vectors[7], shown=1)
    [nearest] = judged.neighbours

    assert (nearest.head, nearest.gain, round(nearest.similarity, 3)) == ("prompt 7", known.gain[7], 1.0)


def test_what_is_unlike_all_labels_is_out_of_the_domain() -> None:
    """Few labelled prompts are, and one from the far side is."""
    rng = np.random.default_rng(0)
    known = examples(400, 0)
    assert known.vectors is not None
    vectors = np.abs(known.vectors) + np.float32(2)
    router = train(replace(known, vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))
    far = -np.ones(8, dtype=np.float32) / np.sqrt(np.float32(8))
    inside = [
        router.gain(rng.normal(size=3).tolist(), vectors[row] / np.linalg.norm(vectors[row])).in_domain
        for row in range(50)
    ]

    assert sum(inside) > 40
    assert not router.gain([0.0, 0.0, 0.0], far).in_domain


def test_copies_do_not_teach_themselves() -> None:
    """Each label twice: what is told apart as unlike, and the quantiles that thresholds come from, stay what they were."""
    once = examples(300, 0)
    asked = examples(400, 1)
    rows = np.tile(np.arange(300), 2)
    first, again = train(once), train(replace(once.take(rows), group=rows))
    outside = []
    for router in (first, again):
        assert asked.vectors is not None
        judged = [router.gain(asked.signals[row].tolist(), asked.vectors[row]) for row in range(400)]
        outside.append(np.mean([not one.in_domain for one in judged]))

    assert again.memory.least_similarity == pytest.approx(first.memory.least_similarity, abs=0.05)
    assert max(outside) < 0.1
    assert np.ptp(again.quantiles) == pytest.approx(np.ptp(first.quantiles), rel=0.35)


def test_a_threshold_is_the_quantile_of_training() -> None:
    """A third of the training prompts' own scores lie above the threshold for a third."""
    router, known = _router(600)
    found = scores(router, known.signals, known.vectors) > router.threshold(1 / 3)

    assert found.mean() == pytest.approx(1 / 3, abs=0.1)
