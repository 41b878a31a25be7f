"""What is told of limits is what holds."""

from __future__ import annotations

from common.strategies import STRATEGIES as TOLD
from dispatcher.bridge.files.bounds import IMAGE_TYPES
from dispatcher.bridge.files.worker.pictures import KINDS
from dispatcher.bridge.openai.turns import IMAGE_TYPES as IN_DATA_URIS
from dispatcher.routing.strategies import STRATEGIES, VARIANTS, strategy_of


def test_the_strategies_that_are_told_are_those_that_there_are() -> None:
    """Each with a line, and its example is one that is taken."""
    examples = [one.example for one in TOLD.values() if one.example]

    assert set(STRATEGIES) == set(TOLD)
    assert examples == [*VARIANTS.values()] == [example for example in examples if strategy_of(example)]
    assert all(one.what for one in TOLD.values())


def test_images_are_of_the_types_that_the_apis_take() -> None:
    """In data URIs JPEG has two names."""
    assert {f"image/{name}" for name in IN_DATA_URIS} - {"image/jpg"} == set(IMAGE_TYPES)
    assert "JPEG, PNG, WebP or GIF" == KINDS
