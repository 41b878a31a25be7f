"""Routing: which device and which model answer, and why. Pure: no clock, no I/O, no logging.

`decide` is the whole door: features of the request → filters → predictions and terms → a strategy's scores → an ordered list.
"""

from dispatcher.briefs import unfold
from dispatcher.routing.ask import Ask, Cloud, Forecast, RoutingPolicy, Verdict
from dispatcher.routing.decide import decide, require_strategy
from dispatcher.routing.explain import explain, record
from dispatcher.routing.features import Features, features, features_of_texts
from dispatcher.routing.refusal import nobody, unnamed
from dispatcher.routing.table import Table
from dispatcher.routing.warmth import Warmth

__all__ = [
    "Ask",
    "Cloud",
    "Features",
    "Forecast",
    "RoutingPolicy",
    "Table",
    "Verdict",
    "Warmth",
    "decide",
    "explain",
    "features",
    "features_of_texts",
    "nobody",
    "record",
    "require_strategy",
    "unfold",
    "unnamed",
]
