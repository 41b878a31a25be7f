"""What a router of three models must reach on data that nobody here made: LLMRouter's train part to learn from, its test to judge.

The data lie where `test_router_gates` finds them; without them this skips. Behind each bound stands what was measured. The 95 %
intervals, over 340 test prompts, are 5 percentage points to either side for a quality, and 2.5 for a difference.
"""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from dispatcher.lab.router.choices import ChoiceRow, judge_choices
from dispatcher.lab.router.fit import Recipe
from dispatcher.lab.router.labels import Columns
from dispatcher.lab.router.several import opinions, train_several
from dispatcher.lab.router.several_verb import named, read_task
from dispatcher.lab.router.verbs import Source
from tests.integration.lab.test_router_gates import DATA, LLMROUTER

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not there: name the folder of the data in DROVER_DATA"),
]

MODELS = named("mistral-7b-instruct-v0.3", ("gemma-2-9b-it", "llama-3.1-nemotron-51b-instruct"))


def _parts(folder: Path) -> tuple[Source, Source]:
    """Write train and test; what stands in the test, also under another row's mark, is not learned from."""
    csv.field_size_limit(2**31 - 1)
    with gzip.open(DATA / LLMROUTER, "rt", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    tested = {" ".join(row["prompt"].split()).casefold() for row in rows if row["split"] == "test"}
    parts = {
        "train": [
            row
            for row in rows
            if row["split"] == "train"
            and row["in_test"] == "0"
            and " ".join(row["prompt"].split()).casefold() not in tested
        ],
        "test": [row for row in rows if row["split"] == "test"],
    }
    for name, part in parts.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            table = csv.DictWriter(stream, list(rows[0]))
            table.writeheader()
            table.writerows(part)
    train, test = (Source(labels=folder / f"{name}.csv", columns=Columns(domain="task")) for name in parts)
    return train, test


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ChoiceRow]:
    train, test = _parts(tmp_path_factory.mktemp("llmrouter"))
    router, _ = train_several(read_task(train, MODELS), Recipe())
    task = read_task(test, MODELS)
    choices = judge_choices(
        task, opinions(router, task), share=router.share, temperature=router.temperature,
        least_confidence=router.least_confidence,
    )  # fmt: skip
    return {row.method: row for row in choices.rows}


def test_with_three_strong_calls_in_ten(judged: dict[str, ChoiceRow]) -> None:
    """Far better than the same shares of models dealt out by chance, and than the two small ones."""
    row = judged["router, 30 % strong"]

    assert row.quality.value >= 0.50  # 0.529
    assert row.over_mixture.low > 0.02  # 0.065 [0.039, 0.093]
    assert row.quality.value > judged["always gemma-2-9b-it"].quality.value + 0.04  # 0.077


def test_whatever_it_costs(judged: dict[str, ChoiceRow]) -> None:
    """Not worse than always the largest, with a quarter of the calls elsewhere; below the oracle by a lot."""
    row = judged["router, any cost"]

    assert row.over_single.value >= -0.005  # 0.009 [-0.015, 0.033]
    assert row.best.value >= 0.88  # 0.900
    assert row.shares["llama-3.1-nemotron-51b-instruct"] <= 0.85  # 0.76
    assert row.quality.value < judged["oracle"].quality.value
