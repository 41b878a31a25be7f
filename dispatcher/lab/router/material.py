"""From labels to numbers: text signals, vectors where there is an embedder, answer signals where there are answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from dispatcher.lab.embedding import CHARS
from dispatcher.lab.router import splits
from dispatcher.lab.router.evaluate import Material
from dispatcher.lab.router.fit import Examples, heads_of
from dispatcher.lab.router.labels import Labels
from dispatcher.lab.router.vectors import Embedder, Vector, embed_all
from dispatcher.routing.answer_signals import ANSWER_SIGNALS, answer_signals
from dispatcher.routing.prompt_signals import SIGNALS, prompt_signals

HEAD_CHARS = 80
"""So much of each prompt is kept in the weights, so that an explanation can show neighbours."""


def material(
    labels: Labels,
    embedder: Embedder | None,
    *,
    cache: Path,
    head_chars: int = HEAD_CHARS,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    chars: int = CHARS,
) -> Material:
    """Compute what is learned from. Embedding blocks, reads `chars` characters of a prompt at most, and tells its progress."""
    vectors = None if embedder is None else embed_all(embedder, labels.prompts, cache, progress, chars=chars)
    return from_vectors(labels, vectors, None if embedder is None else str(embedder.identity), head_chars=head_chars)


def from_vectors(
    labels: Labels, vectors: Vector | None, identity: str | None, *, head_chars: int = HEAD_CHARS
) -> Material:
    """As `material`, with vectors that are there already: a row for each label."""
    prompt = Examples(
        names=SIGNALS,
        signals=np.array([prompt_signals(prompt) for prompt in labels.prompts], dtype=np.float32),
        embedder=identity,
        vectors=vectors,
        gain=labels.gain,
        heads=heads_of(labels.prompts, head_chars),
        group=splits.groups(labels.prompts, splits.WHOLE),
    )
    return Material(labels=labels, prompt=prompt, cascade=_cascade(labels, prompt))


def _cascade(labels: Labels, prompt: Examples) -> Examples | None:
    if labels.answers is None:
        return None
    pairs = zip(labels.prompts, labels.answers, strict=True)
    found = np.array([answer_signals(question, answer) for question, answer in pairs], dtype=np.float32)
    return Examples(
        names=(*SIGNALS, *ANSWER_SIGNALS),
        signals=np.hstack([prompt.signals, found]),
        embedder=prompt.embedder,
        vectors=prompt.vectors,
        gain=prompt.gain,
        heads=prompt.heads,
        group=prompt.group,
    )
