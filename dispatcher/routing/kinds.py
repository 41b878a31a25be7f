"""What kind of question it is, and the strength that it deserves: rules, for where nothing was trained."""

from __future__ import annotations

from dispatcher.routing.features import Features

DEMAND = {"chat": 0.25, "writing": 0.4, "knowledge": 0.45, "code": 0.6, "reasoning": 0.7}
"""A judgement: small talk is well served by 1 B, code and reasoning want 8 B and more (`strength` of a model)."""

UNKNOWN_KIND = "knowledge"
LEAST_SIMILARITY = 0.15
HARD_SHARE = 0.3
"""How far the complexity moves the demand up or down from that of the kind."""


def kind_of(wanted: Features) -> str:
    """Name the kind of question: the topic that it resembles most, `knowledge` when it resembles none."""
    known = {topic: wanted.topics.get(topic, 0.0) for topic in DEMAND}
    best = max(known, key=lambda topic: known[topic])
    return best if known[best] >= LEAST_SIMILARITY else UNKNOWN_KIND


def demand_of(wanted: Features) -> float:
    """Give the strength that the question deserves, in [0, 1]."""
    moved = DEMAND[kind_of(wanted)] + HARD_SHARE * (2.0 * wanted.complexity - 0.5)
    return min(1.0, max(0.0, moved))
