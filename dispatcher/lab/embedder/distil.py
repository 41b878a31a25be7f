"""A static table out of the reference: what each word piece must be, so that sums come close to whole texts.

It knows no file. The steps, each measured by `drover embedder check` on texts that it had not seen: each piece is encoded alone,
its vector weighted by the logarithm of its rank; a linear map and a weight for each piece are fitted on texts; then every row is.
Rows of pieces that no text has keep what the first two steps gave them.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatcher.embed.errors import ExtraMissing
from dispatcher.embed.protocol import EmbedderId, Tier, Vectors
from dispatcher.embed.table import Table
from dispatcher.embed.words import MOST_PIECES, readable, splitter

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The knobs of the fit, found on texts kept out of it; `batch` is texts for one step."""

    dimensions: int = 256
    map_epochs: int = 3
    map_rate: float = 1e-2
    row_epochs: int = 5
    row_rate: float = 2e-3
    batch: int = 512
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What the teacher says: `alone` are its vectors of the pieces, `wanted` those of `texts`."""

    teacher: EmbedderId
    pieces: Sequence[str]
    alone: Vectors
    texts: Sequence[str]
    wanted: Vectors


def distil(lesson: Lesson, recipe: Recipe, say: Say) -> Table:
    """Fit a table. Raises `ExtraMissing` without torch."""
    torch = _torch()
    torch.manual_seed(recipe.seed)
    cut = splitter(lesson.pieces)
    ids = [_ids(cut.encode(readable(text), add_special_tokens=False).ids) for text in lesson.texts]
    kept = [place for place, found in enumerate(ids) if len(found)]
    axes = _axes(lesson.wanted, recipe)
    fit = _Fit(torch, [ids[place] for place in kept], lesson.wanted[kept] @ axes, recipe, say)
    rows = fit.table(_start(lesson.alone, axes))
    return _packed(rows, lesson.wanted.mean(0) @ axes, lesson.pieces, _card(lesson, recipe, np.concatenate(ids)))


def _ids(found: list[int]) -> Ids:
    return np.array(found[:MOST_PIECES], dtype=np.int64)


def _axes(wanted: Vectors, recipe: Recipe) -> Floats:
    """The directions that texts take most, about zero rather than their mean: cosines then stay what they were."""
    _, directions = np.linalg.eigh(wanted.T.astype(np.float64) @ wanted)
    return np.ascontiguousarray(directions[:, ::-1][:, : recipe.dimensions], dtype=np.float32)


def _start(alone: Vectors, axes: Floats) -> Floats:
    """Pieces alone: the vocabulary is sorted by frequency, so a piece that comes later says more."""
    rank = np.log1p(np.arange(len(alone))) / np.log(len(alone))
    start: Floats = ((alone @ axes) * rank[:, None]).astype(np.float32)
    return start


class _Fit:
    """Gradient descent on one minus the cosine, in torch, on one thread: the order of its sums is then always the same."""

    def __init__(self, torch: Any, ids: Sequence[Ids], wanted: Floats, recipe: Recipe, say: Say) -> None:
        self._torch = torch
        self._ids = ids
        self._wanted = torch.from_numpy(np.ascontiguousarray(wanted))
        self._recipe = recipe
        self._say = say
        self._order = np.random.default_rng(recipe.seed)

    def table(self, start: Floats) -> Floats:
        """Give the rows."""
        torch, recipe = self._torch, self._recipe
        first = torch.from_numpy(start)
        carry = torch.eye(start.shape[1]).requires_grad_()
        weight = torch.zeros(len(start), 1).requires_grad_()
        self._descend(
            "map", [carry, weight], lambda: (first @ carry) * torch.exp(weight), recipe.map_epochs, recipe.map_rate
        )
        with torch.no_grad():
            mapped = (first @ carry) * torch.exp(weight)
            rows = (mapped / mapped.norm(dim=1).mean()).requires_grad_()
        self._descend("rows", [rows], lambda: rows, recipe.row_epochs, recipe.row_rate)
        result: Floats = rows.detach().numpy()
        return result

    def _descend(self, name: str, values: list[Any], table: Callable[[], Any], epochs: int, rate: float) -> None:
        torch, batches = self._torch, -(-len(self._ids) // self._recipe.batch)
        optimizer = torch.optim.Adam(values, lr=rate)
        slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=max(1, epochs * batches))
        for epoch in range(epochs):
            total = 0.0
            for some in np.array_split(self._order.permutation(len(self._ids)), batches):
                loss = self._loss(table(), some)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                slower.step()
                total += loss.item() / batches
            self._say(f"{name}, round {epoch + 1} of {epochs}: cosine {1 - total:.3f}")

    def _loss(self, table: Any, some: Ids) -> Any:
        torch, chosen = self._torch, [self._ids[place] for place in some]
        starts = np.cumsum([0, *(len(one) for one in chosen[:-1])])
        sums = torch.nn.functional.embedding_bag(
            torch.from_numpy(np.concatenate(chosen)), table, torch.from_numpy(starts), mode="sum"
        )
        return 1 - torch.nn.functional.cosine_similarity(sums, self._wanted[some]).mean()


def _packed(rows: Floats, middle: Floats, pieces: Sequence[str], card: dict[str, Any]) -> Table:
    """Rows as int8, one scale for each column: sums of pieces stay sums of integers."""
    scale = (np.abs(rows).max(axis=0) / 127 + 1e-12).astype(np.float32)
    return Table(
        rows=np.clip(np.rint(rows / scale), -127, 127).astype(np.int8),
        scale=scale,
        nothing=(middle / np.linalg.norm(middle)).astype(np.float32),
        pieces=tuple(pieces),
        card=card,
    )


def _card(lesson: Lesson, recipe: Recipe, ids: Ids) -> dict[str, Any]:
    return {
        "tier": str(Tier.STATIC),
        "from": "sentence-transformers/all-MiniLM-L6-v2",
        "licence": "Apache-2.0",
        "reference": str(lesson.teacher),
        "texts": len(lesson.texts),
        "texts_sha256": hashlib.sha256("\0".join(lesson.texts).encode("utf-8", "surrogatepass")).hexdigest(),
        "pieces_seen": len(np.unique(ids)),
        "recipe": asdict(recipe),
    }


def _torch() -> Any:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise ExtraMissing("building the static table", "embedder", "torch") from error
    torch.set_num_threads(1)
    return torch
