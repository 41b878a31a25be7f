"""Scopes to learn and to measure on: which questions are kept, which are asked, and in which order. Seeded; it computes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dispatcher.lab.cache.corpus import Corpus, Rows

Chance = np.random.Generator

MOST_KEPT = 300
"""Entries of a scope that is drawn to learn from; the dispatcher keeps 200 unless told otherwise."""

_MOST_INTENTS = 60
_MOST_OF_ONE = 12


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """What is kept in one scope, and what is asked of it."""

    kept: Rows
    asked: Rows


def folds(intents: Rows, count: int, chance: Chance) -> Iterator[tuple[Rows, Rows]]:
    """Divide intents: give those to learn from and those that stay unseen, `count` times; each is unseen once."""
    order = chance.permutation(intents)
    for one in range(count):
        unseen = np.sort(order[one::count])
        yield np.setdiff1d(intents, unseen), unseen


def kept_of_each(rows: Rows, intent: Rows, count: int, chance: Chance) -> Rows:
    """Draw `count` questions of each intent among some rows; of one that has fewer, all."""
    of_rows = intent[rows]
    drawn = [chance.permutation(rows[of_rows == one])[:count] for one in np.unique(of_rows)]
    return np.concatenate(drawn)


def varied(made: Corpus, rows: Rows, chance: Chance, *, asked: int) -> Scope:
    """Draw a scope as a tenant may have one: few intents or many, each with one entry or several or none yet."""
    groups = made.intent[rows]
    intents = np.unique(groups)
    most = min(_MOST_INTENTS, len(intents))
    chosen = chance.permutation(intents)[: int(chance.integers(min(3, most), most + 1))]
    sizes = _sizes(len(chosen), chance)
    order = chance.permutation(rows)
    of_order = made.intent[order]
    kept, rest = [], []
    for intent, size in zip(chosen.tolist(), sizes.tolist(), strict=True):
        members = order[of_order == intent]
        kept.append(members[:size])
        rest.append(members[size:])
    outside = made.outside[rows]
    strangers = chance.permutation(rows[outside])[: len(chosen)] if outside.any() else rows[:0]
    inside, left = chance.permutation(np.concatenate(kept))[:MOST_KEPT], np.concatenate([*rest, strangers])
    return Scope(kept=inside, asked=chance.permutation(left)[:asked])


def _sizes(count: int, chance: Chance) -> NDArray[np.int64]:
    match int(chance.integers(4)):
        case 0:
            sizes = np.full(count, chance.integers(1, 11))
        case 1:
            sizes = np.ones(count, dtype=np.int64)
        case 2:
            sizes = np.minimum(_MOST_OF_ONE, chance.geometric(0.3, count))
        case _:
            sizes = chance.integers(0, 9, count)
    return sizes if sizes.sum() > 1 else np.ones(count, dtype=np.int64)


def order(rows: Rows, chance: Chance, repeats: Sequence[int] = ()) -> Rows:
    """Give the order in which questions of a stream come."""
    return chance.permutation(np.concatenate([rows, np.array(repeats, dtype=rows.dtype)]))
