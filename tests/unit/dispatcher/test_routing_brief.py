"""A decision in short: the same figures as in the long form, and never more than 8 KiB, whatever devices say of themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import codec
from dispatcher.fleet import Liveness
from dispatcher.routing import RoutingPolicy, Verdict, decide, unfold
from dispatcher.routing.explain import record
from tests.unit.dispatcher.builders import ask, device, fleet, model

POLICY = RoutingPolicy()
MOST_BYTES = 8192


def test_in_long_form_it_is_what_was_decided() -> None:
    """Unfolded, every option has the scores, terms and predictions of the full record, and those who are out their reasons."""
    house = fleet(
        device("nano", topics=("chat",)),
        device("orin", model("big:8b", parameters_b=8.0, loaded=False), busy_w=20.0, idle_w=5.0, simulated=True),
        device("pi5", liveness=Liveness.DEAD),
    )
    decision = decide(ask(), house, POLICY, {})
    short, whole = unfold(decision.brief()), record(decision)
    same = ("device", "model", "score", "terms", "warm", "simulated", "predicted")

    assert [{name: one[name] for name in same} for one in whole["options"]] == [
        {name: one[name] for name in same} for one in short["options"]
    ]
    assert [one["parts"] for one in whole["options"]] == [
        {name: pytest.approx(value, abs=2e-4) for name, value in one["parts"].items()} for one in short["options"]
    ]
    assert (whole["removed"], whole["features"]) == (short["removed"], short["features"])


def test_nobody_is_told_too() -> None:
    """A decision without candidates has a brief as well, with the reasons."""
    decision = decide(ask("none:1b"), fleet(device("nano")), POLICY, {})
    told = unfold(decision.brief())

    assert (None, [], ["model"]) == (told["chosen"], told["options"], [one["filter"] for one in told["removed"]])


def test_labelled_prompts_stay_in_the_house() -> None:
    """What the trained router compared with is the owner's data: explain shows it, events do not."""
    told: dict[str, Any] = {"gain": 0.5, "neighbours": [{"prompt": "secret"}]}
    question = replace(ask(), strategy="learned", verdict=Verdict(gain=0.5, strong=True, reason="r", told=told))
    decision = decide(question, fleet(device("nano")), POLICY, {})

    assert ("secret" in repr(record(decision)), "secret" in repr(decision.brief())) == (True, False)
    assert decision.brief()["features"]["verdict"]["gain"] == 0.5


def test_a_large_fleet_is_told_in_numbers() -> None:
    """The best options, and how many are out for what."""
    house = fleet(
        *[device(f"d{number:03}") for number in range(60)],
        *[device(f"x{number:03}", liveness=Liveness.DEAD) for number in range(40)],
    )
    told = decide(ask(), house, POLICY, {}).brief()

    assert (8, 60, 40, {"health": 40}) == (
        len(told["options"]),
        told["options_in_all"],
        told["removed_in_all"],
        told["devices_out"],
    )


NAMES = st.text(min_size=1, max_size=200)


@given(st.lists(NAMES, min_size=1, max_size=12, unique=True), NAMES, st.sampled_from(["hybrid", "weighted", "token"]))
def test_it_is_bounded_in_bytes(names: list[str], words: str, strategy: str) -> None:
    """Model names of any letters, reasons of any length and hundreds of shares fit into 8 KiB."""
    devices = [
        device(f"{'d' * 60}{number:02}", *[model(name) for name in names], reason=words) for number in range(10)
    ] + [device(f"{'x' * 60}{number:02}", state="faulty", reason=words * 20) for number in range(10)]
    shares = {f"{'d' * 60}{number:02}": 1.0 for number in range(500)}
    policy = RoutingPolicy(workloads={"chat": shares})
    question = replace(ask(), strategy=strategy, workload="chat", lacks=words * 50, embedder=words)
    told = decide(question, fleet(*devices), policy, {}).brief()

    assert len(codec.encode(dict(told))) <= MOST_BYTES


def test_figures_that_nobody_knows_are_null() -> None:
    """What a remote device draws is not 0: it is not known."""
    house = fleet(device("cloud", remote=True))
    told = unfold(decide(ask(), house, POLICY, {}).brief())

    assert told["options"][0]["predicted"]["energy_j"] is None
