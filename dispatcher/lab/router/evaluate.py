"""Evaluation of routers on labels that they did not see: every method on the same test rows; it writes nothing.

A method is scored out of sample: by folds, or by several draws of a small training set (`Plan.train_rows`). What the scores are
worth stands in `judging`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.errors import LabelsError
from dispatcher.lab.router import baselines, splits
from dispatcher.lab.router.fit import Examples, Recipe, scores, train
from dispatcher.lab.router.judging import Bench, DomainRow, Plan, Row, Scored
from dispatcher.lab.router.labels import Labels
from dispatcher.lab.router.mixing import LENGTHS, grid
from dispatcher.routing.trained import TrainedRouter

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

RIDGE_ONLY = grid(((1.0, 0.0, 0.0),), LENGTHS)
KNN_ONLY = grid(((0.0, 0.0, 1.0),), (0.0,))

NOTABLE = 0.02
"""Of the prompts must begin like another, and be no copy of it, for the two ways to divide them to be told apart."""

FEWEST_TRAINED_ON = 10
"""Rows below which a part of a division trains nothing that could be judged."""

_SHOWN = 20

ALL = "all"
HEADS_TOGETHER = "all, divided with what begins alike together"
COPIES_TOGETHER = "all, divided with copies alone together"


UNSEEN = "unseen domains"

Told = Callable[[str], None]
"""Hears what is being judged: a large table takes minutes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """What one method said of the test rows of one division: enough to compute every figure again."""

    test: str
    method: str
    repeat: int
    rows: Rows
    score: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All figures. `curves` are (method, score, gain) of the first repeat, for plots. `given` says, of weights that were there
    already, on what they were judged; None where routers were trained for it. `notes` says what was done otherwise than asked."""

    rows: tuple[Row, ...]
    domains: tuple[DomainRow, ...]
    curves: tuple[tuple[str, Floats, Floats], ...]
    plan: Plan
    train_rows: int
    given: str | None = None
    notes: tuple[str, ...] = ()
    scored: tuple[Scores, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """The labels as numbers: prompt signals, vectors where there is an embedder, answer signals where there are answers."""

    labels: Labels
    prompt: Examples
    cascade: Examples | None

    def take(self, rows: Rows) -> Material:
        """Give some of the rows."""
        cascade = None if self.cascade is None else self.cascade.take(rows)
        return Material(labels=self.labels.take(rows), prompt=self.prompt.take(rows), cascade=cascade)

    @property
    def bare(self) -> Examples:
        """The examples without vectors."""
        return replace(self.prompt, vectors=None, embedder=None)


Scorer = Callable[[Rows, Rows], Floats]


def evaluate(material: Material, plan: Plan, recipe: Recipe | None = None, told: Told = lambda _what: None) -> Report:
    """Score every method out of sample and judge it. Raises `LabelsError` for a plan that these labels don't allow."""
    recipe = recipe or Recipe(seed=plan.seed)
    _allowed(material.labels, plan)
    repeats, plan, notes = _divided(material.labels, plan)
    rows: list[Row] = []
    curves: list[tuple[str, Floats, Floats]] = []
    bench = Bench(material.labels, plan)
    domains: tuple[DomainRow, ...] = ()
    scoring = _Scoring(_methods(material, recipe, plan.seed), told)
    for method in scoring.methods:
        parts = scoring.parts(method, ALL, repeats)
        rows.extend(bench.looks(method, ALL, parts))
        curves.append((method, parts[0][1], material.labels.gain[parts[0][0]]))
        if method == "router":
            domains = bench.domains(parts[0])
    rows.extend(_other_split(material, plan, scoring, bench))
    rows.extend(_unseen(material, plan, scoring, bench))
    return Report(
        rows=tuple(rows),
        domains=domains,
        curves=tuple(curves),
        plan=plan,
        train_rows=len(repeats[0][0][0]),
        notes=notes,
        scored=tuple(scoring.scored),
    )


