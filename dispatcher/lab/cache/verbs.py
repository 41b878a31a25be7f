"""`drover lab cache-eval` and `drover lab train-verifier`: files in, files and tables out; what is computed stands beside it."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from common import codec
from common.errors import ConfigError, WeightsError
from dispatcher.cache.guard.verifier import Verifier, VerifierJudge
from dispatcher.cache.judges import RULES, SHIPPED, SHIPPED_FILE
from dispatcher.cache.verifier_file import read_verifier, write_verifier
from dispatcher.embed import Embedder
from dispatcher.embed.static import StaticEmbedder
from dispatcher.experiments.writing import beside, write_manifest, write_rows
from dispatcher.lab.cache import telling
from dispatcher.lab.cache.corpus import Corpus, corpus
from dispatcher.lab.cache.data import TEST, TRAIN, Labelled, Pair, read_all
from dispatcher.lab.cache.evaluate import Report, Wish, crossed, evaluate, given
from dispatcher.lab.cache.learning import Plan, learn, need_enough
from dispatcher.lab.cache.pairs_report import pairs_text, served
from dispatcher.lab.cache.report import as_json, as_text
from dispatcher.lab.embedding import Choice

CROSSED = "crossed"
"""Verifiers that are trained on the way, each judged on intents that it has not seen."""


def eval_verb(
    data: Sequence[Path], choice: Choice, verifier: str, wish: Wish, *, plot: Path | None, output: Path | None
) -> str:
    """Evaluate, write the plot and the figures, and give the tables. Raises `LabelsError`, `WeightsError` or what the embedder
    does."""
    found, embedder = read_all(data), _embedder(choice)
    words, parts = StaticEmbedder.open(), []
    report = None
    if found.questions:
        made = _corpus(_parted(found), embedder, words, choice)
        report = _evaluated(made, embedder, words, verifier, wish)
        parts.append(as_text(report))
    judged = [*found.pairs, *(pair for pair in swap_pairs() if pair.part == TEST)]
    fixed = SHIPPED if verifier == CROSSED else verifier
    loaded = _loaded(fixed, embedder, words)
    if loaded is not None:
        judge = VerifierJudge(loaded, wish.error_rate, words.pieces)
        parts.append(pairs_text(served(judged, judge, embedder), f"pairs, judged by the verifier {fixed}"))
    if output is not None:
        _write(output, codec.encode_pretty({} if report is None else as_json(report)))
        if report is not None:
            _tell(output, report, [path.name for path in data])
    if plot is not None and report is not None:
        parts.append("plot: " + ", ".join(map(str, _draw(report, plot))))
    return "\n".join(parts)


def train_verb(data: Sequence[Path], choice: Choice, output: Path, plan: Plan, *, evaluation: bool) -> str:
    """Train on what is there to learn from, write the verifier and its card, and give what to tell the user.

    Raises `LabelsError` for too little data, `WeightsError` when files can't be written, or what the embedder raises.
    """
    found, embedder = read_all(data), _embedder(choice)
    words = StaticEmbedder.open()
    pairs = [pair for pair in found.pairs if pair.part != TEST and not pair.kind]
    questions = [question for question in found.questions if question.part != TEST]
    made = _corpus(Labelled(questions=tuple(questions)), embedder, words, choice)
    rows = np.arange(len(made))
    need_enough(made, rows, pairs)
    swapped = [pair for pair in (*swap_pairs(), *found.pairs) if pair.part != TEST and pair.kind]
    started = time.perf_counter()
    verifier = learn(made, rows, pairs, swapped, embedder=embedder, plan=plan, told=_at)
    card = _card([path.name for path in data], made, len(pairs), len(swapped), plan)
    write_verifier(output, verifier, embedder=str(embedder.identity), words=str(words.identity), card=card)
    took_s = time.perf_counter() - started
    lines = [
        f"trained on {len(made)} questions and {len(pairs) + len(swapped)} pairs in {took_s:.0f} s: {output}",
        *([f"{found.unlabelled} pairs say neither same nor not, and were left out"] if found.unlabelled else []),
    ]
    if evaluation and len(made):
        wish = Wish(folds=plan.inner, repeats=1, each=(5,), sizes=False, plan=plan, seed=plan.seed)
        whole = _corpus(found, embedder, words, choice)
        lines.append(
            as_text(
                evaluate(
                    whole,
                    crossed(whole, swapped, embedder, wish, _at),
                    wish,
                    _at,
                    embedder=str(embedder.identity),
                    verifier=CROSSED,
                )
            )
        )
    judge = VerifierJudge(verifier, 0.01, words.pieces)
    tested = [
        *(pair for pair in found.pairs if pair.part == TEST),
        *(pair for pair in swap_pairs() if pair.part == TEST),
    ]
    lines.append(pairs_text(served(tested, judge, embedder), "pairs that it was not trained on"))
    return "\n".join(lines)


def _parted(found: Labelled) -> Labelled:
    """Give questions that are all there to be asked without a part: then half of them are kept, else there would be nothing to
    find."""
    if any(question.part != TEST and not question.outside for question in found.questions):
        return found
    return replace(found, questions=tuple(replace(question, part="") for question in found.questions))


def swap_pairs() -> tuple[Pair, ...]:
    """Give the pairs that were written for this project."""
    with resources.as_file(resources.files("dispatcher.lab.cache") / "pairs" / "swaps.jsonl") as file:
        return read_all([file]).pairs


def _embedder(choice: Choice) -> Embedder:
    embedder = choice.open()
    if embedder is None:
        raise ConfigError("the cache compares vectors: give an embedder with --embedder")
    return embedder


def _corpus(found: Labelled, embedder: Embedder, words: StaticEmbedder, choice: Choice) -> Corpus:
    return corpus(found.questions, embedder, words.pieces, chars=choice.chars, progress=_told)


def _evaluated(made: Corpus, embedder: Embedder, words: StaticEmbedder, verifier: str, wish: Wish) -> Report:
    swapped = [pair for pair in swap_pairs() if pair.part == TRAIN]
    if verifier == CROSSED:
        trials, named = crossed(made, swapped, embedder, wish, _at), "trained on other intents than it is judged on"
    else:
        trials, named = given(made, _loaded(verifier, embedder, words)), verifier
    return evaluate(made, trials, wish, _at, embedder=str(embedder.identity), verifier=named)


def _loaded(verifier: str, embedder: Embedder, words: StaticEmbedder) -> Verifier | None:
    """Read a verifier; None for rules, and where the one that is shipped is for another embedder."""
    if verifier == RULES:
        return None
    identities = {"embedder": str(embedder.identity), "words": str(words.identity)}
    if verifier != SHIPPED:
        return read_verifier(Path(verifier), **identities)[0]
    with resources.as_file(resources.files("dispatcher.cache") / "data" / SHIPPED_FILE) as file:
        try:
            return read_verifier(file, **identities)[0]
        except WeightsError as error:
            _at(f"nothing shipped fits: {error}")
            return None


def _card(names: Sequence[str], made: Corpus, pairs: int, swapped: int, plan: Plan) -> dict[str, Any]:
    recipe = plan.recipe
    return {
        "data": {
            "from": list(names),
            "sets": {str(source): int((made.source == source).sum()) for source in dict.fromkeys(made.source.tolist())},
            "intents": len(np.unique(made.intent[~made.outside])) if len(made) else 0,
            "pairs": pairs,
            "exchanged_by_hand": swapped,
            "exchanged_by_rule": plan.made,
            "sha256": hashlib.sha256("\n".join(sorted(one.text for one in made.questions)).encode()).hexdigest(),
        },
        "recipe": {
            "scopes": plan.scopes,
            "asked": plan.asked,
            "trees": recipe.trees,
            "leaves": recipe.leaves,
            "features_of_a_split": recipe.share,
            "seed": plan.seed,
        },
    }


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise WeightsError(f"{path} can't be written: {error}") from error


def _tell(output: Path, report: Report, data: Sequence[str]) -> None:
    try:
        rows = write_rows(output.with_name(f"{output.stem}-curves.csv"), telling.flat(report))
        write_manifest(beside(output), telling.manifest(report, data, rows=rows, now_unix_s=time.time()))
    except OSError as error:
        raise WeightsError(f"{output.parent} can't be written: {error}") from error


def _draw(report: Report, path: Path) -> list[Path]:
    try:
        from dispatcher.lab.cache.plots import draw  # noqa: PLC0415  # matplotlib is an extra, and slow to import
    except ModuleNotFoundError as error:
        raise ConfigError(
            "plots need matplotlib: install the extra lab of Drover's wheel, or leave --plot out"
        ) from error
    return draw(report, path)


def _at(what: str) -> None:
    sys.stderr.write(f"drover: {what}\n")


def _told(done: int, count: int) -> None:
    if done == count or done % 8192 == 0:
        sys.stderr.write(f"drover: embedded {done} of {count} questions\n")
