"""Trains a verifier on labelled questions and pairs: examples are drawn from scopes as tenants may have them, and cuts are found on
streams of intents that the trees did not see. Seeded; it reads no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from common.errors import LabelsError
from dispatcher.cache.guard.near_features import near_features, near_of
from dispatcher.cache.guard.pair_features import pair_features
from dispatcher.cache.guard.swap_features import SWAP, swap_features
from dispatcher.cache.guard.trees import Trees
from dispatcher.cache.guard.verifier import FEATURES, Verifier, certain
from dispatcher.cache.guard.wording import wording
from dispatcher.embed import Embedder
from dispatcher.lab.cache.corpus import Corpus, Features, Rows
from dispatcher.lab.cache.data import Pair
from dispatcher.lab.cache.growing import Recipe, grow, rising
from dispatcher.lab.cache.policies import NEVER, Verified
from dispatcher.lab.cache.runs import EXACT, Outcome, joined, stream
from dispatcher.lab.cache.scopes import Chance, folds, varied
from dispatcher.lab.cache.swapping import exchanged

RATES = (0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)
"""Error rates that a verifier is calibrated to, as shares of all requests."""

FEWEST_PAIRS = 100
FEWEST_INTENTS = 12
FEWEST_OF_EACH = 20
"""Below these nothing can be learned, and nothing can be held back to tell."""

LEAST_SIMILARITY = 0.4
"""Cosine below which the trees are not asked: no look of any evaluation had a right entry that was given there."""

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is drawn, and how. `swaps_kept_out` is the share of the pairs written by hand, with one thing exchanged, that is
    refused for that by trees which had not seen them; the cut has `swap_margin` to spare, since such pairs are few and those of
    others are about other things. `made` pairs like them are made by rule, and count `made_share` of all."""

    recipe: Recipe = field(default_factory=Recipe)
    swap_recipe: Recipe = field(
        default_factory=lambda: Recipe(trees=120, leaves=8, rate=0.08, fewest=10, l2=5.0, share=1.0, told=False)
    )
    scopes: int = 120
    asked: int = 150
    inner: int = 3
    swaps_kept_out: float = 0.99
    swap_margin: float = 1.0
    alike_pairs: int = 2500
    made: int = 2500
    made_share: float = 0.5
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Rows of features, and whether each is right."""

    rows: Features
    right: NDArray[np.bool_]

    @staticmethod
    def joined(parts: Sequence[Examples]) -> Examples:
        """Put examples one after another."""
        return Examples(np.concatenate([one.rows for one in parts]), np.concatenate([one.right for one in parts]))


def need_enough(made: Corpus, rows: Rows, pairs: Sequence[Pair]) -> None:
    """Raise `LabelsError` where there is too little to learn from."""
    intents = len(np.unique(made.intent[rows][~made.outside[rows]]))
    same = sum(pair.same for pair in pairs)
    enough_pairs = len(pairs) >= FEWEST_PAIRS and min(same, len(pairs) - same) >= FEWEST_OF_EACH
    if intents < FEWEST_INTENTS and not enough_pairs:
        raise LabelsError(
            f"{intents} intents and {len(pairs)} labelled pairs ({same} the same) are too little: {FEWEST_INTENTS} intents "
            f"with some questions each are needed, or {FEWEST_PAIRS} pairs with {FEWEST_OF_EACH} of each kind"
        )


def examples(made: Corpus, rows: Rows, plan: Plan, chance: Chance) -> Examples:
    """Draw scopes of one set of questions each, and give what was looked up in them."""
    sources = made.source[rows]
    pools = [rows[sources == one] for one in np.unique(sources)]
    found: list[Features] = []
    right: list[NDArray[np.bool_]] = []
    for number in range(plan.scopes):
        scope = varied(made, pools[number % len(pools)], chance, asked=plan.asked)
        for one in scope.asked.tolist():
            look = made.look(one, scope.kept)
            found.append(made.features(look))
            right.append(made.right(look))
    return Examples(np.concatenate(found), np.concatenate(right))


def of_pairs(pairs: Sequence[Pair], made: Corpus, embedder: Embedder) -> Examples:
    """Give pairs as looks in which there is no other entry."""
    rows, right = [], []
    for pair in pairs:
        one, other = wording(pair.asked, made.pieces), wording(pair.kept, made.pieces)
        vectors = embedder.embed([pair.asked, pair.kept])
        rows.append(
            [
                *pair_features(one, other),
                *near_features(near_of(np.array([vectors[0] @ vectors[1]]), one.whole, other.whole[None]), 0),
            ]
        )
        right.append(pair.same)
    return Examples(np.array(rows).reshape(-1, len(FEATURES)), np.array(right, dtype=bool))


@dataclass(frozen=True, slots=True, eq=False)
class _Exchanges:
    """Rows of `SWAP`, whether one thing was exchanged, what each counts, which were written by hand, and in which part each is:
    what was made of a pair by rule is in its part."""

    rows: Features
    exchanged: NDArray[np.bool_]
    weight: NDArray[np.float64]
    written: NDArray[np.bool_]
    part: Rows


def _exchanges(made: Corpus, rows: Rows, pairs: Sequence[Pair], plan: Plan, chance: Chance) -> _Exchanges:
    """Give pairs in which one thing was exchanged, by hand and by rule, and questions of one intent that are worded alike. Those to
    which no rule objects are left out: they are judged without."""
    inside = rows[~made.outside[rows]]
    parts = chance.permutation(len(pairs)) % _SWAP_FOLDS
    found: list[tuple[list[float], int, int]] = []  # features, kind, part
    for pair, part in zip(pairs, parts.tolist(), strict=True):
        found.append((_swap(pair.asked, pair.kept, made), _SAID_AGAIN if pair.same else _BY_HAND, part))
        of_pair = exchanged([pair.asked, pair.kept], plan.made // (2 * len(pairs)) + 1, chance)
        found += [(_swap(one, other, made), _BY_RULE, part) for one, other in of_pair]
    texts = [made.questions[row].text for row in inside.tolist()]
    by_rule = exchanged(texts, plan.made // 2, chance) if texts else []
    alike = _alike(made, inside, plan, chance)
    more = [(_swap(one, other, made), _BY_RULE) for one, other in by_rule]
    more += [(made.swap(one, other), _ONE_INTENT) for one, other in alike]
    found += [(row, kind, number % _SWAP_FOLDS) for number, (row, kind) in enumerate(more)]
    found = [one for one in found if one[0][_OBJECTIONS] > 0]
    kinds = np.array([kind for _, kind, _ in found])
    counts = np.bincount(kinds, minlength=4)
    shares = np.array([1.0 - plan.made_share, plan.made_share, 0.05, 0.95]) / np.maximum(counts, 1)
    return _Exchanges(
        rows=np.array([row for row, _, _ in found]),
        exchanged=kinds <= _BY_RULE,
        weight=shares[kinds] * len(found) / 2.0,
        written=kinds == _BY_HAND,
        part=np.array([part for _, _, part in found]),
    )


_BY_HAND, _BY_RULE, _SAID_AGAIN, _ONE_INTENT = range(4)


def _swap(one: str, other: str, made: Corpus) -> list[float]:
    mine, yours = wording(one, made.pieces), wording(other, made.pieces)
    return swap_features(mine.reading, yours.reading, pair_features(mine, yours))


def swap_trees(made: Corpus, rows: Rows, pairs: Sequence[Pair], plan: Plan, chance: Chance) -> tuple[Trees, float]:
    """Grow the trees that tell what was exchanged, and find the cut at which trees that had not seen them refuse the wanted
    share of the pairs that were written by hand."""
    given = _exchanges(made, rows, pairs, plan, chance)
    unseen = np.zeros(len(given.rows))
    for part in range(_SWAP_FOLDS):
        rest = given.part != part
        trees = grow(given.rows[rest], given.exchanged[rest], given.weight[rest], SWAP, plan.swap_recipe)
        unseen[~rest] = trees.score(given.rows[~rest])
    sure = np.array([certain(row) for row in given.rows])  # refused whatever the trees say
    cut = float(np.quantile(np.where(sure, np.inf, unseen)[given.written], 1.0 - plan.swaps_kept_out, method="lower"))
    return grow(given.rows, given.exchanged, given.weight, SWAP, plan.swap_recipe), cut - plan.swap_margin


_SWAP_FOLDS = 5
_OBJECTIONS = SWAP.index("objections")
_ALIKE_FROM = 0.75
_RANK = FEATURES.index("rank")
_NEAREST_COUNTS = 6.0
"""What the nearest entry counts beside the others that are judged: it is the one that is given, mostly."""


def _alike(made: Corpus, rows: Rows, plan: Plan, chance: Chance) -> list[tuple[int, int]]:
    """Give pairs of questions of one intent, worded so alike that they would be given."""
    groups, found = made.intent[rows], []
    intents = np.unique(groups[~made.outside[rows]])
    for intent in chance.permutation(intents).tolist():
        of = rows[groups == intent]
        some = chance.permutation(of)[: max(2, 4 * plan.alike_pairs // max(1, len(intents)))]
        for one in some[: plan.alike_pairs // max(1, len(intents)) + 1].tolist():
            others = some[some != one]
            if len(others):
                likeness = made.vectors[others] @ made.vectors[one]
                if likeness.max() >= _ALIKE_FROM:
                    found.append((one, int(others[likeness.argmax()])))
    return found


def learn(
    made: Corpus,
    rows: Rows,
    pairs: Sequence[Pair],
    swapped: Sequence[Pair],
    *,
    embedder: Embedder,
    plan: Plan,
    told: Told,
) -> Verifier:
    """Train a verifier on some questions of a corpus and on pairs. `swapped` are pairs in which one thing was exchanged, or
    nothing.

    Cuts come from trees that did not see the intents they are judged on; the trees that are given have seen all. Raises
    `LabelsError` for too little.
    """
    need_enough(made, rows, pairs)
    chance = np.random.default_rng(plan.seed)
    told("pairs in which one thing was exchanged")
    swap, swap_cut = swap_trees(made, rows, swapped, plan, chance)

    own = of_pairs(pairs, made, embedder)

    def fitted(of: Rows, taken: NDArray[np.bool_]) -> Verifier:
        parts = [Examples(own.rows[taken], own.right[taken])]
        if len(of):
            parts.append(examples(made, of, plan, chance))
        given = Examples.joined(parts)
        weight = np.where(given.rows[:, _RANK] == 0, _NEAREST_COUNTS, 1.0)
        return Verifier(
            trees=grow(given.rows, given.right, weight, FEATURES, plan.recipe),
            swap=swap,
            swap_cut=swap_cut,
            scores=np.array([-1.0, 1.0]),
            chances=np.array([0.0, 1.0]),
            rates=np.array([RATES[0], RATES[-1]]),
            cuts=np.array([_HIGH, _LOW]),
            least_similarity=LEAST_SIMILARITY,
        )

    every = np.ones(len(pairs), dtype=bool)
    outcomes: list[tuple[str, Outcome]] = []
    inside = rows[~made.outside[rows]]
    intents = np.unique(made.intent[inside])
    if len(intents) >= FEWEST_INTENTS:
        for number, (seen, unseen) in enumerate(folds(intents, plan.inner, chance), start=1):
            told(f"calibration, part {number} of {plan.inner}")
            known = np.isin(made.intent[rows], seen) | made.outside[rows]
            outcomes += _streams(made, inside, unseen, fitted(rows[known], every), chance)
    else:
        part = chance.permutation(len(pairs)) % plan.inner
        for number in range(plan.inner):
            told(f"calibration, part {number + 1} of {plan.inner}")
            held = part == number
            outcomes.append(("pairs", _alone(own.rows[held], own.right[held], fitted(rows, ~held))))
    told("all there is")
    return calibrated(fitted(rows, every), outcomes)


def _alone(rows: Features, right: NDArray[np.bool_], trial: Verifier) -> Outcome:
    """Take pairs for requests: there is nothing else from which a rate of all requests could be told."""
    return Outcome(trial.same(rows), right, np.arange(len(right)))


_HIGH, _LOW = 50.0, -1.0
"""Scores between which all cuts lie."""

_STREAM = 2400
"""Questions of a stream: a scope of 200 entries has filled long before, and a part of them counts."""

_REFERENCE = (3.0, 2.0)
"""Cuts of the two streams that a cut is found from: what is kept depends on the cut only a little."""


def _streams(
    made: Corpus, inside: Rows, unseen: NDArray[np.int_], trial: Verifier, chance: Chance
) -> list[tuple[str, Outcome]]:
    """Give what became of questions of unseen intents, among all that is asked: with fewer intents around there would be less to be
    mistaken for, and a cut that keeps an error rate there keeps it nowhere else."""
    found = []
    for source in np.unique(made.source[inside]):
        of = inside[made.source[inside] == source]
        for reference in _REFERENCE:
            order = chance.permutation(of)[:_STREAM]
            counts = np.isin(made.intent[order], unseen)
            found.append((str(source), stream(made, order, Verified(trial), reference).only(counts)))
    return found


def calibrated(verifier: Verifier, outcomes: Sequence[tuple[str, Outcome]]) -> Verifier:
    """Give a verifier with its table of cuts and of chances.

    A cut keeps a rate where the error stays below it on the streams of each set of questions taken alone, so that a set that is
    easier does not pay for one that is harder.
    """
    sets = {source: joined([one for name, one in outcomes if name == source]) for source, _ in outcomes}
    cuts = np.array([max(least_cut(one, rate) for one in sets.values()) for rate in RATES])
    cuts = np.minimum.accumulate(np.clip(cuts, _LOW, _HIGH))
    whole = joined(list(sets.values()))
    near = (whole.score > NEVER) & (whole.score < EXACT)
    scores, chances = rising(whole.score[near], whole.right[near])
    keep = np.concatenate([[True], np.diff(scores) > 1e-9])
    return replace(verifier, rates=np.array(RATES), cuts=cuts, scores=scores[keep], chances=chances[keep])


def least_cut(outcome: Outcome, rate: float) -> float:
    """Give the least cut at which wrong answers are at most `rate` of all requests."""
    near = (outcome.score > NEVER) & (outcome.score < EXACT)
    order = np.argsort(-outcome.score[near], kind="stable")
    scores, wrong = outcome.score[near][order], np.cumsum(~outcome.right[near][order])
    fine = np.flatnonzero(wrong <= rate * len(outcome.score))
    if not len(fine):
        return _HIGH
    last = int(fine[-1])
    if last + 1 == len(scores):
        return _LOW
    return float((scores[last] + scores[last + 1]) / 2.0) if scores[last] > scores[last + 1] else _above(scores, last)


def _above(scores: NDArray[np.float64], last: int) -> float:
    """Give a cut above a score that right and wrong share."""
    higher = scores[scores > scores[last]]
    return float((higher.min() + scores[last]) / 2.0) if len(higher) else _HIGH
