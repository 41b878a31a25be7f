"""By a small model's own judgement of the question (requirement E5): how hard it is decides the strength that it deserves."""

from __future__ import annotations

from dispatcher.routing.strategies.heuristic import FIT_SHARE, heuristic
from dispatcher.routing.strategies.seam import Scene, Scores
from dispatcher.routing.strategies.tiers import suits


def llm(scene: Scene) -> Scores:
    """Score by how well a model's strength suits the difficulty that the classifier gave; without its word by the rules."""
    if scene.ask.difficulty is None:
        return heuristic(scene)
    suited = suits(scene.options.strength, scene.ask.difficulty)
    return Scores(FIT_SHARE * suited + (1.0 - FIT_SHARE) * scene.terms.health, details={"suits": suited})
