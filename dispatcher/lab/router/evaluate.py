"""Evaluation of routers on labels that they did not see: every method on the same test rows; it writes nothing.

A method is scored out of sample: by folds, or by several draws of a small training set (`Plan.train_rows`). The figures
of repeats are those of their scores one by one, averaged; intervals are those of the first repeat, over its test rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from dispatcher.lab.router import baselines, splits
from dispatcher.lab.router.fit import Examples, Recipe, scores, train
from dispatcher.lab.router.labels import Labels
from dispatcher.lab.router.metrics import Interval, Order, apgr, judge, pgr_at
from dispatcher.lab.router.mixing import LENGTHS, grid
from dispatcher.routing.trained import TrainedRouter

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

RIDGE_ONLY = grid(((1.0, 0.0, 0.0),), LENGTHS)
KNN_ONLY = grid(((0.0, 0.0, 1.0),), (0.0,))

FEWEST_OF_A_DOMAIN = 50
"""Figures of a domain with fewer test prompts say nothing."""

NOTABLE = 0.02
"""Of the prompts must begin like another, and be no copy of it, for the two ways to divide them to be told apart."""

HEADS_TOGETHER = "all, divided with what begins alike together"
COPIES_TOGETHER = "all, divided with copies alone together"

SHARES = (0.1, 0.25, 0.45, 0.5, 0.75)
"""Shares of strong calls at which accuracy is told; 45 % is where a published edge-cloud router stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to evaluate. `train_rows` draws training sets of that size instead of folds; `grouped` keeps prompts
    that begin alike together, else only copies are.

    `without` are domains that are left out for a second look. `cost_ratio` is what a weak call costs of a strong one.
    """

    seed: int = 0
    folds: int = 5
    repeats: int = 1
    train_rows: int | None = None
    grouped: bool = True
    unseen_folds: int = 5
    without: tuple[str, ...] = ()
    cost_ratio: float = 0.1
    draws: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a share of strong calls gives. `saved` is the saved part of the all-strong cost; a cascade pays each weak one."""

    share: float
    accuracy: float
    pgr: float
    saved: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method on one set of test prompts."""

    method: str
    test: str
    count: int
    weak: float
    strong: float
    order: Order
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRow:
    """One domain, scored by the router."""

    domain: str
    count: int
    weak: float
    strong: float
    apgr: float
    mean_gain: float
    mean_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All figures. `curves` are (method, score, gain) of the first repeat, for plots."""

    rows: tuple[Row, ...]
    domains: tuple[DomainRow, ...]
    curves: tuple[tuple[str, Floats, Floats], ...]
    plan: Plan
    train_rows: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """The labels as numbers: prompt signals, vectors where there is an embedder, answer signals where there are answers."""

    labels: Labels
    prompt: Examples
    cascade: Examples | None

    @property
    def bare(self) -> Examples:
        """The examples without vectors."""
        return replace(self.prompt, vectors=None, embedder=None)


Scorer = Callable[[Rows, Rows], Floats]


def evaluate(material: Material, plan: Plan, recipe: Recipe | None = None) -> Report:
    """Score every method out of sample and judge it."""
    recipe = recipe or Recipe(seed=plan.seed)
    group = splits.groups(material.labels.prompts, splits.HEAD_CHARS if plan.grouped else splits.WHOLE)
    repeats = [list(_splits(group, plan, repeat)) for repeat in range(plan.repeats)]
    rows: list[Row] = []
    curves: list[tuple[str, Floats, Floats]] = []
    kept = ~np.isin(material.labels.domains, plan.without)
    domains: tuple[DomainRow, ...] = ()
    for method, scorer in _methods(material, recipe, plan.seed).items():
        parts = [_out_of_sample(scorer, repeat) for repeat in repeats]
        rows.append(_row(method, "all", parts, material.labels, plan))
        if plan.without:
            rows.append(_row(method, "without " + ", ".join(plan.without), _less(parts, kept), material.labels, plan))
        curves.append((method, parts[0][1], material.labels.gain[parts[0][0]]))
        if method == "router":
            domains = _per_domain(*parts[0], material.labels)
    rows.extend(_other_split(material, plan, recipe))
    rows.extend(_unseen(material, plan, recipe, group))
    return Report(rows=tuple(rows), domains=domains, curves=tuple(curves), plan=plan, train_rows=len(repeats[0][0][0]))


