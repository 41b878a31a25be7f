"""What trained routers say, as routing takes it: a verdict for two tiers, a forecast for several models; and what is told of both.

Pure: budgets come in and go out as values. The share of strong calls that is told is the one before the question, which is the
same whether it is only explained or run. It knows neither jobs nor files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dispatcher.fleet import canonical
from dispatcher.routing import Forecast, Verdict
from dispatcher.routing.budget import Budget, verdict
from dispatcher.routing.budget import Verdict as Spent
from dispatcher.routing.multi import MultiRouter, Predicted, advantage
from dispatcher.routing.trained import Gain, Neighbour

MOST_HEAD = 60
"""Characters of a labelled prompt that an explanation shows, where the owner lets it."""

DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the owner wants: whether explanations may show how labelled prompts begin, and how sure a choice among several models
    must be (None: as training found)."""

    heads: bool = False
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a judgement depends on besides the prompt's figures: what the rules would do, a random number in [0, 1), and what the
    owner wants."""

    demanding: bool
    chance: float
    wishes: Wishes


def tiers_verdict(gain: Gain, budget: Budget, terms: Terms) -> tuple[Verdict, Budget]:
    """Say which tier comes first, and give the budget after it."""
    said, after = _spent(gain.score, budget, terms, in_domain=gain.in_domain)
    told = {
        "gain": round(gain.score, DIGITS),
        "ridge": round(gain.ridge, DIGITS),
        "kernel": round(gain.kernel, DIGITS),
        "knn": round(gain.knn, DIGITS),
        "similarity": round(gain.similarity, DIGITS),
        "in_domain": gain.in_domain,
        "explored": said.explore,
        "strong_share": round(budget.realised, DIGITS),
        "neighbours": neighbours(gain.neighbours, heads=terms.wishes.heads),
    }
    return Verdict(gain=gain.score, strong=said.strong, reason=said.reason, told=told), after


def models_forecast(
    multi: MultiRouter,
    predicted: Predicted,
    at_hand: Iterable[str],
    budget: Budget,
    terms: Terms,
) -> tuple[Forecast, Budget]:
    """Say what each model gains, and whether the budget lets the job go to a strong one.

    `at_hand` are the full names of the fleet's models. Where it has none of the strong ones, or none but those, there is nothing to
    save, and nothing is booked.
    """
    gains = {canonical(model): gain for model, gain in predicted.gains.items()}
    base, strong, there = canonical(multi.base), frozenset(map(canonical, multi.strong)), set(at_hand)
    ahead = advantage({model: gain for model, gain in gains.items() if model in there}, strong)
    held, after, explored, booked = "", budget, False, None
    if ahead is not None:
        said, after = _spent(ahead, budget, terms, in_domain=predicted.in_domain)
        explored, booked = said.explore, said.strong
        held = "" if said.strong else f"{said.reason}: no strong model"
    place, wished = predicted.place, terms.wishes.confidence
    told = {
        "domain": place.domain,
        "similarity": round(place.similarity, DIGITS),
        "complexity": round(place.complexity, DIGITS),
        "level": place.level,
        "in_domain": predicted.in_domain,
        "base": base,
        "strong": booked,
        "strong_share": round(budget.realised, DIGITS),
        "neighbours": neighbours(predicted.neighbours, heads=terms.wishes.heads),
    }
    return Forecast(
        base=base,
        gains=gains,
        strong=strong,
        temperature=multi.temperature,
        least_confidence=multi.least_confidence if wished is None else wished,
        in_domain=predicted.in_domain,
        explored=explored,
        held=held,
        told=told,
    ), after


def _spent(score: float, budget: Budget, terms: Terms, *, in_domain: bool) -> tuple[Spent, Budget]:
    return verdict(score, in_domain=in_domain, fallback_strong=terms.demanding, budget=budget, chance=terms.chance)


def neighbours(found: Sequence[Neighbour], *, heads: bool) -> list[dict[str, Any]]:
    """Tell the labelled prompts that were looked at; how they begin is told only where the owner lets it."""
    return [
        {"similarity": round(one.similarity, 3), "gain": round(one.gain, 3)}
        | ({"prompt": one.head[:MOST_HEAD]} if heads and one.head else {})
        for one in found
    ]
