"""`drover lab train` and `drover lab eval`: files in, files out; what is computed stands in the modules beside it."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import codec
from common.errors import ConfigError, LabelsError, WeightsError, WeightsMismatch
from dispatcher.experiments.writing import beside, write_manifest, write_rows
from dispatcher.lab.embedding import Choice
from dispatcher.lab.router import telling
from dispatcher.lab.router.card import card, card_text, digest
from dispatcher.lab.router.evaluate import Material, Report, evaluate, evaluate_router
from dispatcher.lab.router.fit import Recipe, train
from dispatcher.lab.router.judging import Plan
from dispatcher.lab.router.labels import FEWEST, Columns, Labels, need_gap, read_labels
from dispatcher.lab.router.material import HEAD_CHARS, from_vectors, material
from dispatcher.lab.router.report import as_json, as_markdown
from dispatcher.lab.router.scores_file import write_scores
from dispatcher.lab.router.splits import fingerprints
from dispatcher.lab.router.vectors import cache_dir
from dispatcher.router.trained_file import read_router, read_trained_on, write_router
from dispatcher.routing.trained import TrainedRouter


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where labels and vectors come from. `vectors` is a .npy file with a row for each label, instead of an embedder; `identity` is
    that of the embedder that made it, as its users tell it."""

    labels: Path
    columns: Columns = field(default_factory=Columns)
    embedder: Choice = field(default_factory=Choice)
    vectors: Path | None = None
    identity: str | None = None
    head_chars: int = HEAD_CHARS


def train_verb(source: Source, output: Path, recipe: Recipe, plan: Plan | None) -> str:
    """Train on all labels, write weights and card, and give what to tell the user. Without a plan nothing is evaluated.

    Raises `LabelsError`, `WeightsError`, or what the embedder raises.
    """
    identified(source)
    made = read_material(source)
    need_gap(made.labels, source.labels)
    started = time.perf_counter()
    router = train(made.prompt, recipe)
    took_s = time.perf_counter() - started
    report = None if plan is None else evaluate(made, plan, recipe, _at)
    written = _write(output, router, made.labels, card(source.labels, made, recipe, router, report), report)
    if made.cascade is not None:
        beside = output.with_name(f"{output.stem}.cascade.npz")
        judge = train(made.cascade, recipe)
        written += _write(beside, judge, made.labels, card(source.labels, made, recipe, judge, report), report)
    lines = [f"trained on {len(made.labels.prompts)} labels in {took_s:.1f} s: {', '.join(map(str, written))}"]
    return "\n".join(lines + ([] if report is None else [brief(report)]))


def eval_verb(
    source: Source,
    folder: Path,
    recipe: Recipe,
    plan: Plan,
    *,
    plots: bool,
    weights: Path | None = None,
    scores: Path | None = None,
) -> str:
    """Evaluate out of sample, or weights that are there; write report.json, report.md, plots, and what each method said of each
    prompt into `scores`; give the tables in short."""
    if weights is not None:
        identified(source)
    made = read_material(source)
    need_gap(made.labels, source.labels)
    report = evaluate(made, plan, recipe, _at) if weights is None else _judged(made, source.labels, weights, plan)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(codec.encode_pretty(as_json(report)), encoding="utf-8")
        (folder / "report.md").write_text(as_markdown(report, f"Router on {source.labels.name}"), encoding="utf-8")
        rows = write_rows(folder / "router.csv", telling.flat(report))
        told = telling.manifest(report, source.labels.name, rows=rows, now_unix_s=time.time())
        write_manifest(beside(folder / rows.file), told)
    except OSError as error:
        raise WeightsError(f"{folder} can't be written: {error}") from error
    if scores is not None:
        write_scores(scores, report, made.labels)
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
        source.embedder.open(),
        cache=cache_dir(),
        head_chars=source.head_chars,
        progress=_told,
        chars=source.embedder.chars,
    )


def brief(report: Report) -> str:
    """Write one line for each method and test."""
    lines = list(report.notes)
    for row in report.rows:
        order = row.order
        lines.append(
            f"{row.test[:60]:60} {row.method:18} APGR {order.apgr.value:.3f} [{order.apgr.low:.3f}, {order.apgr.high:.3f}]  "
            f"CPT50 {100 * order.cpt50.value:4.1f} %  CPT80 {100 * order.cpt80.value:4.1f} %  "
            f"AUROC(gain) {order.auroc_gain.value:.3f}"
        )
    return "\n".join(lines)


