"""What people and clocks say of answers moves the weights of the hybrid score and the share of strong calls: pure values.

Each outcome compares the chosen candidate with the best other one. When it went better than usual, the terms by which the chosen
one led deserve more weight, and when it went worse, less: a policy gradient with a baseline (Williams 1992, REINFORCE), in the
logarithms of factors on the owner's weights. A factor moves only while the outcomes agree beyond what chance does, `STEP` at most
at a time, and never leaves `FACTOR`: the owner's policy is leaned on, and never replaced. With nothing to learn from, factors drift
back to 1.

When outcomes agree. An outcome pulls a term by x = count (reward - usual) lead. Were rewards independent of leads, each x would
have mean 0, and the sum A of the last ones, each forgotten by `KEPT` per outcome, the variance Q, the sum of their squares, each
forgotten by `KEPT` squared. So t = A / sqrt(Q) has mean 0 and variance 1 under pure noise, whatever the scale of rewards and leads,
and for symmetric x it is sub-Gaussian, P(|t| > z) <= 2 exp(-z^2 / 2), however few there are (self-normalised sums: Hoeffding 1963
on the signs, given the sizes). And |t| <= sqrt(n) after n outcomes: fewer than `SURE` squared move nothing, even when they all
agree. Only what t has beyond `SURE` moves a factor. `tests/unit/dispatcher/test_routing_feedback.py` holds what noise is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from dispatcher.outcomes import Terms
from dispatcher.routing.ask import RoutingPolicy

TERMS = ("tokens", "topic", "health")
_SHARE = len(TERMS)

STEP = 0.05
"""The most that one change moves the logarithm of a factor: 5 %."""

FACTOR = 2.0
"""A weight lies between half and twice the owner's, before all are normalised again."""

SURE = 3.0
"""Standard errors that a mean must lie from 0 to count: ten outcomes that all agree do."""

KEPT = 0.98
"""What an outcome leaves of those before it: the last fifty count most. Over longer times chance has longer runs."""

RATE = 0.008
"""What an outcome of weight 1 moves the logarithm of a factor per standard error beyond `SURE`. At 0.02 a run of chance moved a
factor by a fifth, and learned hardly more after a shift (`drover lab feedback`, tried on seeds 100 to 103)."""

BASELINE_RATE = 0.05
"""About the last twenty outcomes say what is usual."""

HOME_RATE = 0.005
"""How far an outcome of weight 1 lets factors drift back to the owner's: half of what no news confirms is gone after 140."""

SHARE_RATE = 0.002
"""What a rating moves the share of strong calls per standard error beyond `SURE`."""

SHARE_STEP = 0.01
"""The most that one change moves the share."""

SHARE_UP, SHARE_DOWN = 0.05, 0.15
"""How far the share may get from the owner's: above it are the owner's costs, below it only the tenant's own answers."""

CONTENT = 0.25
"""A weak answer that is liked counts a quarter of one that is not: the share stays where a fifth are disliked."""

EXPLORATION = 0.03
"""Share of jobs that go to the second best, so that one that has become better is ever seen."""


class Source(StrEnum):
    """Who says how it went."""

    USER = "user"  # thumbs
    VOTE = "vote"  # of two answers compared
    JUDGE = "judge"  # a model's score
    LATENCY = "latency"
    FAILURE = "failure"
    RETRY = "retry"  # the same question again


COUNTS: Mapping[Source, float] = {
    Source.USER: 1.0,
    Source.VOTE: 1.0,
    Source.JUDGE: 0.7,
    Source.LATENCY: 0.3,
    Source.FAILURE: 0.7,
    Source.RETRY: 0.3,
}
"""What each counts: people most, and what is only read off the clock least, as there is so much of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job went. `reward` is in [0, 1]; `rival` are the terms of the best candidate on another device, if there was one;
    `strong` tells the tier that answered, where tiers decided."""

    source: Source
    reward: float
    chosen: Terms
    rival: Terms | None = None
    strong: bool | None = None


Pulls = tuple[float, float, float, float]
"""On the three terms, and on the share."""

