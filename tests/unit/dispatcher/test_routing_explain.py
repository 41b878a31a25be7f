"""Explain: all that a decision is made from is told, and what it says would change the outcome does."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from common import codec
from dispatcher.fleet import Liveness, Track
from dispatcher.routing import RoutingPolicy, decide, explain
from dispatcher.routing.strategies import STRATEGIES
from tests.unit.dispatcher.builders import ask, device, fleet, model

HOUSE = fleet(
    device("nano", topics=("chat",)),
    device("orin", model("llama3.1:8b", parameters_b=8.0, loaded=False), topics=("code",)),
    device("pi5", liveness=Liveness.DEAD),
)


def test_everything_is_told() -> None:
    """Every device is there with its terms, its parts of the score and its predictions, or with the filter that took it out."""
    told = explain(ask(), HOUSE, RoutingPolicy())
    first = told["options"][0]

    assert {"nano", "orin"} == {one["device"] for one in told["options"]}
    assert [("pi5", "health", "it is dead")] == [
        (out["device"], out["filter"], out["reason"]) for out in told["removed"]
    ]
    assert pytest.approx(first["score"], abs=2e-4) == sum(first["parts"].values())
    assert set(STRATEGIES) == set(told["strategies"])
    assert {"wait_s", "load_s", "first_token_s", "total_s", "energy_j", "cost_usd"} == set(first["predicted"])
    assert told == codec.decode(codec.encode(told))


def test_where_nobody_can_the_error_is_told() -> None:
    """A question that nobody could answer gets the error that a job would get."""
    told = explain(ask("none:1b"), HOUSE, RoutingPolicy())

    assert ("unknown_model", []) == (told["error"]["code"], told["options"])


@given(st.floats(0, 0.9), st.floats(0, 1), st.floats(0.05, 1), st.floats(0.05, 1), st.floats(0.05, 1))
def test_other_weights_change_what_they_are_said_to_change(
    errors: float, similarity: float, tokens: float, topic: float, health: float
) -> None:
    """Just above the weight that is named the rival leads, and just below it does not."""
    house = fleet(device("nano", track=Track(error_rate=errors)), device("orin", topics=("code",)))
    policy = RoutingPolicy(tokens=tokens, topic=topic, health=health)
    question = ask(topics={"code": similarity})
    said = re.compile(r"(\w+) would lead with a (\w+) weight above ([\d.]+)")
    found = [match for words in explain(question, house, policy)["changes"] if (match := said.match(words))]
    assume(found)
    rival, name, share = found[0].group(1), found[0].group(2), float(found[0].group(3))
    assume(0.02 < share < 0.97)  # the words have two digits

    def leader(at: float) -> str:
        normal = policy.normalised()
        rest = {other: weight / (1.0 - normal[name]) * (1.0 - at) for other, weight in normal.items() if other != name}
        return decide(question, house, RoutingPolicy(**rest, **{name: at}), {}).candidates[0].device

    assert rival == leader(share + 0.011)
    assert rival != leader(share - 0.011)


def test_a_full_first_choice_is_thought_through() -> None:
    """The words on a full device name the one that a decision would then choose."""
    two = fleet(device("a"), device("b", track=Track(error_rate=0.1)))
    full = fleet(device("a", own=1), device("b", track=Track(error_rate=0.1)))

    assert "b would be chosen with one job more for each slot of a" in explain(ask(), two, RoutingPolicy())["changes"]
    assert "b" == decide(ask(), full, RoutingPolicy(), {}).candidates[0].device


def test_a_large_fleet_is_told_in_part() -> None:
    """Of a thousand devices the best hundred are told, and how many there are."""
    told = explain(ask(), fleet(*[device(f"d{number:04}") for number in range(1000)]), RoutingPolicy())

    assert (100, 1000) == (len(told["options"]), told["options_in_all"])


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_can_be_explained(strategy: str) -> None:
    """Whatever the strategy, there is a choice, and words for it."""
    told = explain(replace(ask(), strategy=strategy), HOUSE, RoutingPolicy())

    assert (strategy, True) == (told["strategy"], bool(told["changes"]))
    assert strategy in told["chosen"]["reason"]
