"""Who goes to the strong model: a threshold from one's own traffic, and a controller that keeps to a share; pure values.

A threshold that was right for the training prompts sends anything between a quarter and two thirds of other traffic to the strong
model (measured on unseen subjects of MMLU). So it is the quantile of the scores seen last, and an integrator corrects what the
quantile misses while traffic drifts. What counts is what ran: a verdict is booked at once, so that a burst is held too, and is set
right (`settled`) when it is known which tier answered; what nobody judged, a pin say, is booked when it has run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

WINDOW = 512
"""Scores that are remembered: a share of 10 % then rests on some 50 of them."""

WARM_UP = 64
"""Below so many scores of its own traffic the training prompts' quantiles still weigh in."""

GAIN = 0.02
"""How far one decision moves the quantile per unit of error: a lasting error of 0.1 is made up for in some 100 decisions."""

MOST_DEBT = 25.0
"""Strong calls that may be owed or saved up: a burst of hard prompts is allowed, an endless one not. What is pinned beyond that is
not made up for: others would pay for it without end."""

EXPLORATION = 0.03
"""Out of the domain, the share of prompts that go to the tier that the rules would not have asked; 2 to 5 % are sensible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A wished share of strong calls, and what has happened. `scores` are the last ones, in the order of arrival.

    `debt` is the sum of (share wished - share had) over decisions, bounded by `MOST_DEBT`: positive when calls were saved.
    `scores` are those of judged prompts in the domain; `decisions` and `strong` count every job.
    """

    share: float
    prior: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    debt: float = 0.0
    decisions: int = 0
    strong: int = 0

    @property
    def realised(self) -> float:
        """The share of strong calls so far."""
        return self.strong / self.decisions if self.decisions else 0.0

    def threshold(self) -> float:
        """Give the score above which a prompt goes to the strong model now; minus or plus infinity at the ends."""
        aim = self.share + GAIN * self.debt
        if self.share <= 0 or aim <= 0:
            return math.inf
        if self.share >= 1 or aim >= 1:
            return -math.inf
        own = _quantile(self.scores, 1 - aim)
        known = len(self.scores)
        if known >= WARM_UP or not self.prior:
            return own if known else -math.inf
        # A weighted step from the training prompts' threshold to that of one's own traffic.
        before = _quantile(self.prior, 1 - aim)
        return before if not known else before + (own - before) * known / WARM_UP

    def decide(self, score: float) -> tuple[bool, Budget]:
        """Say whether a prompt goes to the strong model, and give the budget after it."""
        strong = score > self.threshold()
        return strong, self.after(score, strong=strong)

    def after(self, score: float | None, *, strong: bool) -> Budget:
        """Give the budget after a decision, also one that was taken elsewhere: by rules, a pin, an outage. None: nobody judged
        it, or the score was a guess."""
        return replace(
            self,
            scores=self.scores if score is None else (*self.scores, score)[-WINDOW:],
            debt=_bounded(self.debt + self.share - strong),
            decisions=self.decisions + 1,
            strong=self.strong + strong,
        )

    def settled(self, *, booked: bool, ran: bool | None) -> Budget:
        """Give the budget when it is known what ran of a decision that was booked: the other tier after all, or nothing (None)."""
        if ran is None:
            return replace(
                self,
                debt=_bounded(self.debt - self.share + booked),
                decisions=self.decisions - 1,
                strong=self.strong - booked,
            )
        return replace(self, debt=_bounded(self.debt + booked - ran), strong=self.strong - booked + ran)

    def affords(self, *, strong: bool) -> bool:
        """Tell whether a call that no score justifies is within the budget: strong ones until half of what may be owed is, so that
        pins and full tiers are made up for, and weak ones unless all are to be strong."""
        if strong:
            return self.share > 0.0 and self.debt + self.share - 1.0 >= -MOST_DEBT / 2
        return self.share < 1.0


def _bounded(debt: float) -> float:
    return min(MOST_DEBT, max(-MOST_DEBT, debt))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do with a prompt: whom to ask, and why. `explore` tells that it is the answer that would else not
    be had."""

    strong: bool
    explore: bool
    reason: str


def verdict(
    score: float,
    *,
    in_domain: bool,
    fallback_strong: bool,
    budget: Budget,
    chance: float,
    exploration: float = EXPLORATION,
) -> tuple[Verdict, Budget]:
    """Decide one prompt, and give the budget after it. `chance` is a random number in [0, 1) that the caller draws.

    1. In the domain the score decides. 2. Out of it the rules do (`fallback_strong`), 3. but now and then the other tier is tried,
    4. and neither gets more than the budget has.
    """
    if in_domain:  # 1
        threshold = budget.threshold()
        strong = score > threshold
        reason = f"predicted gain {score:+.2f} {'over' if strong else 'not over'} {threshold:+.2f}"
        return Verdict(strong=strong, explore=False, reason=reason), budget.after(score, strong=strong)
    explore = chance < exploration and budget.affords(strong=not fallback_strong)
    strong = fallback_strong != explore
    reason = f"unlike all labelled prompts: {'explored' if explore else 'the rules decide'}"  # 3, 2
    if not budget.affords(strong=strong):  # 4
        strong, reason = not strong, "unlike all labelled prompts: the rules decide, and the budget is spent"
    return Verdict(strong=strong, explore=explore, reason=reason), budget.after(None, strong=strong)


def _quantile(values: tuple[float, ...], part: float) -> float:
    """Give a quantile, between the two nearest values in proportion."""
    if not values:
        return 0.0
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