def evaluate_router(material: Material, examples: Examples, router: TrainedRouter, plan: Plan, given: str) -> Report:
    """Judge a router that is trained already, on all labels of the material; `given` tells the reader what is known of them.

    `examples` are those of the material that have the router's signals: with the answers', or without.
    """
    labels, every = material.labels, np.arange(len(material.labels.prompts))
    found = {
        "random": baselines.random_scores(len(every), plan.seed),
        "prompt length": baselines.length_scores(labels.prompts),
        "oracle": baselines.oracle_scores(labels.gain),
        "cascade" if examples is material.cascade else "router": scores(router, examples.signals, examples.vectors),
    }
    bench = Bench(labels, plan)
    return Report(
        rows=tuple(row for method, score in found.items() for row in bench.looks(method, ALL, [(every, score)])),
        domains=bench.domains((every, list(found.values())[-1])),
        curves=tuple((method, score, labels.gain) for method, score in found.items()),
        plan=plan,
        train_rows=0,
        given=given,
        scored=tuple(Scores(test=ALL, method=one, repeat=0, rows=every, score=score) for one, score in found.items()),
    )


def _methods(material: Material, recipe: Recipe, seed: int) -> dict[str, Scorer]:
    labels, gain = material.labels, material.labels.gain
    chance, length = baselines.random_scores(len(gain), seed), baselines.length_scores(labels.prompts)

    def by_domain(train_rows: Rows, test: Rows) -> Floats:
        names = np.array(labels.domains)
        return baselines.domain_scores(names[train_rows].tolist(), gain[train_rows], names[test].tolist())

    methods: dict[str, Scorer] = {
        "random": lambda _, test: chance[test],
        "prompt length": lambda _, test: length[test],
        "oracle": lambda _, test: baselines.oracle_scores(gain[test]),
    }
    if any(labels.domains):
        methods["domain mean"] = by_domain
    methods["text signals only"] = _trained(material.bare, recipe)
    if material.prompt.vectors is not None:
        unsignalled = replace(material.prompt, names=(), signals=material.prompt.signals[:, :0])
        methods["embedding only"] = _trained(unsignalled, recipe)
        methods["ridge only"] = _trained(material.prompt, replace(recipe, mixes=RIDGE_ONLY))
        methods["neighbours only"] = _trained(material.prompt, replace(recipe, mixes=KNN_ONLY))
    methods["router"] = _trained(material.prompt, recipe)
    if material.cascade is not None:
        methods["cascade"] = _trained(material.cascade, recipe)
    return methods


def _trained(examples: Examples, recipe: Recipe) -> Scorer:
    def score(train_rows: Rows, test: Rows) -> Floats:
        router = train(examples.take(train_rows), recipe)
        return scores(router, examples.signals[test], None if examples.vectors is None else examples.vectors[test])

    return score


def _allowed(labels: Labels, plan: Plan) -> None:
    """Raise `LabelsError` for more training rows than leave any to test, and for domains that are none."""
    rows, known = len(labels.prompts), sorted({domain for domain in labels.domains if domain})
    if plan.train_rows is not None and plan.train_rows >= rows:
        raise LabelsError(
            f"--train-rows {plan.train_rows} leaves none of {rows} labels to test on: say at most {rows - 1}, or leave it out"
        )
    unknown = [domain for domain in plan.without if domain not in known]
    if unknown:
        there = ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
        raise LabelsError(
            f"--without {', '.join(unknown)}: the labels have no such domain, but {there or 'none at all'}"
        )
    if set(labels.domains) <= set(plan.without):
        raise LabelsError(f"--without {', '.join(plan.without)} leaves no prompt: these are all domains that there are")


