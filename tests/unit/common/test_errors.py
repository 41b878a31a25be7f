"""The tree of errors on the wire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import codec, errors
from common.codec import Encoding
from common.errors import FleetError
from tests.unit.common.values import GARBAGE, PLAIN, TEXT


def tree(root: type[FleetError]) -> Iterator[type[FleetError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


ALL = [cls for cls in tree(FleetError) if cls.__module__ == "common.errors"]
RETRY_AFTER = st.none() | st.integers(0, 10**9).map(lambda thousandths: thousandths / 1000)
DETAILS = st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), PLAIN.filter(lambda value: value is not None))


@pytest.mark.parametrize("cls", ALL)
def test_every_class_comes_back(cls: type[FleetError]) -> None:
    """Each class is rebuilt as itself from its code."""
    assert type(errors.from_wire(cls().to_wire())) is cls


@given(st.sampled_from(ALL), st.sampled_from(Encoding), TEXT.filter(bool), RETRY_AFTER, DETAILS)
def test_round_trip(
    cls: type[FleetError], encoding: Encoding, message: str, retry_after_s: float | None, details: dict[str, Any]
) -> None:
    """Message, details and the time to wait come back as they went."""
    error = cls(message)
    error.retry_after_s, error.details = retry_after_s, details
    back = errors.from_wire(codec.decode(codec.encode(error.to_wire(), encoding)))

    assert (type(back), back.message, back.retry_after_s, back.details) == (cls, message, retry_after_s, details)


@pytest.mark.parametrize(
    ("given_s", "told_s"),
    [(0.1 + 0.2, 0.3), (0.3001, 0.301), (1 + 1e-15, 1.0), (0.0004, 0.001), (2, 2.0), (0.0, 0.0), (1e308, 1e308)],
)
def test_a_time_to_wait_is_told_rounded_up(given_s: float, told_s: float) -> None:
    """Nobody comes too early, and nobody reads 0.30000000000000004."""
    error = errors.TooMany("x", retry_after_s=given_s)

    assert (told_s, told_s) == (error.retry_after_s, error.to_wire()["retry_after_s"])


def test_codes_are_unique() -> None:
    """No two classes share a code, since the code alone tells them apart on the wire."""
    assert [code for code, count in Counter(cls.code for cls in ALL).items() if count > 1] == []


def test_every_class_says_what_it_means() -> None:
    """Each class has a code and a docstring of its own, which is its default message."""
    assert [
        cls for cls in ALL if "code" not in vars(cls) or not cls.__doc__ or cls().message != cls.__doc__.strip()
    ] == []


def test_the_tree_is_drawn() -> None:
    """The drawing at the top of the module names every class."""
    drawing = errors.__doc__ or ""

    assert [cls.__name__ for cls in ALL if cls.__name__ not in drawing.split()] == []


def test_unknown_code() -> None:
    """A code of a newer version becomes a plain FleetError that keeps its message."""
    back = errors.from_wire({"code": "of_next_year", "message": "new trouble", "retry": True})

    assert (type(back), back.message) == (FleetError, "new trouble")


def test_absent_details_do_not_travel() -> None:
    """A detail that is None is left out."""
    assert errors.BadRequest("x", param=None, value=0).to_wire()["details"] == {"value": 0}


@given(st.dictionaries(st.sampled_from(["code", "message", "retry", "retry_after_s", "details"]), GARBAGE))
def test_garbage_becomes_an_error(wire: dict[str, Any]) -> None:
    """Whatever stands in the fields, the outcome is an error value, unless a number is beyond any clock."""
    try:
        back = errors.from_wire(wire)
    except OverflowError:
        assert isinstance(wire["retry_after_s"], int)
    else:
        assert isinstance(back, FleetError)
