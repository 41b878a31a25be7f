"""The model card of trained weights: what they were made from, how, and how good they are; as JSON and as Markdown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dispatcher.lab.router.evaluate import Material, Report
from dispatcher.lab.router.fit import Recipe
from dispatcher.lab.router.report import as_json, as_markdown
from dispatcher.routing.answer_signals import ANSWER_SIGNALS
from dispatcher.routing.trained import TrainedRouter

LIMITS = (
    (
        "It predicts for the two models and the kind of prompts that it was trained on; for others it is about as good as chance "
        "(measured: APGR 0.50 to 0.56), which the guard for unlike prompts is there to notice."
    ),
    (
        "How its parts are mixed was found on the training rows alone. Their form (a straight line, a kernel, neighbours) and the "
        "text signals were chosen while figures on parts of MMLU, GSM8K and LLMRouter were in view: they flatter a little."
    ),
    "Most of what it knows is which kind of question pays; inside one kind it orders little better than length does.",
)


def digest(source: Path) -> str:
    """Give the SHA-256 of a file."""
    return hashlib.sha256(source.read_bytes()).hexdigest()


def card(
    source: Path, material: Material, recipe: Recipe, router: TrainedRouter, report: Report | None
) -> dict[str, Any]:
    """Give the card. No prompt stands in it."""
    labels = material.labels
    return {
        "sees": "prompt and weak answer" if set(ANSWER_SIGNALS) & set(router.space.signals) else "prompt",
        "data": {
            "file": source.name,
            "sha256": digest(source),
            "rows": len(labels.prompts),
            "domains": len({domain for domain in labels.domains if domain}),
            "weak": round(float(labels.weak.mean()), 4),
            "strong": round(float(labels.strong.mean()), 4),
            "with_answers": labels.answers is not None,
        },
        "recipe": {**asdict(recipe), "mixes": [list(mix) for mix in recipe.mixes]},
        "chosen": {
            "embedding_weight": router.space.weight,
            "kernel_gamma": router.kernel.gamma,
            "blend": asdict(router.blend),
            "memory_rows": len(router.memory.rows),
            "least_similarity": round(router.memory.least_similarity, 4),
        },
        "limits": list(LIMITS),
        "evaluation": None if report is None else as_json(report),
    }


def card_text(name: str, found: Mapping[str, Any], router: TrainedRouter, report: Report | None) -> str:
    """Write the card for people."""
    data = found["data"]
    lines = [
        f"# Model card: {name}",
        (
            f"Router between a weak and a strong model that sees the {found['sees']}, by ridge and kernel regression on the signed "
            "gain, and neighbours. "
            f"Embedder: {router.space.embedder or 'none, text signals only'}. Seed {found['recipe']['seed']}."
        ),
        (
            f"Data: `{data['file']}` (SHA-256 {data['sha256'][:16]}…), {data['rows']} prompts in {data['domains']} domains; "
            f"weak model {100 * data['weak']:.1f} % right, strong {100 * data['strong']:.1f} %. The weights hold how prompts "
            "begin, unless they were trained with `--head-chars 0`, and a fingerprint of each: whoever guesses a prompt can tell "
            "that it was there."
        ),
        "\n".join(f"- {limit}" for limit in found["limits"]),
    ]
    if report is None:
        return "\n\n".join([*lines, "It was not evaluated."]) + "\n"
    return (
        "\n\n".join(lines)
        + "\n\n"
        + as_markdown(report, "Figures").replace("\n## ", "\n### ").replace("# Figures", "## Figures", 1)
    )