def _divided(labels: Labels, plan: Plan) -> tuple[list[list[splits.Split]], Plan, tuple[str, ...]]:
    """Divide the labels for each repeat; where beginnings can't be kept apart, copies are, and a note says so."""
    copies = splits.groups(labels.prompts, splits.WHOLE)
    heads, telling = splits.alike(labels.prompts)
    notes: tuple[str, ...] = ()
    if plan.grouped:
        repeats = [list(_splits(heads, plan, repeat)) for repeat in range(plan.repeats)]
        if telling and _sound(repeats):
            return repeats, plan, notes
        notes = (
            (
                f"Prompts that begin alike over {splits.HEAD_CHARS} characters were not kept together: too many do, so "
                "that hardly any would be left to train on. Copies alone are. If the prompts share an instruction, leave it out of "
                "the column; if they share a passage, these figures flatter."
            ),
        )
        plan = replace(plan, grouped=False)
    repeats = [list(_splits(copies, plan, repeat)) for repeat in range(plan.repeats)]
    if not _sound(repeats):
        raise LabelsError(
            f"of {len(labels.prompts)} labels too few are left to train on, since copies of a prompt stay together: give more "
            "different prompts, or other --train-rows or --folds"
        )
    return repeats, plan, notes


def _sound(repeats: Sequence[Sequence[splits.Split]]) -> bool:
    return all(len(rows) >= FEWEST_TRAINED_ON and len(test) for repeat in repeats for rows, test in repeat)


def _splits(group: Rows, plan: Plan, repeat: int) -> Iterator[splits.Split]:
    seed = plan.seed + repeat
    if plan.train_rows is None:
        yield from splits.folds(group, plan.folds, seed)
    else:
        yield splits.holdout(group, plan.train_rows, seed)


class _Scoring:
    """Scores methods out of sample, says which one it is at, and keeps what they said."""

    def __init__(self, methods: dict[str, Scorer], told: Told) -> None:
        self.methods = methods
        self.scored: list[Scores] = []
        self._told = told

    def parts(self, method: str, test: str, repeats: Sequence[Sequence[splits.Split]]) -> list[Scored]:
        """Give the test rows of each repeat with their scores."""
        found = []
        for number, repeat in enumerate(repeats):
            self._told(f"{test}: {method}" + (f", {number + 1} of {len(repeats)}" if len(repeats) > 1 else ""))
            rows = np.concatenate([tested for _, tested in repeat])
            score = np.concatenate([self.methods[method](train_rows, tested) for train_rows, tested in repeat])
            self.scored.append(Scores(test=test, method=method, repeat=number, rows=rows, score=score))
            found.append((rows, score))
        return found


def _other_split(material: Material, plan: Plan, scoring: _Scoring, bench: Bench) -> Iterator[Row]:
    """Judge the router under the other rule of what stays together, where the two differ by a notable part of the prompts."""
    heads, wholes = splits.alike(material.labels.prompts)[0], splits.groups(material.labels.prompts, splits.WHOLE)
    if splits.shared(heads) - splits.shared(wholes) < NOTABLE:
        return
    group, name = (wholes, COPIES_TOGETHER) if plan.grouped else (heads, HEADS_TOGETHER)
    repeats = [list(_splits(group, plan, repeat)) for repeat in range(plan.repeats)]
    if not _sound(repeats):
        return
    for method in ("prompt length", "domain mean", "text signals only", "router", "cascade"):
        if method in scoring.methods:
            yield from bench.looks(method, name, scoring.parts(method, name, repeats))


def _unseen(material: Material, plan: Plan, scoring: _Scoring, bench: Bench) -> Iterator[Row]:
    """Judge the router, and what it is held against, on domains that training never saw; a prompt that begins like one of theirs
    is never trained on either. Other domains are what it is asked about, so whole ones are drawn."""
    labels = material.labels
    if len(set(labels.domains)) < 3 or plan.unseen_folds < 2:
        return
    for group in (splits.alike(labels.prompts)[0], splits.groups(labels.prompts, splits.WHOLE)):
        repeat = list(splits.domain_folds(labels.domains, group, plan.unseen_folds, plan.seed))
        if _sound([repeat]):
            break
    else:
        return
    for method in ("random", "prompt length", "domain mean", "text signals only", "router", "cascade"):
        if method in scoring.methods:
            yield bench.row(method, UNSEEN, scoring.parts(method, UNSEEN, [repeat]), by_domain=True)
