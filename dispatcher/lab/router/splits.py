"""Splits of labelled prompts into training and test that share no group; it knows neither labels nor models.

Prompts with the same first characters are one group: passages that several questions share, and copies of a question, would else
stand on both sides. A group is never divided.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
Split = tuple[Rows, Rows]

HEAD_CHARS = 100
"""MMLU's history and moral items share passages that begin alike over at least so many characters."""


WHOLE = 10**9
"""As many characters as a prompt may have: then copies alone are a group."""


def groups(prompts: Sequence[str], head_chars: int = HEAD_CHARS) -> Rows:
    """Number the groups: prompts alike in their first `head_chars` characters, spaces and case aside, are one."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(_plain(one)[:head_chars], len(known)) for one in prompts], dtype=np.intp)


def alike(prompts: Sequence[str]) -> tuple[Rows, bool]:
    """Number what begins alike, and tell whether that says anything: where over half of the prompts begin so, it is an instruction
    that they share and no passage, and the groups are those of copies alone."""
    heads = groups(prompts)
    return (heads, True) if np.bincount(heads).max() <= len(heads) / 2 else (groups(prompts, WHOLE), False)


def fingerprints(prompts: Sequence[str]) -> NDArray[np.uint64]:
    """Give a number for each prompt by which a copy of it is known, spaces and case aside; the prompt can't be read from it."""
    digests = (hashlib.blake2b(_plain(one).encode("utf-8", "surrogatepass"), digest_size=8).digest() for one in prompts)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _plain(prompt: str) -> str:
    return " ".join(prompt.split()).casefold()


def shared(group: Rows) -> float:
    """Give the part of the rows that stand in a group with others."""
    sizes = np.bincount(group)
    return float(sizes[sizes > 1].sum() / max(1, len(group)))


def holdout(group: Rows, train_rows: int, seed: int) -> Split:
    """Put whole groups into training, in random order, while no more than `train_rows` rows are in it; the rest is test."""
    rng = np.random.default_rng(seed)
    sizes = np.bincount(group)
    inside = np.zeros(len(sizes), dtype=bool)
    left = train_rows
    for one in rng.permutation(len(sizes)):
        if sizes[one] <= left:
            inside[one] = True
            left -= sizes[one]
    train = inside[group]
    return np.flatnonzero(train), np.flatnonzero(~train)


def folds(group: Rows, count: int, seed: int) -> Iterator[Split]:
    """Give `count` splits, or as many as there are groups; each row is in exactly one test part, each group too."""
    count = min(count, int(group.max()) + 1)
    rng = np.random.default_rng(seed)
    fold = (rng.permutation(int(group.max()) + 1) % count)[group]
    for one in range(count):
        yield np.flatnonzero(fold != one), np.flatnonzero(fold == one)


def domain_folds(domains: Sequence[str], group: Rows, count: int, seed: int) -> Iterator[Split]:
    """Give splits whose test part holds domains that training never saw. Groups that reach into a test domain leave training."""
    names = sorted(set(domains))
    count = min(count, len(names))
    rng = np.random.default_rng(seed)
    fold_of = dict(zip(names, rng.permutation(len(names)) % count, strict=True))
    fold = np.array([fold_of[domain] for domain in domains])
    for one in range(count):
        test = fold == one
        train = ~test & ~np.isin(group, np.unique(group[test]))
        yield np.flatnonzero(train), np.flatnonzero(test)
