"""A router of several models as a file: what was written is what is read, and what is damaged is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import codec
from common.errors import WeightsError, WeightsMismatch
from dispatcher.router.multi_file import KIND, VERSION, read_either, read_multi, write_multi
from dispatcher.routing.multi import MultiRouter
from dispatcher.routing.prompt_signals import SIGNALS
from dispatcher.routing.trained import TrainedRouter
from dispatcher.weights_file import read_weights, write_weights
from tests.unit.dispatcher.router.parts import COUNT, flat_multi, save_router


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """The same figures for the same prompt, and the card keeps what training told."""
    path, multi = tmp_path / "r.npz", flat_multi({"middle": 0.4, "large": -0.3}, table=0.8, share=0.25)
    write_multi(path, multi, {"data": {"rows": 7}})
    read, card = read_multi(path, signals=SIGNALS, embedder=None)
    asked = [0.0] * COUNT, None

    assert read.predict(*asked, topics={}, complexity=0.9) == multi.predict(*asked, topics={}, complexity=0.9)
    assert (read.models, read.strong, card["data"]) == (("base", "middle", "large"), frozenset({"large"}), {"rows": 7})


def test_the_card_says_which_kind_lies_there(tmp_path: Path) -> None:
    """One setting names either."""
    write_multi(tmp_path / "m.npz", flat_multi({"large": 0.4}), {})
    save_router(tmp_path / "r.npz", 0.5)
    found = [read_either(tmp_path / name, signals=SIGNALS, embedder=None) for name in ("m.npz", "r.npz")]

    assert [MultiRouter, TrainedRouter] == [type(one) for one in found]


def _arrays(**changed: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda arrays, card: arrays.update(changed)


def _card(**changed: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda arrays, card: card.update(changed)


@pytest.mark.parametrize(
    "spoil",
    [
        _arrays(**{"hierarchy.gains": np.zeros((2, 3, 2))}),
        _arrays(**{"hierarchy.gains": np.full((3, 3, 2), "x")}),
        _arrays(**{"hierarchy.edges": np.zeros(5)}),
        _arrays(**{"hierarchy.scalars": np.array([0.1, 0.0, 0.5, 0.2])}),
        _arrays(**{"hierarchy.scalars": np.zeros(2)}),
        _arrays(**{"hierarchy.centre": np.zeros(4)}),
        _arrays(quantiles=np.zeros(0)),
        _arrays(**{"0.ridge": np.zeros(2, dtype=np.float32)}),
        _card(models=["base"]),
        _card(models=["base", "base", "large"]),
        _card(models=["base", "middle", "large", "more"]),
        _card(models="base"),
        _card(models=[1, 2, 3]),
        _card(strong=["nobody"]),
        _card(domains=[]),
        _card(domains=["chat"]),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, spoil: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """When it is read, and not when a request comes."""
    path = tmp_path / "r.npz"
    write_multi(path, flat_multi({"middle": 0.4, "large": 0.3}), {})
    arrays, card = read_weights(path, kind=KIND, version=VERSION)
    spoil(arrays, card)
    rest = {name: value for name, value in card.items() if name not in {"kind", "version", "sha256"}}
    write_weights(path, kind=KIND, version=VERSION, arrays=arrays, card=rest)

    with pytest.raises(WeightsError):
        read_multi(path, signals=SIGNALS, embedder=None)


def test_an_older_form_is_to_be_trained_anew(tmp_path: Path) -> None:
    """The card of another version says so."""
    path = tmp_path / "r.npz"
    write_multi(path, flat_multi({"large": 0.4}), {})
    card = codec.decode((tmp_path / "r.json").read_bytes())
    (tmp_path / "r.json").write_bytes(codec.encode(card | {"version": 1}))

    with pytest.raises(WeightsMismatch, match="train it anew"):
        read_either(path, signals=SIGNALS, embedder=None)
