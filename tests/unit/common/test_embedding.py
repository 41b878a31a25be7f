"""Any number of texts as several jobs, and their answers as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common import vectors
from common.embedding import embed_requests, joined
from common.energy import Energy
from common.errors import BadRequest, GarbledReply
from common.frames import End
from common.messages import Usage

MODEL = "embedder:latest"


def sizes(texts: list[str], **fields: Any) -> list[int]:
    made = embed_requests(texts, **{"model": MODEL, "most_bytes": 2000} | fields)
    assert [text for one in made for text in one.inputs or ()] == texts
    return [len(one.inputs or ()) for one in made]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a"], [1]),
        (["a"] * 16, [16]),
        (["a"] * 33, [16, 16, 1]),
        (["a" * 400] * 5, [2, 2, 1]),
        (["a" * 5000, "b"], [1, 1]),
    ],
    ids=["one", "full", "more", "long", "too long"],
)
def test_texts_are_parted_by_number_and_by_size(texts: list[str], expected: list[int]) -> None:
    """At most 16, and at most half of what the bus carries (1000 bytes here); order is kept, and what is too long goes alone."""
    assert expected == sizes(texts)


def test_an_id_is_numbered_and_the_money_shared_out() -> None:
    """Two jobs can't have one id, and together they cost no more than was allowed."""
    made = embed_requests(["a"] * 17, model=MODEL, most_bytes=2000, job="mine", max_cost_usd=1.0)

    assert [("mine-1", 0.5), ("mine-2", 0.5)] == [(one.job, one.max_cost_usd) for one in made]
    assert [("mine", 1.0)] == [
        (one.job, one.max_cost_usd)
        for one in embed_requests("a", model=MODEL, most_bytes=99, job="mine", max_cost_usd=1.0)
    ]


@pytest.mark.parametrize(
    ("texts", "fields", "words"),
    [
        ([], {}, "inputs: it is a list"),
        (None, {}, "inputs: it is null"),
        (b"hi", {}, "inputs: it is of type bytes"),
        (["a", 3], {}, "inputs.1: it is a number"),
        (["a", ""], {}, "inputs.1: it is empty"),
        ("a", {"model": "auto"}, "name the model"),
        ("a", {"model": "@nano"}, "name the model"),
        ("a", {"prompt": "hi"}, "prompt belongs to chats"),
        ("a", {"dimensions": 0}, "dimensions: "),
        ("a", {"dimension": 3}, "There is no such field"),
    ],
)
def test_what_can_not_be_embedded_is_refused_before_it_is_sent(texts: Any, fields: dict[str, Any], words: str) -> None:
    """A producer's types are seldom checked."""
    with pytest.raises(BadRequest, match=words):
        embed_requests(texts, **{"model": MODEL, "most_bytes": 2000} | fields)


def end(*numbers: float, model: str = MODEL, **fields: Any) -> End:
    packed = tuple(vectors.pack([number]) for number in numbers)
    return End(usage=Usage(prompt_tokens=5), embeddings=packed, route={"model": model, "cost_usd": 0.25}, **fields)


def test_answers_are_joined_in_order() -> None:
    """Embeddings, tokens, money and joules are those of all jobs together."""
    took = Energy(joules=2.0, source="ina3221", cost=0.5, currency="EUR", co2e_g=1.0)
    whole = joined([end(1.0, 2.0, energy=took), end(3.0, energy=took)])

    assert [[1.0], [2.0], [3.0]] == whole.vectors
    assert (MODEL, Usage(prompt_tokens=10), 0.5, 2) == (whole.model, whole.usage, whole.cost_usd, len(whole.routes))
    assert whole.energy is not None
    assert (4.0, 1.0, "EUR", 2.0) == (
        whole.energy.joules,
        whole.energy.cost,
        whole.energy.currency,
        whole.energy.co2e_g,
    )


def test_what_two_models_gave_is_no_answer() -> None:
    """Nobody could compare one half with the other."""
    other = replace(end(2.0), embeddings=(vectors.pack([1.0, 2.0]),))
    with pytest.raises(GarbledReply, match="different models"):
        joined([end(1.0), end(2.0, model="other:latest")])
    with pytest.raises(GarbledReply, match="different models"):
        joined([end(1.0), other])
