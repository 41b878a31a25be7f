"""What a strategy sees and gives; it knows no strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dispatcher.routing.ask import Ask, RoutingPolicy
from dispatcher.routing.figures import Numbers, Options, Rows
from dispatcher.routing.predict import Prediction
from dispatcher.routing.table import View
from dispatcher.routing.terms import TermColumns


@dataclass(slots=True)
class Scene:
    """Everything that a choice is made from: the request, what is known, and a column of each figure, one row for each model on a
    device that passed the filters."""

    ask: Ask
    policy: RoutingPolicy
    view: View
    kept: Rows
    options: Options
    predicted: Prediction
    terms: TermColumns

    @property
    def device_of(self) -> Rows:
        """Give the number of each row's device, in the order of their names."""
        return self.view.layout.device_of[self.kept]

    @property
    def models(self) -> list[str]:
        """Give the full name of each row's model."""
        rows = self.view.rows
        return [rows[number].name for number in self.kept.tolist()]


@dataclass(slots=True)
class Scores:
    """A score for each row, the higher the better, in [0, 1] unless a strategy says otherwise; equals go by price, then by name.
    `weights` and `details` are told to whoever asks why. `local_first` lets remote models come behind all others for questions that
    do not deserve them; a strategy that deals out devices itself turns it off, and one that knows better than the rules says in
    `deserves_cloud` which. `rule` names in words what decides where that is more than a score; `told` joins the features."""

    values: Numbers
    weights: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Numbers] = field(default_factory=dict)
    local_first: bool = True
    deserves_cloud: bool | None = None
    rule: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)


Strategy = Callable[[Scene], Scores]
"""Scores all rows at once. Pure: chance comes from `ask.seed`, sequence from `ask.turn`."""
