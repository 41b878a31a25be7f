"""One device and one model as routing judges them, for tests of predictions and terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.messages import ModelInfo
from dispatcher.fleet import Device, canonical
from dispatcher.routing.features import Features
from dispatcher.routing.figures import OPTIONS, Options
from dispatcher.routing.predict import predict
from dispatcher.routing.table import Table
from dispatcher.routing.terms import terms
from tests.unit.dispatcher.builders import fleet, wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The prediction and the three terms."""

    wait_s: float
    load_s: float
    prefill_s: float
    decode_s: float
    first_token_s: float
    total_s: float
    energy_j: float
    tokens: float
    topic: float
    health: float
    steady: float


def judged(one: Device, question: Features | None = None, *, of: ModelInfo | None = None) -> Judged:
    """Judge a device with one of its models: with `of`, or the first."""
    asked = question or wanted()
    view = Table().view(fleet(one))
    name = canonical(of.name) if of else next(iter(one.models))
    rows = view.layout.by_model[name]
    options = Options(*view.state[:, rows], *view.figures[:OPTIONS, rows])
    with np.errstate(all="ignore"):  # as `decide` does: strangers' figures may be anything
        predicted = predict(options, asked)
        parts = terms(options, asked, predicted, view.layout.topics.taken(rows))
        columns = {
            "wait_s": predicted.wait_s,
            "load_s": predicted.load_s,
            "prefill_s": predicted.prefill_s,
            "decode_s": predicted.decode_s,
            "first_token_s": predicted.first_token_s,
            "total_s": predicted.total_s,
            "energy_j": predicted.energy_j,
            "tokens": parts.tokens,
            "topic": parts.topic,
            "health": parts.health,
            "steady": options.steady,
        }
    return Judged(**{field: float(column[0]) for field, column in columns.items()})
