"""`drover lab train --base` and what `drover lab eval` does with its weights: files in, files out."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from common import codec
from common.errors import ConfigError, WeightsError
from dispatcher.fleet import canonical
from dispatcher.lab.router import splits
from dispatcher.lab.router.choices import Choices, judge_choices, table
from dispatcher.lab.router.fit import Recipe
from dispatcher.lab.router.labels import read_labels
from dispatcher.lab.router.several import FOLDS, Task, opinions, train_several
from dispatcher.lab.router.verbs import Source, identified, read_material
from dispatcher.router.multi_file import MOST_MODELS, read_multi, write_multi
from dispatcher.routing.features import looks
from dispatcher.routing.multi import MultiRouter
from dispatcher.routing.prompt_signals import SIGNALS

_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)b(?![a-z0-9])", re.IGNORECASE)

LIMITS = (
    (
        "It predicts for the models and the kind of prompts that it was trained on; for others it is about as good as chance, "
        "which the guard for unlike prompts is there to notice."
    ),
    (
        "How much the hierarchy counts, the temperature and the least confidence were found on the same out-of-sample predictions "
        "that are judged here: three numbers, which flatter a little."
    ),
    "The budget counts calls of strong models, and does not tell one of them from another.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The column of each model in the table, the base first, and which of them are strong."""

    columns: Mapping[str, str]
    strong: frozenset[str]


def train_several_verb(
    source: Source, models: Models, path: Path, recipe: Recipe, *, draws: int, evaluation: bool = True
) -> str:
    """Train for several models, and write weights, card and model card.

    Raises `ConfigError` for models that are none, `LabelsError`, `WeightsError`, or what the embedder raises.
    """
    identified(source)
    task = read_task(source, models)
    router, said = train_several(task, recipe)
    choices = (
        judge_choices(
            task, said, share=router.share, temperature=router.temperature, least_confidence=router.least_confidence,
            draws=draws, seed=recipe.seed,
        )
        if evaluation
        else None
    )  # fmt: skip
    found = _card(source.labels, models, task, (router, recipe), choices)
    write_multi(path, router, found)
    beside = path.with_suffix(".md")
    beside.write_text(_text(path.stem, found, choices, router.models), encoding="utf-8")
    lines = [f"trained on {len(task.quality)} labels: {path}, {path.with_suffix('.json')}, {beside}"]
    return "\n".join(lines if choices is None else [*lines, brief(choices, router.models)])


def eval_several_verb(source: Source, models: Models, weights: Path, folder: Path, *, draws: int, seed: int) -> str:
    """Judge weights that are there on labels that they were not trained on: that is the caller's word. Raises like training."""
    task = read_task(source, models)
    router, _ = read_multi(weights, signals=SIGNALS, embedder=task.examples.embedder)
    if router.models != task.models:
        raise ConfigError(
            f"{weights} knows {', '.join(router.models)}, and the columns are of {', '.join(task.models)}: name the same, in "
            "this order"
        )
    task = replace(task, strong=router.strong)
    choices = judge_choices(
        task, opinions(router, task), share=router.share, temperature=router.temperature,
        least_confidence=router.least_confidence, draws=draws, seed=seed,
    )  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "choices.json").write_text(codec.encode_pretty(asdict(choices)), encoding="utf-8")
        (folder / "choices.md").write_text(as_markdown(choices, router.models), encoding="utf-8")
    except OSError as error:
        raise WeightsError(f"{folder} can't be written: {error}") from error
    return f"{brief(choices, router.models)}\nreport: {folder / 'choices.md'}"


def named(base: str, others: Sequence[str], strong: Sequence[str] = ()) -> Models:
    """Read `column`, or `model=column` where the fleet calls the model otherwise. Raises `ConfigError`."""
    pairs = [(name, column or name) for name, _, column in (word.partition("=") for word in (base, *others))]
    columns, different = dict(pairs), {canonical(name) for name, _ in pairs}
    if len(different) != len(pairs) or not 2 <= len(columns) <= MOST_MODELS or not all(columns):
        raise ConfigError(
            f"{', '.join((base, *others))}: name 2 to {MOST_MODELS} different models, as column or as model=column"
        )
    chosen = frozenset(strong) or strong_of(tuple(columns))
    if not chosen.issubset(columns):
        raise ConfigError(
            f"--strong {', '.join(sorted(chosen - columns.keys()))}: there is no such model among {', '.join(columns)}"
        )
    return Models(columns=columns, strong=chosen)


def strong_of(models: Sequence[str]) -> frozenset[str]:
    """Find the strong ones by the sizes in their names (`:8b`, `-70b-`), as routing does by those that devices tell: the upper half
    of the range, on a scale of logarithms. All but the first where a name tells no size."""
    sizes = [_SIZE.search(model) for model in models]
    known = [math.log2(float(size.group(1))) for size in sizes if size is not None and float(size.group(1)) > 0]
    if len(known) < len(models) or max(known) <= min(known):
        return frozenset(models[1:])
    middle = (max(known) + min(known)) / 2
    return frozenset(model for model, size in zip(models, known, strict=True) if size >= middle)