def evaluate_router(material: Material, examples: Examples, router: TrainedRouter, plan: Plan) -> Report:
    """Judge a router that is trained already, on labels that it has not seen: that is the caller's word.

    `examples` are those of the material that have the router's signals: with the answers', or without.
    """
    labels, every = material.labels, np.arange(len(material.labels.prompts))
    found = {
        "random": baselines.random_scores(len(every), plan.seed),
        "prompt length": baselines.length_scores(labels.prompts),
        "oracle": baselines.oracle_scores(labels.gain),
        "cascade" if examples is material.cascade else "router": scores(router, examples.signals, examples.vectors),
    }
    kept = np.flatnonzero(~np.isin(labels.domains, plan.without))
    rows = [_row(method, "all", [(every, score)], labels, plan) for method, score in found.items()]
    if plan.without:
        name = "without " + ", ".join(plan.without)
        rows += [_row(method, name, [(kept, score[kept])], labels, plan) for method, score in found.items()]
    return Report(
        rows=tuple(rows),
        domains=_per_domain(every, list(found.values())[-1], labels),
        curves=tuple((method, score, labels.gain) for method, score in found.items()),
        plan=plan,
        train_rows=0,
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


def _splits(group: Rows, plan: Plan, repeat: int) -> Iterator[splits.Split]:
    seed = plan.seed + repeat
    if plan.train_rows is None:
        yield from splits.folds(group, plan.folds, seed)
    else:
        yield splits.holdout(group, plan.train_rows, seed)


def _out_of_sample(scorer: Scorer, repeat: Sequence[splits.Split]) -> tuple[Rows, Floats]:
    tests = np.concatenate([test for _, test in repeat])
    return tests, np.concatenate([scorer(train_rows, test) for train_rows, test in repeat])


def _row(method: str, name: str, parts: Sequence[tuple[Rows, Floats]], labels: Labels, plan: Plan) -> Row:
    """Judge the repeats. The interval is the first repeat's, moved to the mean of all."""
    orders = [
        judge(score, labels.weak[test], labels.strong[test], draws=plan.draws if at == 0 else 1, seed=plan.seed)
        for at, (test, score) in enumerate(parts)
    ]
    test, _score = parts[0]
    weak, strong = float(labels.weak[test].mean()), float(labels.strong[test].mean())
    return Row(
        method=method,
        test=name,
        count=len(test),
        weak=weak,
        strong=strong,
        order=_mean(orders),
        points=tuple(_point(share, method, parts, labels, plan) for share in SHARES),
    )


def _mean(orders: Sequence[Order]) -> Order:
    found: dict[str, Interval | float] = {}
    for field in fields(Order):
        first = getattr(orders[0], field.name)
        if isinstance(first, Interval):
            value = float(np.mean([getattr(order, field.name).value for order in orders]))
            moved = value - first.value
            found[field.name] = Interval(value, first.low + moved, first.high + moved)
        else:
            found[field.name] = float(np.mean([getattr(order, field.name) for order in orders]))
    return Order(**found)  # type: ignore[arg-type]  # each field has the type of its own


def _point(share: float, method: str, parts: Sequence[tuple[Rows, Floats]], labels: Labels, plan: Plan) -> Point:
    pgr = float(np.mean([pgr_at(score, labels.gain[test], share) for test, score in parts]))
    test = parts[0][0]
    weak, strong = float(labels.weak[test].mean()), float(labels.strong[test].mean())
    paid = share + plan.cost_ratio if method == "cascade" else share + (1 - share) * plan.cost_ratio
    return Point(share=share, accuracy=weak + pgr * (strong - weak), pgr=pgr, saved=1 - paid)


def _per_domain(test: Rows, score: Floats, labels: Labels) -> tuple[DomainRow, ...]:
    names = np.array(labels.domains)[test]
    found = []
    for domain in sorted(set(names.tolist())):
        inside = names == domain
        rows = test[inside]
        if len(rows) >= FEWEST_OF_A_DOMAIN:
            found.append(
                DomainRow(
                    domain=domain or "(none)",
                    count=len(rows),
                    weak=float(labels.weak[rows].mean()),
                    strong=float(labels.strong[rows].mean()),
                    apgr=apgr(score[inside], labels.gain[rows]),
                    mean_gain=float(labels.gain[rows].mean()),
                    mean_score=float(score[inside].mean()),
                )
            )
    return tuple(found)


def _other_split(material: Material, plan: Plan, recipe: Recipe) -> Iterator[Row]:
    """Judge the router under the other rule of what stays together, where the two differ by a notable part of the prompts."""
    heads, wholes = (splits.groups(material.labels.prompts, chars) for chars in (splits.HEAD_CHARS, splits.WHOLE))
    if splits.shared(heads) - splits.shared(wholes) < NOTABLE:
        return
    group, name = (wholes, COPIES_TOGETHER) if plan.grouped else (heads, HEADS_TOGETHER)
    repeats = [list(_splits(group, plan, repeat)) for repeat in range(plan.repeats)]
    methods = _methods(material, recipe, plan.seed)
    kept = ~np.isin(material.labels.domains, plan.without)
    for method in ("prompt length", "domain mean", "text signals only", "router", "cascade"):
        if method in methods:
            parts = [_out_of_sample(methods[method], repeat) for repeat in repeats]
            yield _row(method, name, parts, material.labels, plan)
            if plan.without:
                yield _row(
                    method, f"{name}, without {', '.join(plan.without)}", _less(parts, kept), material.labels, plan
                )


def _less(parts: Sequence[tuple[Rows, Floats]], kept: NDArray[np.bool_]) -> list[tuple[Rows, Floats]]:
    return [(test[kept[test]], score[kept[test]]) for test, score in parts]


def _unseen(material: Material, plan: Plan, recipe: Recipe, group: Rows) -> Iterator[Row]:
    """Judge the router, and what it is held against, on domains that training never saw."""
    labels = material.labels
    if len(set(labels.domains)) < 3 or plan.unseen_folds < 2:
        return
    repeat = list(splits.domain_folds(labels.domains, group, plan.unseen_folds, plan.seed))
    methods = _methods(material, recipe, plan.seed)
    for method in ("random", "prompt length", "domain mean", "text signals only", "router", "cascade"):
        if method in methods:
            yield _row(method, "unseen domains", [_out_of_sample(methods[method], repeat)], labels, plan)
