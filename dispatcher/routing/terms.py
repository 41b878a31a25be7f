"""The terms of the hybrid score, each a pure function into [0, 1] over columns; how they are weighed is a strategy's affair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dispatcher.routing.features import Features
from dispatcher.routing.figures import Numbers, Options, Rows
from dispatcher.routing.kinds import demand_of
from dispatcher.routing.predict import Prediction

HALF_TOTAL_S = 20.0
"""An answer that takes this long counts half; people give up on chat after some tens of seconds."""

HALF_FIRST_TOKEN_S = 4.0
"""Likewise for the first token."""

NEUTRAL_TOPIC = 0.5
"""For a device that names no topics: neither drawn nor pushed away."""


@dataclass(slots=True)
class TermColumns:
    """The three terms for each row, shape (rows,)."""

    tokens: Numbers
    topic: Numbers
    health: Numbers


@dataclass(slots=True)
class TopicGroups:
    """What devices are meant for: the sets of topics that there are, and of which set each row is."""

    sets: Sequence[tuple[str, ...]]
    of_row: Rows

    @classmethod
    def of(cls, meant: Sequence[Sequence[str]], rows: Rows) -> TopicGroups:
        """Group devices by the topics that each is `meant` for; `rows` is how many rows it has."""
        numbers: dict[tuple[str, ...], int] = {}
        groups = [numbers.setdefault(tuple(topics), len(numbers)) for topics in meant]
        return cls(list(numbers), np.repeat(np.array(groups, dtype=np.intp), rows))

    @property
    def named(self) -> bool:
        """True when any device names topics."""
        return any(self.sets)

    def taken(self, rows: Rows) -> TopicGroups:
        """Give those of some rows."""
        return TopicGroups(self.sets, self.of_row[rows])


def terms(options: Options, wanted: Features, predicted: Prediction, topics: TopicGroups) -> TermColumns:
    """Give the three terms for each row. `topics` tells what the device of each row is meant for."""
    return TermColumns(
        tokens=capability_fit(options, wanted, predicted),
        topic=topic_fit(len(options), wanted, topics),
        health=health(options, predicted),
    )


def capability_fit(options: Options, wanted: Features, predicted: Prediction) -> Numbers:
    """C_tokens: how well the request's size and complexity fit what this device can do with this model.

    The mean of two halves: `1 - max(0, demand - strength)`, so that a model weaker than the question deserves loses, by its
    kind and complexity (`kinds.demand_of`); and `T / (T + predicted total)`, so that a device on which these tokens take long
    loses.
    """
    strong_enough = np.minimum(1.0, 1.0 - demand_of(wanted) + options.strength)
    fast_enough = HALF_TOTAL_S / (HALF_TOTAL_S + predicted.total_s)
    fit: Numbers = (strong_enough + fast_enough) / 2
    return fit


def topic_fit(rows: int, wanted: Features, topics: TopicGroups) -> Numbers:
    """Sim_centroid: similarity of the question to the nearest of the topics that the device is for."""
    near = [_nearest(meant, wanted.topics) for meant in topics.sets]
    if len(near) < 2:
        return np.full(rows, near[0] if near else NEUTRAL_TOPIC)
    return np.array(near)[topics.of_row]


def _nearest(meant: tuple[str, ...], similarities: Mapping[str, float]) -> float:
    """Give the similarity to the nearest of the topics; those that the question was not compared with say nothing."""
    known = [similarities[topic] for topic in meant if topic in similarities]
    return max(known) if known else NEUTRAL_TOPIC


def health(options: Options, predicted: Prediction) -> Numbers:
    """H_latency: `(1 - error rate) x coolness x mean(latency, room)`.

    Latency is `T / (T + first token)`, the first token as predicted or as seen, whichever is later, behind the load; what was seen
    is less where the beginning of the prompt is read already, by what that saves, and that is all that a warm device gains. Room is
    `1 / (1 + jobs per slot)`; coolness falls from 1 at 70 degrees C to 0 at 90, and with throttling by its
    reason (`strain`).
    """
    saved_s, seen_s = predicted.saved_s, options.seen_first_token_s
    if saved_s is not None:
        seen_s = seen_s - saved_s
    first_token_s = predicted.load_s + np.maximum(predicted.wait_s + predicted.prefill_s, seen_s)
    latency = HALF_FIRST_TOKEN_S / (HALF_FIRST_TOKEN_S + first_token_s)
    healthy: Numbers = options.steady * (latency + options.room) / 2
    return healthy
