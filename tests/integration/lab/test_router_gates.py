"""What a router must reach on data that nobody here made, with text signals alone: no embedder is needed, so it runs everywhere.

The data lie in the folder that DROVER_DATA names, or in shared/data beside the repository; without them these tests skip. The
same with embedders, and the intervals, are printed by `drover lab eval`.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dispatcher.lab.router import splits
from dispatcher.lab.router.evaluate import Material
from dispatcher.lab.router.fit import Examples, scores, train
from dispatcher.lab.router.labels import Columns, Labels, read_labels
from dispatcher.lab.router.material import from_vectors
from dispatcher.lab.router.metrics import apgr, cpt

DATA = Path(os.environ.get("DROVER_DATA") or Path(__file__).parents[4] / "shared" / "data") / "routing"
DEFECTIVE = ("high_school_mathematics", "moral_scenarios")

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"{DATA} is not there: name the folder of the data in DROVER_DATA"
)


def _material(name: str, columns: Columns) -> Material:
    return from_vectors(read_labels(DATA / name, columns), None, None)


def _scored(examples: Examples, parts: list[splits.Split]) -> tuple[np.ndarray, np.ndarray]:
    """Give test rows and their scores, each by a router that did not see it."""
    tests = np.concatenate([test for _, test in parts])
    found = [scores(train(examples.take(rows)), examples.signals[test], None) for rows, test in parts]
    return tests, np.concatenate(found)


@pytest.fixture(scope="module")
def mmlu() -> Material:
    return _material("mmlu_mixtral_vs_gpt4.csv.gz", Columns(domain="subject"))


@pytest.fixture(scope="module")
def gsm8k() -> Material:
    return _material("gsm8k_mixtral_vs_gpt4.csv.gz", Columns())


def _few(labels: Labels, seed: int) -> list[splits.Split]:
    """1,500 labels to train on, as many as RouteLLM had of its own benchmark; all others to test."""
    drawn = np.random.default_rng(seed).permutation(len(labels.prompts))
    return [(drawn[:1500], drawn[1500:])]


@pytest.mark.slow
def test_mmlu_from_1500_labels(mmlu: Material) -> None:
    """Above RouteLLM's best (APGR 0.603, CPT50 35.4 %), in the mean of three draws."""
    figures = []
    for seed in range(3):
        tests, found = _scored(mmlu.prompt, _few(mmlu.labels, seed))
        gain = mmlu.labels.gain[tests]
        figures.append((apgr(found, gain), cpt(found, gain, 0.5)))
    area, calls = np.mean(figures, axis=0)

    assert area >= 0.62
    assert calls <= 0.34


@pytest.mark.slow
def test_gsm8k_by_the_prompt_alone(gsm8k: Material) -> None:
    """Above what length gives, and about RouteLLM's best (0.622)."""
    tests, found = _scored(gsm8k.prompt, list(splits.folds(splits.groups(gsm8k.labels.prompts), 5, 0)))

    assert apgr(found, gsm8k.labels.gain[tests]) >= 0.60


@pytest.mark.slow
def test_gsm8k_with_the_weak_answer(gsm8k: Material) -> None:
    """A look at the answer is worth more than any prompt."""
    assert gsm8k.cascade is not None
    tests, found = _scored(gsm8k.cascade, list(splits.folds(splits.groups(gsm8k.labels.prompts), 5, 0)))

    assert apgr(found, gsm8k.labels.gain[tests]) >= 0.78


@pytest.mark.slow
def test_labels_without_meaning_teach_nothing(gsm8k: Material) -> None:
    """Nothing leaks: with the training labels dealt anew, other prompts are ordered by chance."""
    labels = gsm8k.labels
    figures = []
    for seed in range(3):
        [*_, (rows, test)] = list(splits.folds(splits.groups(labels.prompts), 2, seed))
        known = gsm8k.prompt.take(rows)
        dealt = Examples(
            names=known.names,
            signals=known.signals,
            embedder=None,
            vectors=None,
            gain=np.random.default_rng(seed).permutation(known.gain),
            heads=known.heads,
        )
        figures.append(apgr(scores(train(dealt), gsm8k.prompt.signals[test], None), labels.gain[test]))

    assert 0.4 < np.mean(figures) < 0.6
