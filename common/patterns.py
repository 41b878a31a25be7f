"""Patterns of names, as an owner writes them: `qwen2.5*`, `pi?`; it knows nothing of what they name."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate
from functools import lru_cache

Patterns = tuple[str, ...] | None
"""None for all, and an empty one for nobody."""


def matches(name: str, patterns: Patterns) -> bool:
    """Tell whether one of the patterns fits a name."""
    return patterns is None or _matcher(patterns)(name) is not None


@lru_cache(maxsize=256)
def _matcher(patterns: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    """Make one expression of all patterns: each by itself would be looked up for each name. `translate` makes them atomic, so no
    pattern takes long."""
    return re.compile("|".join(map(translate, patterns)) if patterns else r"(?!)").match