_NONE: Pulls = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What was learned of one tenant's jobs. `logs` are logarithms of the factors on the owner's weights, in the order of `TERMS`;
    `share` is added to the owner's share of strong calls. `pulls` and `squares` are A and Q of the last outcomes (see the module),
    and `weight` is that of those since the last change."""

    logs: tuple[float, float, float] = (0.0, 0.0, 0.0)
    share: float = 0.0
    usual: float | None = None
    pulls: Pulls = _NONE
    squares: Pulls = _NONE
    weight: float = 0.0
    outcomes: int = 0

    @property
    def factors(self) -> dict[str, float]:
        """Give what each of the owner's weights is multiplied with."""
        return {name: math.exp(log) for name, log in zip(TERMS, self.logs, strict=True)}

    def policy(self, owner: RoutingPolicy) -> RoutingPolicy:
        """Give the owner's policy as it was learned."""
        if not any(self.logs):
            return owner
        factors = self.factors
        return replace(
            owner,
            tokens=owner.tokens * factors["tokens"],
            topic=owner.topic * factors["topic"],
            health=owner.health * factors["health"],
        )

    def strong_share(self, owner: float) -> float:
        """Give the share of strong calls; an owner who allows none, or all, is not argued with."""
        return owner if owner in {0.0, 1.0} else min(1.0, max(0.0, owner + self.share))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, as it is logged."""

    before: Learned
    after: Learned

    @property
    def moved(self) -> float:
        """Give the largest change of a factor, or of the share."""
        logs = zip(self.before.logs, self.after.logs, strict=True)
        return max(abs(self.after.share - self.before.share), *(abs(new - old) for old, new in logs))


def heard(learned: Learned, outcome: Outcome) -> Learned:
    """Take in an outcome; nothing changes before `changed` is asked."""
    count = COUNTS[outcome.source]
    reward = min(1.0, max(0.0, outcome.reward))
    usual = reward if learned.usual is None else learned.usual
    pulls, squares = list(learned.pulls), list(learned.squares)
    for place, pull in _pulls(outcome, reward, usual):
        pulls[place] = KEPT * pulls[place] + count * pull
        squares[place] = KEPT**2 * squares[place] + (count * pull) ** 2
    return replace(
        learned,
        usual=usual + BASELINE_RATE * count * (reward - usual),
        pulls=_four(pulls),
        squares=_four(squares),
        weight=learned.weight + count,
        outcomes=learned.outcomes + 1,
    )


def _pulls(outcome: Outcome, reward: float, usual: float) -> Iterator[tuple[int, float]]:
    """1. The terms by which the chosen one led, where there was a choice. 2. A weak answer that is disliked asks for more strong
    ones, and 3. one that is liked for somewhat fewer. What clocks say of either tier is no reason."""
    if outcome.rival is not None:  # 1
        for place, name in enumerate(TERMS):
            yield place, (reward - usual) * (getattr(outcome.chosen, name) - getattr(outcome.rival, name))
    if outcome.strong is False and outcome.source not in {Source.LATENCY, Source.FAILURE}:
        like = 2.0 * reward - 1.0
        yield _SHARE, -like if like < 0.0 else -CONTENT * like  # 2, 3


def changed(learned: Learned) -> tuple[Learned, Change | None]:
    """Apply what has been heard since the last change, within the bounds; None when there was nothing."""
    if learned.weight <= 0.0:
        return learned, None
    stays = (1.0 - HOME_RATE) ** learned.weight
    *beyond, dislike = (_beyond(pull, square) for pull, square in zip(learned.pulls, learned.squares, strict=True))
    moves = (RATE * learned.weight * sure - log * (1.0 - stays) for log, sure in zip(learned.logs, beyond, strict=True))
    moved = [log + _within(move, STEP) for log, move in zip(learned.logs, moves, strict=True)]
    tokens, topic, health = _held(moved)
    share = learned.share + _within(SHARE_RATE * learned.weight * dislike, SHARE_STEP)
    after = replace(
        learned,
        logs=(tokens, topic, health),
        share=max(-SHARE_DOWN, min(SHARE_UP, share)),
        weight=0.0,
    )
    return after, Change(before=learned, after=after)


def _beyond(pull: float, square: float) -> float:
    """Give how many standard errors a sum of pulls lies beyond `SURE`, with its sign."""
    if square <= 0.0:
        return 0.0
    errors = pull / math.sqrt(square)
    return math.copysign(max(0.0, abs(errors) - SURE), errors)


def _four(values: Sequence[float]) -> Pulls:
    tokens, topic, health, share = values
    return tokens, topic, health, share


def _held(logs: list[float]) -> list[float]:
    """Take out what all have in common, which normalising takes out anyway, and keep each within its bounds."""
    middle = sum(logs) / len(logs)
    return [_within(log - middle, math.log(FACTOR)) for log in logs]


def _within(value: float, most: float) -> float:
    return max(-most, min(most, value))


def latency_reward(latency_s: float, target_s: float) -> float:
    """Give 1 for an answer within its target, and less the longer it took: half for twice the target."""
    return 1.0 if latency_s <= target_s else target_s / latency_s
