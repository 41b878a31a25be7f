"""Routing: which device and which model answer, and why. Pure: no clock, no I/O, no logging.

`decide` is the whole door: features of the request → filters → terms → score → an ordered list of candidates.
"""

from dispatcher.routing.decide import Ask, RoutingPolicy, decide, nobody
from dispatcher.routing.features import Features, features

__all__ = ["Ask", "Features", "RoutingPolicy", "decide", "features", "nobody"]
