"""Embeddings of a provider's models: packed in order, paid for by its own count, and refused in our words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.backends import BackendDone, Bill
from common import vectors
from common.errors import FleetError, GarbledReply, UnknownModel
from common.messages import Dispatch
from tests.integration.agents.test_openai_backend import Rig, rig

MODELS = "embedder=2/0 embedding"


def dispatch(*texts: str, model: str = "embedder", **fields: Any) -> Dispatch:
    return Dispatch(job="j", attempt=1, dispatcher="d", model=model, messages=(), inputs=texts, **fields)


async def embedded(standing: Rig, wanted: Dispatch) -> tuple[list[tuple[float, ...]], BackendDone, Bill]:
    with standing.backend.admit(wanted) as bill:
        [done] = [piece async for piece in standing.backend.embed(wanted, bill)]
    assert isinstance(done, BackendDone)
    return [vectors.unpack(one) for one in done.embeddings], done, bill


async def failed(standing: Rig, wanted: Dispatch) -> tuple[FleetError, Bill]:
    with pytest.raises(FleetError) as caught, standing.backend.admit(wanted) as bill:
        async for _ in standing.backend.embed(wanted, bill):
            pass
    return caught.value, bill


async def test_texts_are_embedded_and_paid_for(tmp_path: Path) -> None:
    """In the order of the texts, whatever order the provider has; 1,000 tokens at 2 dollars a million are 0.002."""
    async with rig(tmp_path, models=MODELS) as standing:
        numbers, done, bill = await embedded(standing, dispatch("a", "bcd", dimensions=1))
        [info] = await standing.backend.models()

        assert ([(1.0,), (3.0,)], 1000, False) == (numbers, done.usage.prompt_tokens, bill.estimated)
        assert (bill.usd, standing.spent_usd) == (pytest.approx(0.002), pytest.approx(0.002))
        assert (await standing.provider.last()) == {
            "model": "embedder",
            "input": ["a", "bcd"],
            "encoding_format": "base64",
            "dimensions": 1,
        }
        assert ("embedding",) == info.capabilities


async def test_other_servers_do_it_otherwise(tmp_path: Path) -> None:
    """Numbers in place of base64, and no count of tokens: then the price is an estimate. One that is busy is asked again."""
    plain = {"data": [{"index": 0, "embedding": [0.5, -2]}]}
    busy = {"status": 503, "error": {"message": "Overloaded", "type": "server_error", "param": None, "code": None}}
    async with rig(tmp_path, models=MODELS) as standing:
        await standing.provider.order(busy, {"body": plain})
        numbers, _, bill = await embedded(standing, dispatch("a"))

        assert [(0.5, -2.0)] == numbers
        assert bill.estimated
        assert bill.usd is not None
        assert bill.usd > 0


async def test_what_is_no_answer_is_an_error_of_ours(tmp_path: Path) -> None:
    """What was computed is paid for all the same."""
    garbled: list[Any] = [
        [],
        {},
        {"data": []},
        {"data": [{"index": 1, "embedding": [1]}]},
        {"data": [{"index": 0, "embedding": "!"}]},
        {"data": [{"index": 0, "embedding": ["x"]}]},
    ]
    async with rig(tmp_path, models=MODELS) as standing:
        for body in garbled:
            await standing.provider.order({"body": body})
            error, bill = await failed(standing, dispatch("a"))
            assert (GarbledReply, True) == (type(error), bill.usd is not None), body
        assert isinstance((await failed(standing, dispatch("a", model="other")))[0], UnknownModel)
