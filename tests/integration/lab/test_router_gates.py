"""What a router reaches on data that nobody here made, with the embedder that is shipped, beside what the project set out to reach.

The data lie in the folder that DROVER_DATA names, or in shared/data beside the repository; without the latter these tests skip, and
a folder that was named and is not there fails them. They are parts of the public files. Behind each bound stands what was measured,
and where the project's target is missed it says so. Intervals by `drover lab eval` stand in dispatcher/lab/router/FINDINGS.md; they
are so wide that a bound here guards the code, and proves no rank. Each prompt is embedded once; nothing is sampled.

The static table was fitted to the wording, never to a label, of LLMRouter's train split, in which 142 of the 928 questions of GSM8K
here stand too. A table fitted without them, and without all that begins like a test prompt, gives the same within 0.004.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dispatcher.embed import Tier, open_embedder
from dispatcher.lab.router import splits
from dispatcher.lab.router.evaluate import Material
from dispatcher.lab.router.fit import Examples, scores, train
from dispatcher.lab.router.labels import Columns, read_labels
from dispatcher.lab.router.material import material
from dispatcher.lab.router.metrics import apgr, cpt

DATA = Path(os.environ.get("DROVER_DATA") or Path(__file__).parents[4] / "shared" / "data") / "routing"
LLMROUTER = "llmrouter_9models.csv.gz"
DEFECTIVE = ("high_school_mathematics", "moral_scenarios")
"""MMLU subjects of which one model's answers were recorded wrongly; they lift every figure."""

NAMED = "DROVER_DATA" in os.environ

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(
        900
    ),  # two dozen routers are trained: seconds on a free machine, minutes on one that builds beside it
    pytest.mark.skipif(
        not NAMED and not DATA.is_dir(), reason=f"{DATA} is not there: name the folder of the data in DROVER_DATA"
    ),
]

Scored = tuple[NDArray[np.intp], NDArray[np.float64]]


def _read(name: str, columns: Columns, cache: Path) -> Material:
    return material(read_labels(DATA / name, columns), open_embedder(Tier.STATIC), cache=cache)


def _scored(examples: Examples, parts: Sequence[splits.Split]) -> Scored:
    """Give test rows and their scores, each by a router that did not see it."""
    tests = np.concatenate([test for _, test in parts])
    return tests, np.concatenate([_by_others(examples, rows, test) for rows, test in parts])


def _by_others(examples: Examples, rows: NDArray[np.intp], test: NDArray[np.intp]) -> NDArray[np.float64]:
    vectors = None if examples.vectors is None else examples.vectors[test]
    return scores(train(examples.take(rows)), examples.signals[test], vectors)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vectors")


@pytest.fixture(scope="module")
def mmlu(cache: Path) -> Material:
    return _read("mmlu_mixtral_vs_gpt4.csv.gz", Columns(domain="subject"), cache)


@pytest.fixture(scope="module")
def gsm8k(cache: Path) -> Material:
    return _read("gsm8k_mixtral_vs_gpt4.csv.gz", Columns(), cache)


def _few(mmlu: Material, head_chars: int) -> list[Scored]:
    """Three draws of 1,500 labels to train on, as many as RouteLLM had of its own benchmark; all others to test."""
    group = splits.groups(mmlu.labels.prompts, head_chars)
    return [_scored(mmlu.prompt, [splits.holdout(group, 1500, seed)]) for seed in range(3)]


@pytest.fixture(scope="module")
def apart(mmlu: Material) -> list[Scored]:
    """What begins alike stands on one side: passages, and subjects of one template. It is the split that the data ask for."""
    return _few(mmlu, splits.HEAD_CHARS)


@pytest.fixture(scope="module")
def mixed(mmlu: Material) -> list[Scored]:
    """Copies alone stand on one side, as where RouteLLM took other questions of the same subjects to train on."""
    return _few(mmlu, splits.WHOLE)


def _figures(mmlu: Material, few: Sequence[Scored]) -> tuple[float, float, float]:
    """Give APGR, CPT50, and APGR without what was recorded wrongly."""
    gain, sound = mmlu.labels.gain, ~np.isin(mmlu.labels.domains, DEFECTIVE)
    found = [
        (apgr(score, gain[test]), cpt(score, gain[test], 0.5), apgr(score[sound[test]], gain[test[sound[test]]]))
        for test, score in few
    ]
    area, calls, without = np.mean(found, axis=0)
    return float(area), float(calls), float(without)


