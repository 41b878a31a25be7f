"""Explain: all that a decision is made from is told, and what it says would change the outcome does."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from common import codec
from dispatcher.fleet import Fleet, Liveness, Track
from dispatcher.routing import Ask, Cloud, Forecast, RoutingPolicy, Verdict, decide, explain
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
    """With the weight that is named the rival leads, and three hundredths below it does not."""
    house = fleet(device("nano", track=Track(error_rate=errors)), device("orin", topics=("code",)))
    policy = RoutingPolicy(tokens=tokens, topic=topic, health=health)
    question = ask(topics={"code": similarity})
    said = re.compile(r"(\w+) would lead with a (\w+) weight of ([\d.]+)")
    found = [match for words in explain(question, house, policy)["changes"] if (match := said.match(words))]
    assume(found)
    rival, name, share = found[0].group(1), found[0].group(2), float(found[0].group(3))
    assume(0.03 < share - policy.normalised()[name])  # the words have two digits

    def leader(at: float) -> str:
        normal = policy.normalised()
        rest = {other: weight / (1.0 - normal[name]) * (1.0 - at) for other, weight in normal.items() if other != name}
        return decide(question, house, RoutingPolicy(**rest, **{name: at}), {}).candidates[0].device

    assert rival == leader(share)
    assert rival != leader(share - 0.03)


SAID = {
    "leads": re.compile(r"(?P<first>\w+) leads (?P<rival>\w+) by (?P<lead>[\d.]+)"),
    "weight": re.compile(r"(?P<rival>\w+) would lead with a (?P<name>\w+) weight of (?P<share>[\d.]+) \(now [\d.]+\)"),
    "full": re.compile(r"(?P<rival>\w+) would be chosen with one job more for each slot of (?P<first>\w+)"),
    "waits": re.compile(
        r"the job would wait with one job more for each slot of (?P<first>\w+): nobody else has a free one"
    ),
    "decides": re.compile(r"what decides: .+"),
    "behind": re.compile(
        r"(?P<first>\w+) comes before (?P<rival>\w+), which has a score higher by (?P<lead>[\d.]+): (?P<why>.+)"
    ),
    "alike": re.compile(r"(?P<first>\w+) and (?P<rival>\w+) have the same score"),
}


def borne_out(words: str, question: Ask, house: Fleet, policy: RoutingPolicy) -> bool:
    """Tell whether deciding again bears a sentence out."""
    kind, said = next((kind, match) for kind, form in SAID.items() if (match := form.fullmatch(words)))
    order = decide(question, house, policy, {}).candidates
    first, rival = order[0], next(one for one in order if one.device != order[0].device)
    found = said.groupdict()
    match kind:
        case "leads":
            named = (found["first"], found["rival"]) == (first.device, rival.device)
            return (
                named
                and float(found["lead"]) == pytest.approx(first.score - rival.score, abs=1e-4)
                and float(found["lead"]) > 0
            )
        case "weight":
            normal, share = policy.normalised(), float(found["share"])
            rest = {
                name: weight / (1.0 - normal[found["name"]]) for name, weight in normal.items() if name != found["name"]
            }
            new = replace(
                policy, **{name: weight * (1.0 - share) for name, weight in rest.items()}, **{found["name"]: share}
            )
            return decide(question, house, new, {}).candidates[0].device == found["rival"] != first.device
        case "full" | "waits":
            loaded = replace(house.devices[first.device], own=house.devices[first.device].own + 1)
            after = Fleet({**house.devices, first.device: loaded})
            free = [
                one.device
                for one in decide(question, after, policy, {}).candidates
                if after.devices[one.device].free_slots
            ]
            return free[:1] == ([found["rival"]] if kind == "full" else []) and found["first"] == first.device
        case "behind":
            return rival.score > first.score and found["rival"] == rival.device and first.remote != rival.remote
        case "alike":
            return first.score == pytest.approx(rival.score, abs=1e-4)
    return kind == "decides"


BIG = model("big:70b", parameters_b=70.0)
VERDICTS: dict[str, Any] = {
    "none": {},
    "strong": {"verdict": Verdict(gain=0.4, strong=True, reason="a gain")},
    "weak": {"verdict": Verdict(gain=-0.4, strong=False, reason="a loss")},
    "several": {
        "forecast": Forecast(
            base="llama3.2:1b",
            gains={"llama3.2:1b": 0.0, "big:70b": 0.3},
            strong=frozenset({"big:70b"}),
            temperature=0.1,
        )
    },
    "escalated": {"escalated": True},
}


@pytest.mark.parametrize("known", sorted(VERDICTS))
@pytest.mark.parametrize("cloud", list(Cloud))
@pytest.mark.parametrize("strategy", [*sorted(STRATEGIES), "energy:eco", "energy:fast", "token:5"])
def test_what_is_said_is_true_of_every_strategy(strategy: str, cloud: Cloud, known: str) -> None:
    """With local and remote devices, idle and busy ones: each sentence is borne out by deciding again."""
    policy = RoutingPolicy(cloud=cloud, workloads={"chat": {"pi": 80.0, "nano": 20.0}})
    for seed, (errors, complexity, busy) in enumerate([(0.0, 0.0, 0), (0.3, 0.9, 0), (0.6, 0.5, 1), (0.1, 0.2, 1)]):
        house = fleet(
            device("pi", track=Track(error_rate=errors), own=busy),
            device("nano", model("mid:8b", parameters_b=8.0), topics=("code",), busy_w=20.0, idle_w=5.0),
            device("cloud", BIG, remote=True, track=Track(error_rate=0.2)),
        )
        question = replace(
            ask(complexity=complexity, topics={"code": 0.4, "chat": 0.5}),
            strategy=strategy,
            seed=seed,
            turn=seed,
            **VERDICTS[known],
        )
        told = explain(question, house, policy)["changes"]

        assert told
        assert [] == [words for words in told if not borne_out(words, question, house, policy)]


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


def test_the_score_is_told_as_a_sum() -> None:
    """With the weights that hold; a strategy that weighs otherwise has no such formula."""
    hybrid = explain(ask(), HOUSE, RoutingPolicy(tokens=1.0, topic=0.0, health=3.0))
    other = explain(replace(ask(), strategy="least_loaded"), HOUSE, RoutingPolicy())

    assert "score = 0.25 * tokens + 0 * topic + 0.75 * health" == hybrid["formula"]
    assert "formula" not in other
