"""`drover lab train` and `drover lab eval`: files in, files out; what is computed stands in the modules beside it."""

from __future__ import annotations

import io
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from common import codec
from common.errors import ConfigError, LabelsError, WeightsError, WeightsMismatch
from dispatcher.embed import Tier, open_embedder
from dispatcher.lab.router.card import card, card_text
from dispatcher.lab.router.evaluate import Material, Plan, Report, evaluate, evaluate_router
from dispatcher.lab.router.fit import Recipe, train
from dispatcher.lab.router.labels import Columns, Labels, read_labels
from dispatcher.lab.router.material import HEAD_CHARS, from_vectors, material
from dispatcher.lab.router.report import as_json, as_markdown
from dispatcher.lab.router.vectors import cache_dir
from dispatcher.router.trained_file import read_router, write_router


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where labels and vectors come from. `vectors` is a .npy file with a row for each label, instead of an embedder."""

    labels: Path
    columns: Columns = field(default_factory=Columns)
    embedder: Tier = Tier.STATIC
    vectors: Path | None = None
    head_chars: int = HEAD_CHARS


def train_verb(source: Source, output: Path, recipe: Recipe, plan: Plan | None) -> str:
    """Train on all labels, write weights and card, and give what to tell the user. Without a plan nothing is evaluated.

    Raises `LabelsError`, `WeightsError`, or what the embedder raises.
    """
    made = read_material(source)
    started = time.perf_counter()
    router = train(made.prompt, recipe)
    took_s = time.perf_counter() - started
    report = None if plan is None else evaluate(made, plan, recipe)
    found = card(source.labels, made, recipe, router, report)
    write_router(output, router, found)
    written = [output, output.with_suffix(".json"), output.with_suffix(".md")]
    written[2].write_text(card_text(output.stem, found, router, report), encoding="utf-8")
    if made.cascade is not None:
        beside = output.with_name(f"{output.stem}.cascade.npz")
        write_router(beside, train(made.cascade, recipe), {**found, "evaluation": None})
        written.append(beside)
    lines = [f"trained on {len(made.labels.prompts)} labels in {took_s:.1f} s: {', '.join(map(str, written))}"]
    return "\n".join(lines + ([] if report is None else [brief(report)]))


def eval_verb(
    source: Source, folder: Path, recipe: Recipe, plan: Plan, *, plots: bool, weights: Path | None = None
) -> str:
    """Evaluate out of sample, or weights that are there; write report.json, report.md and plots, and give the tables in short."""
    made = read_material(source)
    report = evaluate(made, plan, recipe) if weights is None else _judged(made, weights, plan)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(codec.encode_pretty(as_json(report)), encoding="utf-8")
        (folder / "report.md").write_text(as_markdown(report, f"Router on {source.labels.name}"), encoding="utf-8")
    except OSError as error:
        raise WeightsError(f"{folder} can't be written: {error}") from error
    if plots:
        _draw(report, folder)
    return f"{brief(report)}\nreport: {folder / 'report.md'}"


def read_material(source: Source) -> Material:
    """Read the labels, and compute or read their vectors."""
    labels = read_labels(source.labels, source.columns)
    if source.vectors is not None:
        return _given(labels, source)
    return material(
        labels,
        open_embedder(source.embedder),
        cache=cache_dir(),
        head_chars=source.head_chars,
        progress=_told,
    )


def brief(report: Report) -> str:
    """Write one line for each method and test."""
    lines = []
    for row in report.rows:
        order = row.order
        lines.append(
            f"{row.test[:60]:60} {row.method:18} APGR {order.apgr.value:.3f} [{order.apgr.low:.3f}, {order.apgr.high:.3f}]  "
            f"CPT50 {100 * order.cpt50.value:4.1f} %  CPT80 {100 * order.cpt80.value:4.1f} %  "
            f"AUROC(gain) {order.auroc_gain.value:.3f}"
        )
    return "\n".join(lines)


def _judged(made: Material, weights: Path, plan: Plan) -> Report:
    """Judge weights: those of a cascade where the labels have answers and the weights know them, else those of a router."""
    last: WeightsMismatch | None = None
    for examples in (made.prompt, made.cascade):
        if examples is not None:
            try:
                router, _ = read_router(weights, signals=examples.names, embedder=examples.embedder)
            except WeightsMismatch as error:
                last = last or error
            else:
                fitting = examples if router.space.embedder else replace(examples, vectors=None, embedder=None)
                cascade = made.cascade if made.cascade is None or examples is made.prompt else fitting
                return evaluate_router(replace(made, cascade=cascade), fitting, router, plan)
    raise last or WeightsMismatch(f"{weights} can't be judged on these labels")


def _given(labels: Labels, source: Source) -> Material:
    path = source.vectors
    assert path is not None  # noqa: S101  # asked by the caller
    try:
        vectors = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{path} can't be read as a .npy file: {error}") from error
    if vectors.ndim != 2 or len(vectors) != len(labels.prompts) or vectors.dtype.kind != "f":
        raise LabelsError(
            f"{path} has shape {vectors.shape}, and a row of numbers for each of {len(labels.prompts)} labels is needed"
        )
    return from_vectors(labels, vectors.astype(np.float32), path.stem, head_chars=source.head_chars)


def _draw(report: Report, folder: Path) -> None:
    try:
        from dispatcher.lab.router.plots import draw  # noqa: PLC0415  # matplotlib is an extra, and slow to import
    except ModuleNotFoundError as error:
        raise ConfigError("plots need matplotlib: pip install 'drover[lab]', or give --no-plots") from error
    draw(report, folder)


def _told(done: int, count: int) -> None:
    if done == count or done % 1024 == 0:
        sys.stderr.write(f"drover: embedded {done} of {count} prompts\n")