def test_mmlu_divided_by_how_questions_begin(mmlu: Material, apart: list[Scored]) -> None:
    """The target of 0.64 and 31 % is missed: a whole template (895 moral scenarios) is then never seen, or all but filled with.
    Without the two subjects the target of 0.57 is met."""
    area, calls, without = _figures(mmlu, apart)

    assert area >= 0.575  # 0.591: 0.016; the target is 0.64
    assert calls <= 0.45  # 0.421: 0.029; the target is 0.31
    assert without >= 0.57  # 0.578: 0.008


def test_mmlu_divided_by_copies(mmlu: Material, mixed: list[Scored]) -> None:
    """The targets of 0.64, 31 % and 0.57 are met. RouteLLM's best published, from other questions of the same subjects: 0.603 and
    35.4 %. A part of it is one template that is recorded wrongly and stands on both sides."""
    area, calls, without = _figures(mmlu, mixed)

    assert area >= 0.64  # 0.664: 0.024
    assert calls <= 0.31  # 0.276: 0.034
    assert without >= 0.57  # 0.582: 0.012


def test_mmlu_on_unseen_subjects(mmlu: Material) -> None:
    """Five parts of the subjects, each judged by a router that saw no question of its subjects; two divisions. The target is met,
    but the prompt's length alone gives 0.594: of new subjects a router hardly knows more."""
    labels = mmlu.labels
    found = []
    for seed in range(2):
        parts = list(splits.domain_folds(labels.domains, splits.groups(labels.prompts), 5, seed))
        tests, score = _scored(mmlu.prompt, parts)
        found.append(apgr(score, labels.gain[tests]))

    assert np.mean(found) >= 0.58  # 0.598 and 0.601, 0.600: 0.020


def _divided(examples: Examples, gsm8k: Material) -> float:
    """Give the mean of two divisions into five parts: one alone is off by a hundredth."""
    group = splits.groups(gsm8k.labels.prompts)
    found = [_scored(examples, list(splits.folds(group, 5, seed))) for seed in range(2)]
    return float(np.mean([apgr(score, gsm8k.labels.gain[tests]) for tests, score in found]))


def test_gsm8k_by_the_prompt_alone(gsm8k: Material) -> None:
    """RouteLLM's best published: 0.622."""
    assert _divided(gsm8k.prompt, gsm8k) >= 0.62  # 0.645 and 0.625, 0.635: 0.015


def test_gsm8k_with_the_weak_answer(gsm8k: Material) -> None:
    """A look at the answer is worth more than any prompt."""
    assert gsm8k.cascade is not None
    assert _divided(gsm8k.cascade, gsm8k) >= 0.78  # 0.803 and 0.794, 0.799: 0.019


def test_llmrouter_on_its_own_test(cache: Path) -> None:
    """Mistral 7B and Nemotron 51B over fourteen tasks: trained on the train part, without what stands in the test too."""
    with gzip.open(DATA / LLMROUTER, "rt", encoding="utf-8", newline="") as stream:
        marks = [(row["split"], row["in_test"]) for row in csv.DictReader(stream)]
    names = Columns(domain="task", weak="mistral-7b-instruct-v0.3", strong="llama-3.1-nemotron-51b-instruct")
    read = _read(LLMROUTER, names, cache)
    group = splits.groups(read.labels.prompts, splits.WHOLE)
    test = np.array([split == "test" for split, _ in marks])
    rows = np.array([mark == ("train", "0") for mark in marks]) & ~np.isin(group, group[test])
    tests, found = _scored(read.prompt, [(np.flatnonzero(rows), np.flatnonzero(test))])

    assert apgr(found, read.labels.gain[tests]) >= 0.68  # 0.708: 0.028


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
            embedder=known.embedder,
            vectors=known.vectors,
            gain=np.random.default_rng(seed).permutation(known.gain),
            heads=known.heads,
        )
        vectors = None if gsm8k.prompt.vectors is None else gsm8k.prompt.vectors[test]
        figures.append(apgr(scores(train(dealt), gsm8k.prompt.signals[test], vectors), labels.gain[test]))

    assert 0.4 < np.mean(figures) < 0.6
