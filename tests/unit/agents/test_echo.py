"""The backend without a model: what it gives is counted, and looks like no answer."""

from __future__ import annotations

import pytest

from agents.backends import BackendDone, Bill
from agents.backends.echo import MODEL, EchoBackend
from common import vectors
from common.errors import UnknownModel
from common.messages import Dispatch


async def embedded(*texts: str, model: str = MODEL, dimensions: int | None = None) -> list[tuple[float, ...]]:
    wanted = Dispatch(job="j", attempt=1, dispatcher="d", model=model, messages=(), inputs=texts, dimensions=dimensions)
    [done] = [piece async for piece in EchoBackend().embed(wanted, Bill())]
    assert isinstance(done, BackendDone)
    return [vectors.unpack(one) for one in done.embeddings]


async def test_its_embeddings_count_bytes_words_and_lines() -> None:
    """The same for the same text, and zeros behind: no model gives such."""
    assert [(5.0, 3.0, 1.0, *[0.0] * 5), (1.0, 1.0, 0.0, *[0.0] * 5)] == await embedded("a b\nc", "x")


async def test_they_can_be_shorter() -> None:
    """As of any model."""
    assert [(2.0, 1.0)] == await embedded("hi", dimensions=2)


async def test_it_has_one_model() -> None:
    """Others are unknown."""
    with pytest.raises(UnknownModel):
        await embedded("hi", model="other")
