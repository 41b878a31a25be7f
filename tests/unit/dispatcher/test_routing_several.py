"""`learned` with a router of several models: who comes first, what is told of it, and when it leaves the word to others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common import codec
from dispatcher.outcomes import Decision
from dispatcher.routing import Cloud, Forecast, RoutingPolicy, decide
from tests.unit.dispatcher.builders import ask, device, fleet, model

SMALL, MIDDLE, LARGE, OTHER = (
    model(name, parameters_b=billions)
    for name, billions in (("small:1b", 1.0), ("middle:8b", 8.0), ("large:70b", 70.0), ("other:3b", 3.0))
)
HOUSE = fleet(device("pi", SMALL), device("nano", MIDDLE), device("orin", LARGE))
GAINS = {"small:1b": 0.0, "middle:8b": 0.3, "large:70b": 0.5}


def forecast(**fields: Any) -> Forecast:
    usual: dict[str, Any] = {
        "base": "small:1b",
        "gains": GAINS,
        "strong": frozenset({"large:70b"}),
        "temperature": 0.1,
        "told": {"domain": "sums", "similarity": 0.7, "level": "hard", "complexity": 0.6},
    }
    return Forecast(**usual | fields)


def decided(said: Forecast, house: Any = HOUSE, policy: RoutingPolicy | None = None, seed: int = 0) -> Decision:
    question = replace(ask(), strategy="learned", forecast=said, seed=seed)
    return decide(question, house, policy or RoutingPolicy(), {})


def order(decision: Decision) -> list[str]:
    return [one.model for one in decision.candidates]


def test_models_come_by_their_probability() -> None:
    """e^0 : e^-2 : e^-5 are 0.876, 0.119 and 0.006, and 1 / (1 + e^-5) is 0.993; the record has them, and the way there."""
    decision = decided(forecast())
    told = decision.features["choice"]

    assert ["large:70b", "middle:8b", "small:1b"] == order(decision)
    assert ("large:70b", 0.9933, "trained router") == (told["model"], told["confidence"], told["by"])
    assert {"large:70b": 0.8756, "middle:8b": 0.1185, "small:1b": 0.0059} == told["probabilities"]
    assert ("sums", "hard") == (told["domain"], told["level"])


def test_what_the_budget_holds_back_goes_to_no_strong_model() -> None:
    """The best of the others comes first, the strong one last: it still answers when nobody else can."""
    decision = decided(forecast(held="over the budget"))

    assert ["middle:8b", "small:1b", "large:70b"] == order(decision)
    assert "over the budget" == decision.features["choice"]["reason"]


def test_a_budget_holds_nothing_back_where_all_are_strong() -> None:
    """There is nothing to save with."""
    decision = decided(forecast(held="over the budget", strong=frozenset(GAINS)))

    assert "large:70b" == order(decision)[0]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"least_confidence": 1.0}, "confidence 0.99 below 1.00: the rules decide"),
        ({"in_domain": False}, "unlike all labelled prompts: the rules decide"),
        ({"gains": {"absent:1b": 0.0, "gone:2b": 0.5}}, "the trained router knows none of the models at hand"),
    ],
)
def test_where_it_does_not_know_the_rules_decide(fields: dict[str, Any], reason: str) -> None:
    """In the order of `heuristic`, and the record says why."""
    decision = decided(forecast(**fields))
    rules = decide(replace(ask(), strategy="heuristic"), HOUSE, RoutingPolicy(), {})

    assert (order(rules), "rules", reason) == (
        order(decision),
        decision.features["choice"]["by"],
        decision.features["choice"]["reason"],
    )


def test_models_that_it_does_not_know_come_behind_those_that_it_knows() -> None:
    """And those that it knows and the fleet lacks are told: probabilities are among the models at hand."""
    house = fleet(device("a", OTHER), device("b", SMALL), device("c", MIDDLE))
    decision = decided(forecast(), house)
    told = decision.features["choice"]

    assert ["middle:8b", "small:1b", "other:3b"] == order(decision)
    assert (["large:70b"], ["other:3b"]) == (told["not_at_hand"], told["not_known"])
    assert pytest.approx(1.0, abs=1e-3) == sum(told["probabilities"].values())


def test_one_known_model_needs_no_confidence() -> None:
    """There is nothing to be unsure about."""
    decision = decided(forecast(least_confidence=1.0), fleet(device("a", OTHER), device("c", MIDDLE)))

    assert (["middle:8b", "other:3b"], 1.0) == (order(decision), decision.features["choice"]["confidence"])


def test_exploring_draws_lots_and_is_told() -> None:
    """Every model comes first for some job, and the record marks each so that its answer can be labelled."""
    decisions = [decided(forecast(explored=True, in_domain=False), seed=seed) for seed in range(20)]

    assert GAINS.keys() == {order(one)[0] for one in decisions}
    assert all(one.features["choice"]["explored"] for one in decisions)


@pytest.mark.parametrize(("gain", "first"), [(0.5, "large:70b"), (-0.5, "small:1b")])
def test_a_model_that_runs_elsewhere_comes_first_when_it_is_the_choice(gain: float, first: str) -> None:
    """The trained router says what deserves the cloud, whatever the rules would; else local models come first."""
    house = fleet(device("pi", SMALL), device("nano", OTHER), device("cloud", LARGE, remote=True))
    decision = decided(forecast(gains={"small:1b": 0.0, "large:70b": gain}), house)

    assert (first, first == "large:70b") == (order(decision)[0], order(decision)[-1] != "large:70b")


def test_a_closed_cloud_stays_closed() -> None:
    """The choice is among what is left."""
    house = fleet(device("pi", SMALL), device("nano", MIDDLE), device("cloud", LARGE, remote=True))
    decision = decided(forecast(), house, RoutingPolicy(cloud=Cloud.NEVER))

    assert ["middle:8b", "small:1b"] == order(decision)


def test_devices_of_one_model_stand_together() -> None:
    """No device of a less likely model comes before one of the likelier, however healthy it is."""
    house = fleet(*(device(f"d{number}", (SMALL, MIDDLE, LARGE)[number % 3], own=number // 3) for number in range(12)))
    found = order(decided(forecast(), house))

    assert ["large:70b"] * 4 + ["middle:8b"] * 4 + ["small:1b"] * 4 == found


def test_the_record_of_a_choice_is_bounded() -> None:
    """Sixteen models with long names stay within the 8 KiB of a brief."""
    names = [f"{'m' * 150}{number:02}:x" for number in range(16)]
    house = fleet(
        *(device(f"{'d' * 60}{number:02}", *map(model, names), model("ä" * 200 + str(number))) for number in range(10)),
        *(device(f"{'x' * 60}{number:02}", state="faulty", reason="ä" * 2000) for number in range(10)),
    )
    said = forecast(gains={name: number / 16 for number, name in enumerate(names)}, temperature=1.0, told={
        "domain": "ä" * 500, "neighbours": [{"prompt": "secret"}] * 5,
    })  # fmt: skip
    brief = decided(said, house).brief()

    assert len(codec.encode(dict(brief))) <= 8192
    assert "secret" not in repr(brief)
