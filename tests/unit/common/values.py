"""Values as they may come over a wire, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
"""Any text but lone surrogates, which no encoding carries."""

INT64 = st.integers(-(2**63), 2**63 - 1)

PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXT, children, max_size=4),
    max_leaves=8,
)
"""What JSON and MessagePack both carry unchanged."""


def _garbage(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | numbers | TEXT | st.binary(max_size=20),
        lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXT, children, max_size=4),
        max_leaves=8,
    )


GARBAGE = _garbage(st.integers() | st.floats())
"""What a decoder could hand us at the worst: NaN, infinities, huge numbers, bytes."""

FINITE_GARBAGE = _garbage(INT64 | st.floats(allow_infinity=False))
"""The same without infinities."""