def _write(
    output: Path, router: TrainedRouter, labels: Labels, found: Mapping[str, Any], report: Report | None
) -> list[Path]:
    """Write weights and both cards, and give the files."""
    write_router(output, router, found, trained_on=fingerprints(labels.prompts))
    text = output.with_suffix(".md")
    text.write_text(card_text(output.stem, found, router, report), encoding="utf-8")
    return [output, output.with_suffix(".json"), text]


def identified(source: Source) -> None:
    """Raise `ConfigError` for vectors of which nobody said what made them: weights would fit no dispatcher."""
    if source.vectors is not None and not source.identity:
        raise ConfigError(
            f"{source.vectors} does not say which embedder made it, and weights are bound to one: give --embedder-identity, as "
            "`drover embedder check` tells it"
        )


def _judged(made: Material, source: Path, weights: Path, plan: Plan) -> Report:
    """Judge weights on what they were not trained on: those of a cascade where the labels have answers and the weights know them,
    else those of a router."""
    last: WeightsMismatch | None = None
    for examples in (made.prompt, made.cascade):
        if examples is not None:
            try:
                router, found = read_router(weights, signals=examples.names, embedder=examples.embedder)
            except WeightsMismatch as error:
                last = last or error
            else:
                rows, given = _not_trained_on(made.labels, source, weights, found)
                left = made.take(rows)
                fitting = examples.take(rows)
                fitting = fitting if router.space.embedder else replace(fitting, vectors=None, embedder=None)
                cascade = left.cascade if left.cascade is None or examples is made.prompt else fitting
                report = evaluate_router(replace(left, cascade=cascade), fitting, router, plan, given)
                scored = tuple(replace(one, rows=rows[one.rows]) for one in report.scored)
                return replace(report, scored=scored)
    raise last or WeightsMismatch(f"{weights} can't be judged on these labels")


def _not_trained_on(
    labels: Labels, source: Path, weights: Path, found: Mapping[str, Any]
) -> tuple[NDArray[np.intp], str]:
    """Give the rows that the weights have not seen, and what is known of that. Raises `LabelsError` where too few are left."""
    count = len(labels.prompts)
    seen = read_trained_on(weights)
    if seen is None:
        if found.get("data", {}).get("sha256") == digest(source):
            raise LabelsError(f"{weights} was trained on {source}: it can be judged on other labels alone")
        return np.arange(count), (
            f"Weights that were there already and do not say which prompts they were trained on, judged on all {count} labels: "
            "that none of these is among them is the caller's word."
        )
    rows = np.flatnonzero(~np.isin(fingerprints(labels.prompts), seen))
    if len(rows) < FEWEST:
        raise LabelsError(
            f"{weights} was trained on {count - len(rows)} of the {count} prompts of {source}, and {len(rows)} are left: at least "
            f"{FEWEST} others are needed; without --weights parts of the labels are judged by routers of the others"
        )
    return rows, (
        f"Weights that were there already; {count - len(rows)} of {count} prompts are left out, since they were trained on them. "
        "Prompts are known again by their whole text, spaces and case aside: that no other rests on what was trained on is the "
        "caller's word."
    )


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
    named = source.identity or f"unnamed, {path.name}"
    return from_vectors(labels, vectors.astype(np.float32), named, head_chars=source.head_chars)


def _draw(report: Report, folder: Path) -> None:
    try:
        from dispatcher.lab.router.plots import draw  # noqa: PLC0415  # matplotlib is an extra, and slow to import
    except ModuleNotFoundError as error:
        raise ConfigError(
            "plots need matplotlib: install the extra lab of Drover's wheel, or give --no-plots"
        ) from error
    draw(report, folder)


def _at(what: str) -> None:
    sys.stderr.write(f"drover: judging {what}\n")


def _told(done: int, count: int) -> None:
    if done == count or done % 1024 == 0:
        sys.stderr.write(f"drover: embedded {done} of {count} prompts\n")
