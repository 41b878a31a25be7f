"""The fit of a table, for real, against a teacher whose truth is known; skipped where torch is not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dispatcher.embed import EmbedderId
from dispatcher.embed.sealed import write
from dispatcher.embed.static import StaticEmbedder
from dispatcher.embed.table import dump
from dispatcher.lab.embedder.agreement import agreement
from dispatcher.lab.embedder.distil import Lesson, Recipe, distil

pytest.importorskip("torch", reason="the extra embedder is not installed: torch")
pytestmark = pytest.mark.filterwarnings("default")

WORDS = tuple(f"w{chr(97 + a)}{chr(97 + b)}" for a in range(8) for b in range(8))
PIECES = ("[UNK]", *WORDS)
RECIPE = Recipe(dimensions=8, map_epochs=20, row_epochs=60, row_rate=2e-2, batch=128)


def lesson(texts: int) -> Lesson:
    """A teacher for whom a text is the sum of its words' meanings, of which single pieces show half the truth."""
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(len(PIECES), 8)).astype(np.float32)
    alone = meaning + rng.normal(size=meaning.shape).astype(np.float32)
    rows = [rng.integers(1, len(PIECES), size=6) for _ in range(texts)]
    wanted = np.stack([meaning[row].sum(0) for row in rows])
    return Lesson(
        teacher=EmbedderId(name="teacher", version="1", dimensions=8),
        pieces=PIECES,
        alone=alone / np.linalg.norm(alone, axis=1, keepdims=True),
        texts=[" ".join(PIECES[word] for word in row) for row in rows],
        wanted=wanted / np.linalg.norm(wanted, axis=1, keepdims=True),
    )


def test_a_table_learns_what_its_teacher_means_also_for_texts_it_has_not_seen(tmp_path: Path) -> None:
    """Fitted on 800 texts, it puts 200 others where the teacher does; pieces alone, unfitted, do not."""
    whole = lesson(1000)
    taught = Lesson(
        teacher=whole.teacher,
        pieces=whole.pieces,
        alone=whole.alone,
        texts=whole.texts[:800],
        wanted=whole.wanted[:800],
    )
    said: list[str] = []
    spearman = []
    for recipe in (Recipe(dimensions=8, map_epochs=0, row_epochs=0), RECIPE):
        write(tmp_path / "t.bin", dump(distil(taught, recipe, said.append)))
        ours = StaticEmbedder.open(tmp_path / "t.bin").embed(whole.texts[800:])
        spearman.append(agreement(ours, whole.wanted[800:]).spearman)

    assert spearman[0] < 0.9
    assert spearman[1] > 0.95
    assert 80 == len(said)


def test_the_same_lesson_gives_the_same_file() -> None:
    """Seed, texts and recipe decide every byte."""
    short = Recipe(dimensions=4, map_epochs=1, row_epochs=2, batch=32)

    assert dump(distil(lesson(100), short, lambda _: None)) == dump(distil(lesson(100), short, lambda _: None))


def test_the_card_tells_what_the_table_was_made_of() -> None:
    """Teacher, number and hash of the texts, knobs."""
    card = distil(lesson(50), Recipe(dimensions=4, map_epochs=1, row_epochs=1), lambda _: None).card

    assert ("teacher-8@1", 50, 4, 64) == (
        card["reference"],
        card["texts"],
        card["recipe"]["dimensions"],
        len(card["texts_sha256"]),
    )
