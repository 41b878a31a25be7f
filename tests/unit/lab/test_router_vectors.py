"""Vectors are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dispatcher.embed import Embedder, EmbedderId, Tier, embedding, open_embedder
from dispatcher.lab.router.vectors import Vector, embed_all

TEXTS = [f"question {number}" for number in range(100)]


class Counted:
    """The shipped embedder, and which texts it was asked for; stops after `most` of them, as a power cut would."""

    def __init__(self, name: str | None = None, most: int = 10_000) -> None:
        inner = open_embedder(Tier.STATIC)
        assert inner is not None
        self._inner: Embedder = inner
        self._most = most
        self.asked: list[str] = []
        self.identity = self._inner.identity if name is None else EmbedderId(name=name, version="1", dimensions=256)

    def embed(self, texts: Sequence[str]) -> Vector:
        if len(self.asked) + len(texts) > self._most:
            raise InterruptedError
        self.asked.extend(texts)
        return self._inner.embed(texts)


def test_a_second_run_computes_nothing(tmp_path: Path) -> None:
    """The same rows come from the cache, in the order of the texts."""
    first = embed_all(Counted(), TEXTS, tmp_path)
    again = Counted()

    assert np.array_equal(embed_all(again, TEXTS[::-1], tmp_path), first[::-1])
    assert again.asked == []


def test_a_text_that_stands_twice_is_computed_once(tmp_path: Path) -> None:
    """Also in one run."""
    embedder = Counted()
    rows = embed_all(embedder, ["a", "b", "a"], tmp_path)

    assert (embedder.asked, np.array_equal(rows[0], rows[2])) == (["a", "b"], True)


def test_another_embedder_has_a_cache_of_its_own(tmp_path: Path) -> None:
    """Vectors of two embedders must not be mixed."""
    embed_all(Counted(), TEXTS, tmp_path)
    other = Counted("other")
    embed_all(other, TEXTS, tmp_path)

    assert len(other.asked) == 100


def test_what_was_computed_before_a_stop_is_kept(tmp_path: Path) -> None:
    """The next run does the rest only."""
    with pytest.raises(InterruptedError):
        embed_all(Counted(most=70), TEXTS, tmp_path)
    rest = Counted()
    embed_all(rest, TEXTS, tmp_path)

    assert rest.asked == TEXTS[64:]


@pytest.mark.parametrize("size", [100, 1999, 2000, 2001, 9000])
async def test_a_prompt_gets_the_vector_that_it_gets_when_it_is_routed(tmp_path: Path, size: int) -> None:
    """To the last bit, also a long one, of which the dispatcher reads head and tail: weights fit the vectors of routing."""
    text = ("Why does ice float on lakes? " * 200 + "And how many islands has Lake Saimaa? " * 150)[:size]
    async with embedding(Counted()) as service:
        routed = (await service.embed(text)).vector

    assert routed is not None
    assert np.array_equal(embed_all(Counted(), [text], tmp_path)[0], routed)


@pytest.mark.parametrize("left", [0, 10, 1000])
def test_a_damaged_cache_counts_as_empty(tmp_path: Path, left: int) -> None:
    """All of it can be computed again."""
    embed_all(Counted(), TEXTS, tmp_path)
    [path] = tmp_path.glob("*.npz")
    path.write_bytes(path.read_bytes()[:left])
    again = Counted()
    embed_all(again, TEXTS, tmp_path)

    assert len(again.asked) == 100
