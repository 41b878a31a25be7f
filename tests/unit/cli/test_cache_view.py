"""What `drover cache` draws, and the words for what the cache did for an answer."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from dispatcher.cli.cache_view import entry_table, figures, size
from dispatcher.cli.cache_words import age, cache_line, plain, saved
from dispatcher.cli.explain_view import explained
from tests.scripted_cache import ENTRY, stats

LONG = "How do I write down what nobody reads? " * 6
HIT: dict[str, Any] = {
    "outcome": "hit",
    "kind": "semantic",
    "id": "0123456789abcdef",
    "similarity": 0.97345,
    "chance": 0.995,
    "age_s": 34.2,
    "source": {"job": "j", "device": "pi5-1", "model": "llama3.2:3b"},
    "why": "all words agree",
    "saved": {"s": 3.2, "tokens": 212, "energy_j": 14.1, "energy_estimated": True, "cost_usd": 0.0002},
}


def drawn(what: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Two dispatchers, and entries with a long question, fit 80 columns and more."""
    answers = [stats("disp-1a2b3c4d", "redis"), stats("disp-5e6f7a8b", "redis")]
    entries = [ENTRY, {**ENTRY, "question": LONG, "dispatcher": "disp-5e6f7a8b"}]
    lines = (drawn(figures(answers, width), width) + drawn(entry_table(entries, width), width)).splitlines()

    assert max(map(cell_len, lines)) <= width
    assert [] == [line for line in lines if line.startswith("│") and not line.endswith("│")]


@pytest.mark.parametrize(
    ("stores", "entries", "made_room"),
    [(("redis", "redis"), "2", 1), (("memory", "memory"), "4", 2), (("redis", "memory"), "4", 2)],
)
def test_a_shared_store_counts_once(stores: tuple[str, str], entries: str, made_room: int) -> None:
    """Two dispatchers tell of the same two entries in Redis, or of two entries each in memory."""
    text = drawn(figures([stats("d1", stores[0]), stats("d2", stores[1])], 140), 140)
    total = next(line for line in text.splitlines() if line.startswith("│ all"))

    assert (total.split("│")[5].strip(), f"made room: {made_room}," in text) == (entries, True)


def test_a_narrow_table_is_completed_in_words() -> None:
    """What 80 columns have no room for stands below: all kinds of hits, and what they saved."""
    text = drawn(figures([stats("d1"), stats("d2")], 80), 80)

    assert "hits: 10 exact, 2 alike, 4 joined; none: 14 missed, 8 refused, 2 bypassed" in text
    assert "saved: 25.0 s, 1600 tokens, about 120.0 J, 0.002000 USD" in text


def test_what_ails_a_store_is_told() -> None:
    """Whose it is, and what it says."""
    away = stats("d1", "redis", index={"kind": "redis", "state": "away", "detail": "timed out"})

    assert "d1: index: timed out" in drawn(figures([away], 80), 80).splitlines()


def test_a_dispatcher_that_says_little_is_drawn() -> None:
    """One of another version may leave out anything."""
    assert "d1" in drawn(figures([{"dispatcher": "d1", "store": "memory", "counts": None}], 80), 80)


@pytest.mark.parametrize(
    ("age_s", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "2 h"), (172_800, "2 d"), (None, "?")],
)
def test_ages(age_s: float | None, text: str) -> None:
    """In the unit that a person would use."""
    assert text == age(age_s)


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 20, "3.0 MiB")]
)
def test_sizes(size_bytes: int, text: str) -> None:
    """In the unit that a person would use."""
    assert text == size(size_bytes)


@given(st.text())
def test_any_text_is_made_plain(text: str) -> None:
    """Nothing is left that steers a terminal, and what was plain stays as it was."""
    made = plain(text)

    assert (made.isprintable(), plain(made) == made) == (True, True)


def test_a_line_break_may_stay() -> None:
    """An answer keeps its lines, and nothing else that can't be seen."""
    assert plain("a\n\tb\r\x1b[1m", keep="\n\t") == "a\n\tb\\r\\x1b[1m"


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (
            HIT,
            (
                "hit, semantic, similarity 0.973, right with 99.5 %, 34 s old, of pi5-1 with llama3.2:3b, entry 0123456789abcdef "
                "(all words agree); saved 3.2 s, 212 tokens, about 14.1 J, 0.000200 USD"
            ),
        ),
        ({"outcome": "hit"}, "hit, of an unknown kind"),
        ({"outcome": "miss", "why": "never asked"}, "miss (never asked)"),
        ({"outcome": "refused", "why": "it names\na time"}, "refused (it names\\na time)"),
        ({"outcome": "bypass"}, "bypass"),
        (
            {"outcome": "miss", "shadow": {"id": "ab", "similarity": 0.91, "would": False, "why": "another number"}},
            "miss; in the shadow entry ab, similarity 0.910 would not have been given (another number)",
        ),
        (
            {"outcome": "miss", "shadow": {"id": "ab", "would": True}},
            "miss; in the shadow entry ab would have been given",
        ),
    ],
)
def test_the_line_about_one_answer(told: dict[str, Any], line: str) -> None:
    """A hit says what it is from and what it saves, all else why there was none."""
    assert line == cache_line(told)


def test_nothing_saved_is_nothing_said() -> None:
    """A hit of a time when nobody counted has no figures."""
    assert "" == saved({"outcome": "hit", "saved": None})


def test_explain_tells_what_the_cache_did() -> None:
    """A job that was answered from the cache has no decision to show, and one line that says why."""
    text = drawn(explained({"job": "j", "options": [], "cache": HIT}, 400), 400)

    assert text == f"cache: {cache_line(HIT)}\n"
