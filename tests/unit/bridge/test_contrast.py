"""The pages' colours can be read: WCAG contrast of each pair that the style sheets put together, in both schemes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dispatcher.bridge

UI = Path(dispatcher.bridge.__file__).parent / "ui"
TOKENS = (UI / "style" / "tokens.css").read_text()
_LIGHT, _DARK, _CHOSEN = re.split(r"@media \(prefers-color-scheme: dark\)|\n:root\[data-theme=\"dark\"\]", TOKENS)
_NAMED = re.compile(r"--([\w-]+): (#[0-9a-f]{6});")
SCHEMES = {"light": dict(_NAMED.findall(_LIGHT)), "dark": dict(_NAMED.findall(_LIGHT)) | dict(_NAMED.findall(_DARK))}

TEXT = [
    ("ink", "ground"),
    ("ink", "raised"),
    ("ink", "mine"),
    ("ink", "code"),
    ("ink", "bad-wash"),
    ("ink-soft", "ground"),
    ("ink-soft", "raised"),
    ("ink", "accent-wash"),
    ("accent", "accent-wash"),
    ("accent", "ground"),
    ("accent-ink", "accent"),
    ("bad", "ground"),
    ("bad", "raised"),
    ("bad", "bad-wash"),
    ("warn", "ground"),
]
SIGNS = [
    ("line-strong", "raised"),
    ("line-strong", "ground"),
    ("good", "ground"),
    ("good", "raised"),
    ("accent", "raised"),
    *((f"series-{number}", ground) for number in range(1, 7) for ground in ("raised", "ground")),
]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio, 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("front", "back"), TEXT, ids=["-on-".join(pair) for pair in TEXT])
def test_text_can_be_read(scheme: str, front: str, back: str) -> None:
    """At least 4.5 to 1 (WCAG 1.4.3)."""
    assert contrast(SCHEMES[scheme][front], SCHEMES[scheme][back]) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("front", "back"), SIGNS, ids=["-on-".join(pair) for pair in SIGNS])
def test_frames_and_signs_can_be_seen(scheme: str, front: str, back: str) -> None:
    """At least 3 to 1 (WCAG 1.4.11)."""
    assert contrast(SCHEMES[scheme][front], SCHEMES[scheme][back]) >= 3


def test_who_has_chosen_the_dark_scheme_gets_the_same_one() -> None:
    """It stands there twice: for whom the browser chooses, and for who has chosen on the page."""
    of_the_browser, of_the_reader = (re.findall(r"--[\w-]+: [^;]+;", text) for text in (_DARK, _CHOSEN))

    assert of_the_browser == of_the_reader


def test_no_rule_names_a_colour_of_its_own() -> None:
    """All colours are named at the top of one file, where these tests see them."""
    others = [path.read_text() for folder in ("style", "views") for path in sorted((UI / folder).glob("*.css"))]
    rules = "\n".join([_CHOSEN.split("*, *::before", 1)[1], *(text for text in others if text != TOKENS)])

    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|\brgba?\((?!var\()|\bhsla?\(", rules) == []
