"""Measures the cache's likeness: questions looked up and asked as a stream, each guard alone and together, over thresholds, per
scope size and in a one-topic scope. It draws and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from common.errors import LabelsError
from dispatcher.cache.guard.verifier import Verifier
from dispatcher.embed import Embedder
from dispatcher.lab.cache.corpus import Corpus, Rows
from dispatcher.lab.cache.curves import Curve, Point, at, at_error, stepped, swept
from dispatcher.lab.cache.data import Pair
from dispatcher.lab.cache.learning import Plan, learn
from dispatcher.lab.cache.policies import NEVER, Cosine, ExactOnly, Policy, Refusing, Rules, Verified
from dispatcher.lab.cache.runs import Outcome, joined, look_up, looks_of, stream
from dispatcher.lab.cache.scopes import Chance, folds, kept_of_each

Told = Callable[[str], None]

COSINE_CUTS = (1.0, 0.98, 0.96, 0.94, 0.92, 0.90, 0.88, 0.86, 0.84, 0.82, 0.80, 0.77, 0.74, 0.70)
FIXED = (0.90, 0.80)
SIZES = (10, 50, 200, 1000, 10_000)
TOPIC_ENTRIES = 50
TOPIC_ASKED = 200
TOPICS = 10
MOST_ASKED = 2000
MOST_STREAMED = 2000

Flags = NDArray[np.bool_]
PLAIN = "plain cosine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is measured. `each` are entries of each intent in the look-ups, `error_rate` is what the policies are compared at."""

    folds: int = 3
    repeats: int = 2
    each: tuple[int, ...] = (1, 5)
    error_rate: float = 0.01
    streams: bool = True
    sizes: bool = True
    plan: Plan = field(default_factory=Plan)
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A policy in a test: over all thresholds, at the error rate, and as it is set."""

    test: str
    policy: str
    curve: Curve
    at_error: Point
    as_set: Point | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRow:
    """A policy at its own threshold in scopes of one size."""

    test: str
    entries: int
    policy: str
    point: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All figures."""

    embedder: str
    verifier: str
    questions: int
    intents: int
    rows: tuple[Row, ...]
    sizes: tuple[SizeRow, ...]
    wish: Wish
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A verifier, and the intents that it is judged on."""

    verifier: Verifier | None
    unseen: Rows


Trials = Callable[[Chance], Iterator[Trial]]


def crossed(made: Corpus, pairs: Sequence[Pair], embedder: Embedder, wish: Wish, told: Told) -> Trials:
    """Give trials in which each intent is judged by a verifier of other intents: the recipe is measured, not one file."""

    def trials(chance: Chance) -> Iterator[Trial]:
        intents = np.unique(made.intent[~made.outside])
        for number, (seen, unseen) in enumerate(folds(intents, wish.folds, chance), start=1):
            rows = np.flatnonzero((np.isin(made.intent, seen) | made.outside) & ~made.test)
            told(f"training without the intents of part {number} of {wish.folds}")
            yield Trial(learn(made, rows, [], pairs, embedder=embedder, plan=wish.plan, told=lambda _: None), unseen)

    return trials


def given(made: Corpus, verifier: Verifier | None) -> Trials:
    """Give one trial over all intents, with a verifier that is there, or none."""

    def trials(_: Chance) -> Iterator[Trial]:
        yield Trial(verifier, np.unique(made.intent[~made.outside]))

    return trials


def evaluate(made: Corpus, trials: Trials, wish: Wish, told: Told, *, embedder: str, verifier: str) -> Report:
    """Measure. Raises `LabelsError` where nothing is there to measure on."""
    if not made.test.any():
        made = _halved(made, wish)
    runs = _Runs(made, wish, told)
    for repeat in range(wish.repeats):
        chance = np.random.default_rng([wish.seed, repeat])
        for trial in trials(chance):
            runs.add(trial, chance)
    intents = len(np.unique(made.intent[made.test & ~made.outside]))
    return Report(
        embedder=embedder,
        verifier=verifier,
        questions=int(made.test.sum()),
        intents=intents,
        rows=tuple(runs.rows()),
        sizes=tuple(runs.size_rows()),
        wish=wish,
    )


def _halved(made: Corpus, wish: Wish) -> Corpus:
    """Give questions that name no part two of them: half of each intent is asked, the other half is there to be kept."""
    chance = np.random.default_rng(wish.seed)
    asked = np.zeros(len(made), dtype=bool)
    for intent in np.unique(made.intent):
        members = chance.permutation(np.flatnonzero(made.intent == intent))
        asked[members[: len(members) // 2]] = True
    if not asked.any():
        raise LabelsError("no intent has two questions: there is nothing to be found")
    parts = [
        replace(one, part="test" if row else "train") for one, row in zip(made.questions, asked.tolist(), strict=True)
    ]
    return replace(made, questions=parts)


@dataclass(frozen=True, slots=True)
class _Set:
    """A policy and its own threshold, where it has one."""

    policy: Policy
    cut: float | None = None


class _Runs:
    """Collects the outcomes of all trials: each request is there once for each repeat."""

    def __init__(self, made: Corpus, wish: Wish, told: Told) -> None:
        self._made = made
        self._wish = wish
        self._told = told
        self._groups = int(made.intent.max()) + 1
        self._swept: dict[tuple[str, str], list[Outcome]] = {}
        self._stepped: dict[tuple[str, str], dict[int, list[tuple[float, Outcome]]]] = {}
        self._set: dict[tuple[str, str], list[tuple[float, Outcome]]] = {}
        self._sizes: dict[tuple[str, int, str], list[tuple[float, Outcome]]] = {}
        self._rules = Rules()

    def add(self, trial: Trial, chance: Chance) -> None:
        """Run everything over one trial. Questions of all intents are kept, and asked in streams; those of unseen intents count."""
        made = self._made
        counts = np.isin(made.intent, trial.unseen)
        policies = self._policies(trial.verifier)
        for source in np.unique(made.source):
            of = made.source == source
            pool = np.flatnonzero(~made.outside & ~made.test & of)
            asked = np.flatnonzero(counts & made.test & of)
            strangers = np.flatnonzero(made.outside & made.test & of)
            if len(asked) and len(pool):
                self._look_ups(str(source), pool, (asked, strangers), policies, chance)
                if self._wish.streams:
                    self._stream(
                        str(source), np.flatnonzero(~made.outside & made.test & of), counts, trial.verifier, chance
                    )
                if self._wish.sizes:
                    self._topics(str(source), pool, asked, policies, chance)
        if self._wish.sizes:
            self._by_size(counts, policies, chance)

    def _policies(self, verifier: Verifier | None) -> list[_Set]:
        found = [
            _Set(ExactOnly()),
            _Set(Cosine()),
            _Set(Refusing(Cosine())),
            _Set(self._rules),
            _Set(Refusing(self._rules)),
        ]
        if verifier is not None:
            cut = verifier.cut(self._wish.error_rate)
            found += [
                _Set(Verified(verifier, swaps=False, name="verifier, exchanges let through"), cut),
                _Set(Verified(verifier), cut),
                _Set(Refusing(Verified(verifier)), cut),
            ]
        return found

    def _look_ups(
        self, source: str, pool: Rows, parts: tuple[Rows, Rows], policies: Sequence[_Set], chance: Chance
    ) -> None:
        asked, strangers = parts
        for each in self._wish.each:
            kept = kept_of_each(pool, self._made.intent, each, chance)
            tests = {f"{source}: {each} kept of each intent": asked}
            if len(strangers):
                tests[f"{source}: {each} kept of each intent, out of scope asked"] = strangers
            for test, rows in tests.items():
                self._told(test)
                looks = looks_of(self._made, rows, kept)
                for one in policies:
                    outcome = look_up(self._made, rows, kept, one.policy, looks)
                    self._swept.setdefault((test, one.policy.name), []).append(outcome)
                    if one.cut is not None:
                        self._set.setdefault((test, one.policy.name), []).append((one.cut, outcome))

    def _stream(self, source: str, asked: Rows, counts: Flags, verifier: Verifier | None, chance: Chance) -> None:
        test = f"{source}: stream, 200 entries"
        self._told(test)
        order = chance.permutation(asked)[:MOST_STREAMED]
        counted = counts[order]
        steps: list[tuple[Policy, Sequence[float]]] = [
            (ExactOnly(), (1.0,)),
            (Cosine(), COSINE_CUTS),
            (self._rules, COSINE_CUTS),
        ]
        if verifier is not None:
            rates = [place for place, rate in enumerate(verifier.rates) if 0.2 <= rate / self._wish.error_rate <= 3.0]
            cuts = [float(verifier.cuts[place]) for place in rates]
            steps += [(Verified(verifier), cuts), (Refusing(Verified(verifier)), cuts)]
            own = verifier.cut(self._wish.error_rate)
        for policy, thresholds in steps:
            for place, cut in enumerate(thresholds):
                outcome = stream(self._made, order, policy, cut).only(counted)
                self._stepped.setdefault((test, policy.name), {}).setdefault(place, []).append((cut, outcome))
                if verifier is not None and cut == own:
                    self._set.setdefault((test, policy.name), []).append((cut, outcome))

    def _by_size(self, counts: Flags, policies: Sequence[_Set], chance: Chance) -> None:
        made = self._made
        pool = chance.permutation(np.flatnonzero(~made.outside & ~made.test))
        asked = chance.permutation(np.flatnonzero((counts | made.outside) & made.test))[:MOST_ASKED]
        for size in SIZES:
            if size > len(pool):
                break
            self._told(f"scopes of {size} entries")
            self._sized("all questions", size, asked, pool[:size], policies)

    def _topics(self, source: str, pool: Rows, asked: Rows, policies: Sequence[_Set], chance: Chance) -> None:
        """One-topic scopes: the entries nearest to a seed, and the questions nearest to it."""
        for seed in chance.permutation(asked)[:TOPICS].tolist():
            vector = self._made.vectors[seed]
            near = pool[np.argsort(-(self._made.vectors[pool] @ vector))[:TOPIC_ENTRIES]]
            kept = near[:TOPIC_ENTRIES]
            rows = asked[np.argsort(-(self._made.vectors[asked] @ vector))[:TOPIC_ASKED]]
            self._sized(f"{source}: one topic", TOPIC_ENTRIES, rows, kept, policies)

    def _sized(self, test: str, size: int, asked: Rows, kept: Rows, policies: Sequence[_Set]) -> None:
        looks = looks_of(self._made, asked, kept)
        wanted = [(one.policy.name, one.policy, one.cut) for one in policies if one.cut is not None]
        wanted += [(f"cosine {cut:.2f}", Cosine(), cut) for cut in FIXED]
        for name, policy, cut in wanted:
            self._sizes.setdefault((test, size, name), []).append(
                (float(cut or 0.0), look_up(self._made, asked, kept, policy, looks))
            )

    def rows(self) -> Iterator[Row]:
        """Give the figures of look-ups and streams."""
        curves = {key: swept(joined(parts), self._groups) for key, parts in self._swept.items()}
        for key, places in self._stepped.items():
            runs = [(places[place][0][0], _marked(places[place])) for place in sorted(places)]
            curves[key] = stepped([(1.0, one) for _, one in runs], self._groups)
            curves[key] = Curve(
                np.array([cut for cut, _ in runs]), curves[key].requests, curves[key].hits, curves[key].wrong
            )
        for (test, policy), curve in curves.items():
            own = self._set.get((test, policy))
            yield Row(
                test=test,
                policy=policy,
                curve=curve,
                at_error=at_error(curve, curves[test, PLAIN], self._wish.error_rate, seed=self._wish.seed),
                as_set=None if own is None else self._point(own),
            )
            if policy == PLAIN:
                for cut in FIXED:
                    yield Row(
                        test=test,
                        policy=f"cosine {cut:.2f}",
                        curve=curve,
                        at_error=self._fixed(test, curve, cut),
                        as_set=self._fixed(test, curve, cut),
                    )

    def _fixed(self, test: str, curve: Curve, cut: float) -> Point:
        parts = self._swept.get((test, PLAIN))
        if parts is not None:
            return self._point([(cut, one) for one in parts])
        return at(curve, int(np.argmin(np.abs(curve.cuts - cut))), seed=self._wish.seed)

    def size_rows(self) -> Iterator[SizeRow]:
        """Give the figures by scope size."""
        for (test, size, policy), parts in self._sizes.items():
            yield SizeRow(test=test, entries=size, policy=policy, point=self._point(parts))

    def _point(self, parts: Sequence[tuple[float, Outcome]]) -> Point:
        curve = stepped([(1.0, _marked(parts))], self._groups)
        return at(Curve(np.array([parts[0][0]]), curve.requests, curve.hits, curve.wrong), 0, seed=self._wish.seed)


def _marked(parts: Sequence[tuple[float, Outcome]]) -> Outcome:
    """Put runs with thresholds of their own together: what was given has score 1, all other none."""
    marked = [Outcome(np.where(one.hits(cut), 1.0, NEVER), one.right, one.group) for cut, one in parts]
    return joined(marked)
