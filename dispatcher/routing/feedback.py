"""What people and clocks say of answers moves the weights of the hybrid score and the share of strong calls: pure values.

Each outcome compares the chosen candidate with the best other one. When it went better than usual, the terms by which the chosen
one led deserve more weight, and when it went worse, less: a policy gradient with a baseline (Williams 1992, REINFORCE), in the
logarithms of factors on the owner's weights. One change moves a factor by `STEP` at most, and no factor leaves `FACTOR`: the
owner's policy is leaned on, and never replaced. With nothing to learn from, factors drift back to 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from dispatcher.outcomes import Terms
from dispatcher.routing.ask import RoutingPolicy

TERMS = ("tokens", "topic", "health")

STEP = 0.05
"""The most that one change moves the logarithm of a factor: 5 %."""

FACTOR = 2.0
"""A weight lies between half and twice the owner's, before all are normalised again."""

RATE = 3.0
"""What an outcome of weight 1 moves per unit of (reward - usual) x (lead in a term). 0.5 learned a quarter as much after a shift
(`drover lab feedback`, tried on seeds 100 to 105), and above 4 single outcomes fill a step."""

BASELINE_RATE = 0.05
"""About the last twenty outcomes say what is usual."""

HOME_RATE = 0.005
"""How far a change lets factors drift back to the owner's: half of what no news confirms is gone after 140 changes."""

SHARE_STEP, SHARE_MOST = 0.01, 0.15
"""What one rating moves the share of strong calls, and how far it may get from the owner's."""

CONTENT = 0.25
"""A weak answer that is liked lowers the share by a quarter of what one that is not raises it: still where a fifth are disliked."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What was learned. `logs` are logarithms of the factors on the owner's weights, in the order of `TERMS`; `share` is added to
    the owner's share of strong calls. `pull` and `weight` wait for the next change."""

    logs: tuple[float, float, float] = (0.0, 0.0, 0.0)
    share: float = 0.0
    usual: float | None = None
    pull: tuple[float, float, float] = (0.0, 0.0, 0.0)
    share_pull: float = 0.0
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
    pull = learned.pull
    if outcome.rival is not None:
        strength = RATE * count * (reward - usual)
        leads = (getattr(outcome.chosen, name) - getattr(outcome.rival, name) for name in TERMS)
        tokens, topic, health = (old + strength * lead for old, lead in zip(pull, leads, strict=True))
        pull = tokens, topic, health
    return replace(
        learned,
        usual=usual + BASELINE_RATE * count * (reward - usual),
        pull=pull,
        share_pull=learned.share_pull + _share_pull(outcome, reward, count),
        weight=learned.weight + count,
        outcomes=learned.outcomes + 1,
    )


def _share_pull(outcome: Outcome, reward: float, count: float) -> float:
    """1. A weak answer that is disliked asks for more strong ones, and 2. one that is liked for somewhat fewer. What clocks say of
    either tier is no reason."""
    if outcome.strong is not False or outcome.source in {Source.LATENCY, Source.FAILURE}:
        return 0.0
    like = 2.0 * reward - 1.0
    return SHARE_STEP * count * (-like if like < 0.0 else -CONTENT * like)


def changed(learned: Learned) -> tuple[Learned, Change | None]:
    """Apply what has been heard since the last change, within the bounds; None when there was nothing."""
    if learned.weight <= 0.0:
        return learned, None
    logs = [log * (1.0 - HOME_RATE) + _within(pull, STEP) for log, pull in zip(learned.logs, learned.pull, strict=True)]
    tokens, topic, health = _held(logs)
    after = replace(
        learned,
        logs=(tokens, topic, health),
        share=_within(learned.share + _within(learned.share_pull, SHARE_STEP), SHARE_MOST),
        pull=(0.0, 0.0, 0.0),
        share_pull=0.0,
        weight=0.0,
    )
    return after, Change(before=learned, after=after)


def _held(logs: list[float]) -> list[float]:
    """Take out what all have in common, which normalising takes out anyway, and keep each within its bounds."""
    middle = sum(logs) / len(logs)
    return [_within(log - middle, math.log(FACTOR)) for log in logs]


def _within(value: float, most: float) -> float:
    return max(-most, min(most, value))


def latency_reward(latency_s: float, target_s: float) -> float:
    """Give 1 for an answer within its target, and less the longer it took: half for twice the target."""
    return 1.0 if latency_s <= target_s else target_s / latency_s
