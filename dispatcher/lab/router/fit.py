"""Training: from signals, vectors and gains to a `TrainedRouter`; it reads no files and embeds nothing.

Everything is closed form and seeded: the same rows give the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatcher.lab.router.kinds import joined, kinds
from dispatcher.lab.router.least_squares import Parts, Ridge, kernel_ridge, ridge
from dispatcher.lab.router.mixing import MEAN_OF, MIXES, Shares, between, blend, choose, leaning
from dispatcher.routing.trained import Blend, FeatureSpace, Kernel, Memory, TrainedRouter, Vector

Floats = NDArray[np.float64]

GUARD_QUANTILE = 0.02
"""A prompt less alike to its nearest label than 98 % of the labels are to theirs is out of the domain."""

_NOT_ITSELF = -2.0

LENGTH = "chars"
"""The signal that grows with the length of a prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train. The lists are tried by leaving one group out, on `tried_rows` rows at most.

    `weights` weigh the embedding (of length `weight`) against the signals (of length about 1); `gammas` are widths of the kernel.
    `mixes` say how the three opinions may be mixed; the mean of the `mean_of` best on the training rows is taken, half of it
    with each row predicted from others of all kinds, half with its kind (of so many `kinds`, found in the points) unseen. The line
    leans towards longer prompts where they gain more in the training rows: length alone is never far below what is learned from a
    thousand noisy labels, and penalties take most of it away.
    """

    seed: int = 0
    weights: tuple[float, ...] = (1.0, 2.0)
    gammas: tuple[float, ...] = (3.0,)
    tried_rows: int = 750
    neighbours: int = 100
    axes: int = 128
    landmarks: int = 1500
    memory_rows: int = 16384
    kinds: int = 10
    mixes: tuple[Shares, ...] = MIXES
    mean_of: int = MEAN_OF


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """Labelled prompts as numbers: a row of signals and of vectors each, the gain, and how the text begins.

    Rows of one `group` are copies: none is judged by another. None: each row stands alone.
    """

    names: tuple[str, ...]
    signals: Vector
    embedder: str | None
    vectors: Vector | None
    gain: Floats
    heads: tuple[str, ...]
    group: NDArray[np.intp] | None = None

    @property
    def groups(self) -> NDArray[np.intp]:
        """Number the groups."""
        return np.arange(len(self.gain)) if self.group is None else self.group

    def take(self, rows: NDArray[np.intp]) -> Examples:
        """Give some of the examples."""
        return Examples(
            names=self.names,
            signals=self.signals[rows],
            embedder=self.embedder,
            vectors=None if self.vectors is None else self.vectors[rows],
            gain=self.gain[rows],
            heads=tuple(self.heads[row] for row in rows),
            group=None if self.group is None else self.group[rows],
        )


def train(examples: Examples, recipe: Recipe | None = None) -> TrainedRouter:
    """Fit a router to the examples."""
    recipe = recipe or Recipe()
    rng = np.random.default_rng(recipe.seed)
    weight, gamma = _choose(examples, recipe, rng)
    space = feature_space(examples, weight)
    points = space.points(examples.signals, examples.vectors)
    kept = _some(len(points), recipe.memory_rows, rng)
    remembered = examples.take(kept)
    memory = _memory(points[kept], remembered, recipe)
    landmarks = _some(len(kept), recipe.landmarks, rng)
    own = joined(kinds(memory.rows, recipe.kinds, rng), remembered.groups)
    line = _line(points, examples, kept, own)
    kernel, smooth = _kernel(memory.rows, remembered, gamma, landmarks, own)
    near, closest = _neighbours_left_out(memory, remembered.groups)
    apart, _ = _neighbours_left_out(memory, own)
    length = _length(examples, points)
    linear, mix, left_out = _mixed((line, smooth, (near, apart)), kept, length, remembered.gain, recipe)
    return TrainedRouter(
        space=space,
        ridge=linear.weights.astype(np.float32),
        ridge_bias=linear.bias,
        memory=_guarded(memory, closest),
        kernel=kernel,
        blend=mix,
        quantiles=np.quantile(left_out, np.linspace(0, 1, 101)).astype(np.float32),
    )


def scores(router: TrainedRouter, signals: Vector, vectors: Vector | None, block: int = 1024) -> Floats:
    """Give the scores of many prompts: the same figures as one call of `gain` each, many times as fast."""
    points = router.space.points(signals, vectors)
    parts = [_block_scores(router, points[at : at + block]) for at in range(0, len(points), block)]
    return np.concatenate(parts) if parts else np.empty(0)


def feature_space(examples: Examples, weight: float) -> FeatureSpace:
    """Standardise the signals as these examples have them, and centre."""
    signals, width = examples.signals, 0 if examples.vectors is None else examples.vectors.shape[1]
    spread = signals.std(axis=0)
    raw = FeatureSpace(
        signals=examples.names,
        embedder=examples.embedder,
        mean=signals.mean(axis=0).astype(np.float32),
        scale=np.where(spread < 1e-6, 1.0, spread).astype(np.float32),
        weight=weight,
        centre=np.zeros(len(examples.names) + width, dtype=np.float32),
    )
    centre = raw.points(signals, examples.vectors).mean(axis=0).astype(np.float32)
    return FeatureSpace(
        signals=raw.signals, embedder=raw.embedder, mean=raw.mean, scale=raw.scale, weight=weight, centre=centre
    )


def _choose(examples: Examples, recipe: Recipe, rng: np.random.Generator) -> tuple[float, float]:
    """Find the weight of the embedding and the width of the kernel that predict left-out rows best."""
    weights = recipe.weights if examples.vectors is not None else recipe.weights[:1]
    pairs = [(weight, gamma) for weight in weights for gamma in recipe.gammas]
    if len(pairs) == 1:
        return pairs[0]
    sample = examples.take(_some(len(examples.gain), recipe.tried_rows, rng))
    losses = []
    for weight, gamma in pairs:
        points = feature_space(sample, weight).points(sample.signals, sample.vectors)
        rows = _unit(points @ _axes(points, recipe.axes))
        losses.append(_kernel(rows, sample, gamma, np.arange(len(rows)), sample.groups)[1].loss)
    return pairs[int(np.argmin(losses))]


def _memory(points: Vector, examples: Examples, recipe: Recipe) -> Memory:
    axes = _axes(points, recipe.axes)
    return Memory(
        axes=axes,
        rows=_unit(points @ axes),
        gains=examples.gain.astype(np.float32),
        heads=examples.heads,
        count=min(recipe.neighbours, max(5, len(points) // 10)),
        least_similarity=-1.0,
    )


def _guarded(memory: Memory, closest: Vector) -> Memory:
    return Memory(
        axes=memory.axes,
        rows=memory.rows,
        gains=memory.gains,
        heads=memory.heads,
        count=memory.count,
        least_similarity=float(np.quantile(closest, GUARD_QUANTILE)),
    )


def _axes(points: Vector, count: int) -> Vector:
    """Give the principal directions, as columns."""
    wide = points.astype(np.float64)
    _, vectors = np.linalg.eigh(wide.T @ wide)
    return np.ascontiguousarray(vectors[:, ::-1][:, :count], dtype=np.float32)


def _unit(rows: Vector) -> Vector:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-9), dtype=np.float32)


def _line(points: Vector, examples: Examples, kept: NDArray[np.intp], own: NDArray[np.intp]) -> Ridge:
    """Fit the straight line on all rows. Those that the memory does not keep have no kind: they are left out by their group."""
    kind = len(own) + examples.groups
    kind[kept] = own
    return ridge(points.astype(np.float64), examples.gain, Parts(examples.groups, kind))


def _kernel(
    rows: Vector, examples: Examples, gamma: float, chosen: NDArray[np.intp], own: NDArray[np.intp]
) -> tuple[Kernel, Ridge]:
    """Fit the kernel regression on the chosen rows (Nyström): exact where all are chosen."""
    landmarks, parts = rows[chosen].astype(np.float64), Parts(examples.groups, own)
    alike = np.exp(2 * gamma * (landmarks @ landmarks.T - 1))
    if len(chosen) == len(rows):
        exact = kernel_ridge(alike, examples.gain, parts)
        weights = exact.weights.astype(np.float32)
        return Kernel(rows=chosen, weights=weights, gamma=gamma, bias=exact.bias), exact
    values, vectors = np.linalg.eigh(alike)
    sound = values > 1e-7 * values[-1]
    root = vectors[:, sound] / np.sqrt(values[sound])
    mapped = np.exp(2 * gamma * (rows.astype(np.float64) @ landmarks.T - 1)) @ root
    fitted = ridge(mapped, examples.gain, parts)
    weights = (root @ fitted.weights).astype(np.float32)
    return Kernel(rows=chosen, weights=weights, gamma=gamma, bias=fitted.bias), fitted


def _neighbours_left_out(memory: Memory, group: NDArray[np.intp], block: int = 1024) -> tuple[Floats, Vector]:
    """Give what the neighbours of each row say without its group, and how near the nearest is."""
    said, closest = [], []
    for at in range(0, len(memory.rows), block):
        similarities = memory.rows[at : at + block] @ memory.rows.T
        similarities[group[at : at + block, None] == group] = _NOT_ITSELF
        said.append(_vote(similarities, memory))
        closest.append(similarities.max(axis=1))
    return np.concatenate(said), np.concatenate(closest)


def _vote(similarities: Vector, memory: Memory) -> Floats:
    if memory.count < similarities.shape[1]:
        near = np.argpartition(similarities, -memory.count, axis=1)[:, -memory.count :]
    else:
        near = np.broadcast_to(np.arange(similarities.shape[1]), similarities.shape)
    weights = np.maximum(np.take_along_axis(similarities, near, axis=1), 1e-3)
    return np.asarray((weights * memory.gains[near]).sum(axis=1) / weights.sum(axis=1), dtype=np.float64)


def _block_scores(router: TrainedRouter, points: Vector) -> Floats:
    similarities = _unit(points @ router.memory.axes) @ router.memory.rows.T
    near = similarities[:, router.kernel.rows]
    kernel = np.exp((2 * router.kernel.gamma) * (near - 1)) @ router.kernel.weights + router.kernel.bias
    linear = points @ router.ridge + router.ridge_bias
    knn = _vote(similarities, router.memory)
    mix = router.blend
    return np.asarray(mix.bias + mix.ridge * linear + mix.kernel * kernel + mix.knn * knn, dtype=np.float64)


def _length(examples: Examples, points: Vector) -> tuple[int | None, Floats]:
    """Give where length stands among the signals, and how long each prompt is; nowhere where longer ones gain no more."""
    if LENGTH in examples.names:
        at = examples.names.index(LENGTH)
        length = points[:, at].astype(np.float64)
        if length.std() > 1e-9 and float(np.mean((length - length.mean()) * examples.gain)) > 0:
            return at, length
    return None, np.zeros(len(points))


def _mixed(
    fitted: tuple[Ridge, Ridge, tuple[Floats, Floats]],
    kept: NDArray[np.intp],
    length: tuple[int | None, Floats],
    gain: Floats,
    recipe: Recipe,
) -> tuple[Ridge, Blend, Floats]:
    """Find the shares, half by rows of seen kinds and half by those of unseen ones, and mix by them.

    Gives the straight line with its lean, the mix, and what it says of each row kept.
    """
    (line, smooth, (near, apart)), (at, lengths) = fitted, length
    opinions = np.stack([line.left_out[kept], smooth.left_out, near])
    spreads = np.maximum(opinions.std(axis=1), 1e-9)
    lengths_spread = max(float(lengths.std()), 1e-9)
    known, new = (
        choose(np.vstack([one / spreads[:, None], lengths[kept] / lengths_spread]), gain, recipe.mixes, recipe.mean_of)
        for one in (opinions, np.stack([line.apart[kept], smooth.apart, apart]))
    )
    shares = between(known, new)
    if at is None:
        shares = shares._replace(length=0.0)
    line = leaning(line, lengths, at, shares, (float(spreads[0]), lengths_spread))
    opinions[0] = line.left_out[kept]
    mix, left_out = blend(opinions, spreads, gain, shares)
    return line, mix, left_out


def _some(count: int, most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Give all of `count` rows, or `most` of them by chance, in their order."""
    if count <= most:
        return np.arange(count)
    return np.sort(rng.permutation(count)[:most])


def heads_of(prompts: Sequence[str], chars: int) -> tuple[str, ...]:
    """Give how the texts begin, on one line each; with `chars` 0 nothing of them is kept."""
    return tuple(" ".join(prompt[: 4 * chars].split())[:chars] for prompt in prompts)
