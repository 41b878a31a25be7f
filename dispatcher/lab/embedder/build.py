"""Embedder files from the reference: which texts, which steps, where they are put; how each is done stands in its own module."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from dispatcher.embed.protocol import Tier, Vectors
from dispatcher.embed.reference import ReferenceEmbedder
from dispatcher.embed.sealed import write
from dispatcher.embed.table import dump
from dispatcher.embed.tiers import BUILT, built
from dispatcher.lab.embedder.distil import Lesson, Recipe, distil
from dispatcher.lab.embedder.export import export
from dispatcher.lab.embedder.phrases import sentences
from dispatcher.lab.embedder.teacher import Store
from dispatcher.lab.embedder.texts import read_texts

KIN = 30
"""Neighbours of a word that count as its kin when sentences are made up."""

STORE = BUILT / "vectors"
_WORD = re.compile(r"^[a-z]{3,}$")


def build(
    tier: Tier,
    *,
    output: Path | None,
    model: Path | None,
    files: Sequence[Path],
    made_up: int,
    recipe: Recipe,
    say: Callable[[str], None],
) -> Path:
    """Make the file of a tier and give its place. `model` is the reference's directory, `files` hold texts to teach from beside
    `made_up` sentences of our own. Raises `ExtraMissing`, `EmbedderUnusable`, or `ConfigError` for texts that can't be read."""
    if tier not in {Tier.STATIC, Tier.MINILM}:
        raise ConfigError(f"the tier {tier} has no file to build: say static or minilm")
    texts = [text for file in files for text in read_texts(file)]
    if tier is Tier.STATIC and not texts and not made_up:
        raise ConfigError("a static table is learnt from texts: name files with --texts, or a number of --sentences")
    reference = ReferenceEmbedder.open(model)
    say(f"the reference is {reference.identity}")
    sealed = export(reference) if tier is Tier.MINILM else _static(reference, texts, made_up, recipe, say)
    place = output or built(tier)
    write(place, sealed)
    return place


def _static(
    reference: ReferenceEmbedder, texts: Sequence[str], made_up: int, recipe: Recipe, say: Callable[[str], None]
) -> bytes:
    pieces = reference.pieces()
    alone = reference.pieces_alone()
    say(f"{len(pieces)} word pieces are embedded")
    phrases = sentences(made_up, pieces, kin(pieces, alone), seed=recipe.seed)
    taught = list(dict.fromkeys([*phrases, *texts]))
    wanted = Store(STORE, reference, say).vectors(taught)
    lesson = Lesson(teacher=reference.identity, pieces=pieces, alone=alone, texts=taught, wanted=wanted)
    return dump(distil(lesson, recipe, say))


def kin(pieces: Sequence[str], alone: Vectors) -> list[list[int]]:
    """Give each whole word's nearest ones; what is no word has the most frequent ones."""
    words = np.array([number for number, piece in enumerate(pieces) if _WORD.match(piece)])
    centred: NDArray[np.float32] = alone - alone.mean(0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    found = [[int(word) for word in words[:KIN]]] * len(pieces)
    for start in range(0, len(words), 1000):
        some = words[start : start + 1000]
        near = np.argsort(-(centred[some] @ centred[words].T), axis=1, kind="stable")[:, 1 : KIN + 1]
        for word, row in zip(some, near, strict=True):
            found[word] = [int(other) for other in words[row]]
    return found