def read_task(source: Source, models: Models) -> Task:
    """Read the labels of all models, which stand in one table, and embed the prompts once."""
    base, *others = models.columns.values()
    columns = [replace(source.columns, weak=base, strong=column) for column in others]
    tables = [read_labels(source.labels, one) for one in columns]
    first = tables[0]
    read = [looks(prompt) for prompt in first.prompts]
    return Task(
        models=tuple(models.columns),
        strong=models.strong,
        quality=np.column_stack([first.weak, *(one.strong for one in tables)]),
        examples=replace(read_material(replace(source, columns=columns[0])).prompt, gain=np.zeros(len(first.prompts))),
        domains=first.domains,
        topics=tuple(topics for topics, _ in read),
        complexity=np.array([complexity for _, complexity in read]),
        group=splits.alike(first.prompts)[0],
    )


def brief(choices: Choices, models: Sequence[str]) -> str:
    """Write a line for each way to choose."""
    head, *lines = table(choices, models)
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    rows = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *lines)
    ]
    return "\n".join([*rows, _sure(choices)])


def as_markdown(choices: Choices, models: Sequence[str]) -> str:
    """Write the table for a card or a report."""
    head, *lines = table(choices, models)
    cells = [head, tuple("---" for _ in head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells) + f"\n\n{_sure(choices)}\n"


def _sure(choices: Choices) -> str:
    return (
        f"{choices.count} prompts. Mean confidence {choices.sure:.2f}; the choice was no worse than what it is held against for "
        f"{100 * choices.sure_right:.1f} %; {100 * choices.unsure:.1f} % lie below the least confidence, and go by rules. "
        "[…]: 95 % bootstrap intervals over groups of prompts that begin alike."
    )


def _card(
    labels: Path, models: Models, task: Task, made: tuple[MultiRouter, Recipe], choices: Choices | None
) -> dict[str, Any]:
    router, recipe = made
    return {
        "data": {
            "file": labels.name,
            "sha256": hashlib.sha256(labels.read_bytes()).hexdigest(),
            "rows": len(task.quality),
            "domains": len(set(filter(None, task.domains))),
            "columns": dict(models.columns),
            "strong": sorted(models.strong),
            "right": dict(zip(task.models, np.round(task.quality.mean(axis=0), 4).tolist(), strict=True)),
        },
        "splits": {
            "folds": FOLDS,
            "kept_together": (
                "copies of a prompt"
                if np.array_equal(task.group, task.examples.groups)
                else f"the same first {splits.HEAD_CHARS} characters"
            ),
            "seed": recipe.seed,
        },
        "recipe": {**asdict(recipe), "mixes": [list(mix) for mix in recipe.mixes]},
        "chosen": {
            "hierarchy_share": router.share,
            "temperature": round(router.temperature, 4),
            "least_confidence": round(router.least_confidence, 4),
            "complexity_edges": [round(edge, 4) for edge in router.hierarchy.edges],
        },
        "limits": list(LIMITS),
        "evaluation": None if choices is None else asdict(choices),
    }


def _text(name: str, found: Mapping[str, Any], choices: Choices | None, models: Sequence[str]) -> str:
    data, chosen = found["data"], found["chosen"]
    right = ", ".join(f"`{model}` {100 * share:.1f} %" for model, share in data["right"].items())
    parts = (
        f"# Model card: {name}",
        (
            f"Router among {len(models)} models, the base first, with the share of right answers: {right}. Strong, and counted by "
            f"the budget: {', '.join(data['strong'])}. A trained router for each model but the base, and a table by domain and "
            f"complexity, which counts {100 * chosen['hierarchy_share']:g} %. Seed {found['recipe']['seed']}."
        ),
        (
            f"Data: `{data['file']}` (SHA-256 {data['sha256'][:16]}…), {data['rows']} prompts in {data['domains']} domains. The "
            "weights hold how prompts begin, unless they were trained with `--head-chars 0`."
        ),
        (
            f"Below a confidence of {chosen['least_confidence']:.2f} the rules decide: there, out of sample, the choices were not "
            "better than the base by more than chance. `DROVER_ROUTER_CONFIDENCE` sets another."
        ),
        "\n".join(f"- {limit}" for limit in found["limits"]),
        "It was not evaluated." if choices is None else _figures(choices, models),
    )
    return "\n\n".join(parts).rstrip() + "\n"


def _figures(choices: Choices, models: Sequence[str]) -> str:
    how = f"Out of sample, {FOLDS} folds, prompts that begin alike together."
    return f"## Figures\n\n{how}\n\n{as_markdown(choices, models)}"
