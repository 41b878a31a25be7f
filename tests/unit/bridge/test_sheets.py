"""The views' style sheets: none is ever taken away from the page, so each may style only what its own view shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.bridge.pages.assets import UI

SHEETS = sorted((UI / "views").glob("*.css"))
_NO_RULES = re.compile(r"/\*.*?\*/|@import[^;]*;|@media[^{]*\{", re.DOTALL)
_CLASSES = re.compile(r"\.([a-zA-Z][\w-]*)")
_SELECTORS = re.compile(r"([^{}]+)\{[^{}]*\}")
_BRACKETS = re.compile(r"\(([^()]*)\)")


def selectors(text: str) -> Iterator[str]:
    """Give each selector of a sheet; what stands in brackets is a word of the element that it says something of."""
    for rule in _SELECTORS.findall(_NO_RULES.sub("", text)):
        while rule != (rule := _BRACKETS.sub(lambda said: "_".join(re.findall(r"[\w.-]+", said[1])), rule)):
            pass
        yield from (one.strip() for one in rule.split(","))


def begun(selector: str) -> set[str]:
    """Give the classes that the first element of a selector is known by."""
    return set(_CLASSES.findall(re.split(r"[\s>+~]", selector)[0]))


@pytest.mark.parametrize("sheet", SHEETS, ids=[sheet.stem for sheet in SHEETS])
def test_each_rule_begins_with_a_class_that_no_other_sheet_names(sheet: Path) -> None:
    """What was open before leaves its sheet behind: a rule for `.ticks` or `.table` would change the next view too."""
    others = [one for one in (*(UI / "style").glob("*.css"), *SHEETS) if one != sheet]
    theirs = {name for one in others for selector in selectors(one.read_text()) for name in _CLASSES.findall(selector)}

    found = list(selectors(sheet.read_text()))

    assert len(found) > 2
    assert [one for one in found if not begun(one) - theirs] == []
