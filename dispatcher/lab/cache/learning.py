"""Trains a verifier on labelled questions and pairs: examples are drawn from scopes as tenants may have them, and cuts are found on
streams of intents that the trees did not see. Seeded; it reads no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from common.errors import LabelsError
from dispatcher.cache.guard.near_features import near_features
from dispatcher.cache.guard.pair_features import pair_features
from dispatcher.cache.guard.swap_features import swap_features
from dispatcher.cache.guard.verifier import FEATURES, Verifier
from dispatcher.cache.guard.wording import wording
from dispatcher.embed import Embedder
from dispatcher.lab.cache.corpus import Corpus, Features, Rows
from dispatcher.lab.cache.data import Pair
from dispatcher.lab.cache.growing import Recipe, fit_line, grow, rising
from dispatcher.lab.cache.policies import NEVER, Verified
from dispatcher.lab.cache.runs import EXACT, Outcome, joined, stream
from dispatcher.lab.cache.scopes import Chance, folds, varied

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
    """How much is drawn, and how. `swaps_kept_out` is the share of exchanged pairs that the line alone has to refuse."""

    recipe: Recipe = field(default_factory=Recipe)
    scopes: int = 120
    asked: int = 150
    inner: int = 3
    swaps_kept_out: float = 0.99
    alike_pairs: int = 2500
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


@dataclass(frozen=True, slots=True, eq=False)
class Swaps:
    """What the line over exchanges is fitted to: exchanged pairs, and pairs that mean the same."""

    examples: Examples
    cut_of: NDArray[np.float64]
    """Scores of the exchanged pairs by lines that had not seen them."""


def need_enough(made: Corpus | None, rows: Rows, pairs: Sequence[Pair]) -> None:
    """Raise `LabelsError` where there is too little to learn from."""
    intents = 0 if made is None else len(np.unique(made.intent[rows][~made.outside[rows]]))
    same = sum(pair.same for pair in pairs)
    enough_pairs = len(pairs) >= FEWEST_PAIRS and min(same, len(pairs) - same) >= FEWEST_OF_EACH
    if intents < FEWEST_INTENTS and not enough_pairs:
        raise LabelsError(
            f"{intents} intents and {len(pairs)} labelled pairs ({same} the same) are too little: {FEWEST_INTENTS} intents with some "
            f"questions each are needed, or {FEWEST_PAIRS} pairs with {FEWEST_OF_EACH} of each kind"
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
    alone = np.ones((1, 1), dtype=np.float32)
    rows, right = [], []
    for pair in pairs:
        one, other = wording(pair.asked, made.pieces), wording(pair.kept, made.pieces)
        vectors = embedder.embed([pair.asked, pair.kept])
        rows.append([*pair_features(one, other), *near_features(np.array([vectors[0] @ vectors[1]]), alone, 0)])
        right.append(pair.same)
    return Examples(np.array(rows).reshape(-1, len(FEATURES)), np.array(right, dtype=bool))


def swaps(made: Corpus, rows: Rows, pairs: Sequence[Pair], plan: Plan, chance: Chance) -> Swaps:
    """Give exchanged pairs, what means the same beside them, and questions of one intent that are worded alike."""
    found, exchanged = [], []
    for pair in pairs:
        one, other = wording(pair.asked, made.pieces), wording(pair.kept, made.pieces)
        found.append(swap_features(one.reading, other.reading, pair_features(one, other)))
        exchanged.append(not pair.same)
    for first, second in _alike(made, rows, plan, chance):
        found.append(made.swap(first, second))
        exchanged.append(False)
    given = Examples(np.array(found), np.array(exchanged))
    fold = chance.permutation(len(found)) % 5
    unseen = np.zeros(len(found))
    for part in range(5):
        rest = fold != part
        line = fit_line(given.rows[rest], given.right[rest], _even(given.right[rest]), strength=_SWAP_STRENGTH)
        unseen[~rest] = line.score(given.rows[~rest])
    return Swaps(given, unseen[given.right])


_SWAP_STRENGTH = 1.0
_TREND_STRENGTH = 0.1
_ALIKE_FROM = 0.75


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


def _even(right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weigh examples so that both kinds count as much."""
    weight = np.where(right, 1.0 / max(1, right.sum()), 1.0 / max(1, (~right).sum()))
    return np.asarray(weight * len(right) / 2.0, dtype=np.float64)


def learn(
    made: Corpus, rows: Rows, pairs: Sequence[Pair], swapped: Sequence[Pair], embedder: Embedder, plan: Plan, told: Told
) -> Verifier:
    """Train a verifier on some questions of a corpus and on pairs. `swapped` are pairs in which one thing was exchanged, or
    nothing.

    Cuts come from trees that did not see the intents they are judged on; the trees that are given have seen all.
    """
    chance = np.random.default_rng(plan.seed)
    extra = [of_pairs(pairs, made, embedder)] if pairs else []
    told("pairs in which one thing was exchanged")
    exchanged = swaps(made, rows, swapped, plan, chance)
    line = fit_line(
        exchanged.examples.rows, exchanged.examples.right, _even(exchanged.examples.right), strength=_SWAP_STRENGTH
    )
    swap_cut = float(np.quantile(exchanged.cut_of, 1.0 - plan.swaps_kept_out))

    def fitted(of: Rows) -> Verifier:
        given = Examples.joined([examples(made, of, plan, chance), *extra])
        even = np.ones(len(given.right))
        return Verifier(
            trees=grow(given.rows, given.right, even, FEATURES, plan.recipe),
            trend=fit_line(given.rows, given.right, even, strength=_TREND_STRENGTH),
            swap=line,
            swap_cut=swap_cut,
            scores=np.array([-1.0, 1.0]),
            chances=np.array([0.0, 1.0]),
            rates=np.array([RATES[0], RATES[-1]]),
            cuts=np.array([_HIGH, _LOW]),
            least_similarity=LEAST_SIMILARITY,
        )

    inside = rows[~made.outside[rows]]
    outcomes: list[tuple[str, Outcome]] = []
    for number, (seen, unseen) in enumerate(folds(np.unique(made.intent[inside]), plan.inner, chance), start=1):
        told(f"calibration, part {number} of {plan.inner}")
        known = np.isin(made.intent[rows], seen) | made.outside[rows]
        trial = fitted(rows[known])
        held = rows[np.isin(made.intent[rows], unseen)]
        outcomes += _streams(made, held, trial, chance)
    told("all questions")
    final = fitted(rows)
    return calibrated(final, outcomes)


_HIGH, _LOW = 50.0, -1.0
"""Scores between which all cuts lie."""

_STREAM = 1200
"""Questions of a stream: a scope of 200 entries has filled by then."""

_REFERENCE = (3.0, 2.0)
"""Cuts of the two streams that a cut is found from: what is kept depends on the cut only a little."""


def _streams(made: Corpus, held: Rows, trial: Verifier, chance: Chance) -> list[tuple[str, Outcome]]:
    found = []
    for source in np.unique(made.source[held]):
        of = held[made.source[held] == source]
        for reference in _REFERENCE:
            order = chance.permutation(of)[:_STREAM]
            found.append((str(source), stream(made, order, Verified(trial), reference)))
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
