"""Routing of texts that are to be embedded: which models may, and what is said where none can."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common.errors import FleetError, UnknownModel, UnsupportedByModel
from dispatcher.fleet import Fleet
from dispatcher.outcomes import Decision
from dispatcher.routing import Ask, RoutingPolicy, decide, features_of_texts, nobody, unnamed
from tests.unit.dispatcher.builders import ask, device, fleet, model

CHAT = model("talker:1b", capabilities=("completion", "tools"))
EMBED = model("embedder:latest", capabilities=("embedding",))
BOTH = model("both:1b", capabilities=("completion", "embedding"))
SILENT = model("silent:1b")


def house(**fields: Any) -> Fleet:
    return fleet(device("nano", CHAT, EMBED, BOTH, SILENT, **{"embeds": True} | fields))


def decided(name: str, where: Fleet | None = None, *, embeds: bool = True) -> tuple[Ask, Decision]:
    question = Ask(model=name, device=None, wanted=features_of_texts(["hi", "ho"])) if embeds else ask(name)
    return question, decide(question, where or house(), RoutingPolicy(), {})


def error(name: str, where: Fleet | None = None, *, embeds: bool = True) -> FleetError:
    return nobody(*decided(name, where, embeds=embeds), where or house())


@pytest.mark.parametrize("name", ["embedder:latest", "both:1b", "silent:1b"])
def test_a_model_embeds_that_says_so_or_says_nothing(name: str) -> None:
    """The device has the last word on one that does not say what it can do."""
    assert [name] == [one.model for one in decided(name)[1].candidates]


def test_a_model_that_only_chats_is_refused_with_those_that_would_do() -> None:
    """The producer is told what to ask for."""
    found = error("talker:1b")

    assert isinstance(found, UnsupportedByModel)
    assert found.message == ("talker:1b makes no embeddings: there is both:1b, embedder:latest, silent:1b")


def test_a_model_that_only_embeds_does_not_chat() -> None:
    """Named, it is refused with what would do; `auto` never chooses it."""
    found = error("embedder:latest", embeds=False)

    assert isinstance(found, UnsupportedByModel)
    assert "makes embeddings and does not chat: use `auto`, or one of both:1b, silent:1b, talker:1b" in found.message
    assert {"talker:1b", "both:1b", "silent:1b"} == {one.model for one in decided("auto", embeds=False)[1].candidates}


def test_an_agent_of_before_is_not_asked() -> None:
    """It would chat where it should embed; its device is out, and the reason says what to do. Chats stay as they were."""
    old = house(embeds=False)
    found = error("embedder:latest", old)

    assert isinstance(found, UnsupportedByModel)
    assert "its agent is too old to embed: update it" in found.message
    assert ["talker:1b"] == [one.model for one in decided("talker:1b", old, embeds=False)[1].candidates]


def test_a_model_that_nobody_has_is_unknown() -> None:
    """As for chats, and those that embed are named instead."""
    found = error("none:1b")

    assert isinstance(found, UnknownModel)
    assert found.message == "no device has the model 'none:1b': there is both:1b, embedder:latest, silent:1b"


def test_auto_is_refused_with_the_models_that_there_are() -> None:
    """Vectors of two models can't be compared."""
    assert (
        "name the one that all your texts go to (there is both:1b, embedder:latest, silent:1b)"
        in unnamed(ask(), house()).message
    )
    assert (
        "`ollama pull nomic-embed-text` fetches one" in unnamed(ask(), fleet(device("nano", CHAT, embeds=True))).message
    )


def test_every_strategy_can_place_texts() -> None:
    """There is nothing to write, so that no time to write it is predicted, and nothing else."""
    for strategy in (
        "hybrid",
        "token",
        "heuristic",
        "semantic",
        "perf",
        "learned",
        "cascade",
        "llm",
        "energy",
        "weighted",
    ):
        question = Ask(model="embedder:latest", device=None, wanted=features_of_texts(["hi"] * 16), strategy=strategy)
        chosen = decide(question, house(), RoutingPolicy(), {}).candidates[0]

        assert chosen.predicted_total_s == pytest.approx(chosen.predicted_first_token_s)


def test_nobody_hears_of_models_that_the_own_list_keeps_out() -> None:
    """What else there is may be a secret of the owner's."""
    question = replace(ask(), allow_models=("both*", "talker*"))

    assert unnamed(question, house()).message.endswith("(there is both:1b)")
