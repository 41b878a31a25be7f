"""By rules on what kind of question it is (requirement A2): each kind deserves a strength, and the least that suffices is taken."""

from __future__ import annotations

from dispatcher.routing.kinds import demand_of
from dispatcher.routing.strategies.seam import Scene, Scores
from dispatcher.routing.strategies.tiers import suits

FIT_SHARE = 0.7


def heuristic(scene: Scene) -> Scores:
    """Score by how well a model's strength suits the kind of question, then by health."""
    suited = suits(scene.options.strength, demand_of(scene.ask.wanted))
    return Scores(FIT_SHARE * suited + (1.0 - FIT_SHARE) * scene.terms.health, details={"suits": suited})
