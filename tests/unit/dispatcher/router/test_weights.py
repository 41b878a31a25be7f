"""Trained parts follow their files: what changes is read again, what is wrong leaves the old part, and what lacks is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dispatcher.router.weights import WeightFiles, Weights
from dispatcher.weights_file import card_path
from tests.unit.dispatcher.router.parts import COUNT, save_router, save_topics

EMBEDDER = "static-4@abc"
_turn = iter(range(1, 1000))


def touch(path: Path) -> None:
    """Make a file look newer than anything before: a clock of the file system may be coarse."""
    later = 2_000_000_000 + next(_turn)
    os.utime(path, (later, later))


def gain(weights: Weights) -> float:
    assert weights.router is not None
    return weights.router.gain([0.0] * COUNT, None).score


def test_parts_are_read_at_the_start(tmp_path: Path) -> None:
    """What is there when a dispatcher starts is used at once."""
    save_router(tmp_path / "r.npz", 0.25)
    save_topics(tmp_path / "t.npz", EMBEDDER, "law", "food")
    weights = Weights(WeightFiles(topics=tmp_path / "t.npz", router=tmp_path / "r.npz"), EMBEDDER)

    assert (0.25, ("law", "food")) == (gain(weights), weights.topics.names if weights.topics else None)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """The next look after a change gives the new part."""
    path = tmp_path / "r.npz"
    save_router(path, 0.25)
    weights = Weights(WeightFiles(router=path), None)
    save_router(path, 0.75)
    touch(path)
    weights.refresh()

    assert gain(weights) == 0.75


def test_a_file_that_comes_later_is_read(tmp_path: Path) -> None:
    """A dispatcher may start before its weights are trained, and says meanwhile what it lacks."""
    path = tmp_path / "r.npz"
    weights = Weights(WeightFiles(router=path), None)
    before = weights.router, weights.lacks_router
    save_router(path, 0.5)
    weights.refresh()

    assert ((None, f"{path} is not there"), 0.5, "") == (before, gain(weights), weights.lacks_router)


@pytest.mark.parametrize("damage", ["cut", "foreign", "card"])
def test_a_wrong_file_leaves_the_old_part(tmp_path: Path, damage: str) -> None:
    """A file that was cut, holds something else, or lost its card costs nothing that worked."""
    path = tmp_path / "r.npz"
    save_router(path, 0.25)
    weights = Weights(WeightFiles(router=path), EMBEDDER)
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:100])
        case "foreign":
            save_topics(path, EMBEDDER, "law", "food")
        case _:
            card_path(path).write_text("no card")
    touch(path)
    weights.refresh()

    assert gain(weights) == 0.25


@pytest.mark.parametrize(("trained_with", "word"), [("minilm-384@def", "minilm-384@def"), ("", "damaged")])
def test_a_wrong_file_at_the_start_costs_its_part_alone(tmp_path: Path, trained_with: str, word: str) -> None:
    """Topics of another embedder, or broken ones, are not used, and the reason is told; the router beside them is."""
    topics, router = tmp_path / "t.npz", tmp_path / "r.npz"
    save_topics(topics, trained_with or EMBEDDER, "law", "food")
    if not trained_with:
        card_path(topics).write_text(card_path(topics).read_text().replace('"law"', '"law", "art"'))
    save_router(router, 0.25)
    weights = Weights(WeightFiles(topics=topics, router=router), EMBEDDER)

    assert (None, True, 0.25) == (weights.topics, word in weights.lacks_topics, gain(weights))


def test_a_card_that_comes_behind_its_arrays_is_waited_for(tmp_path: Path) -> None:
    """The two files change one after the other: whoever looks in between reads them again when both are there."""
    path, other = tmp_path / "r.npz", tmp_path / "other.npz"
    save_router(path, 0.25)
    save_router(other, 0.75)
    weights = Weights(WeightFiles(router=path), None)
    path.write_bytes(other.read_bytes())
    touch(path)
    weights.refresh()
    between = gain(weights)
    card_path(path).write_bytes(card_path(other).read_bytes())
    touch(card_path(path))
    weights.refresh()

    assert (0.25, 0.75) == (between, gain(weights))


def test_a_file_that_is_taken_away_takes_its_part_along(tmp_path: Path) -> None:
    """An owner who deletes the weights wants them gone."""
    path = tmp_path / "r.npz"
    save_router(path, 0.25)
    weights = Weights(WeightFiles(router=path), None)
    path.unlink()
    weights.refresh()

    assert (None, f"{path} is not there") == (weights.router, weights.lacks_router)


def test_no_file_lacks_nothing_of_topics() -> None:
    """Topics that nobody asked for are not missed; a router that `learned` needs is."""
    weights = Weights(WeightFiles(), None)

    assert ("", "no router file is set") == (weights.lacks_topics, weights.lacks_router)
