"""What slots have read: which one a prompt gets, and how much of it is known there."""

from __future__ import annotations

from agents.simulator.prompts import PromptCache, shared


def read(cache: PromptCache, text: str) -> int:
    """Read a prompt to its end; give what was known of it."""
    slot, known = cache.take(tuple(text))
    cache.give(slot, tuple(text))
    return known


def test_shared_is_counted_from_the_beginning() -> None:
    """A text in a text, two that part, and nothing."""
    assert (3, 2, 0, 0) == (shared("abc", "abcd"), shared("abx", "aby"), shared("xa", "ya"), shared("", "a"))


def test_one_piece_is_read_anew() -> None:
    """The model needs one to go on from; a prompt of which nothing is known is read whole."""
    cache = PromptCache(1)

    assert (0, 9, 0) == (read(cache, "0123456789"), read(cache, "0123456789"), read(cache, ""))


def test_the_last_conversations_are_known() -> None:
    """With two slots a third one takes that which was used longest ago; one that goes on takes its own."""
    cache = PromptCache(2)
    first = [read(cache, text) for text in ("aaaa", "bbbb", "aaaaxx", "cccc")]

    assert ([0, 0, 4, 0], 5, 0) == (first, read(cache, "aaaaxx"), read(cache, "bbbb"))


def test_a_slot_that_is_in_use_is_no_choice() -> None:
    """Two requests of one conversation at once: the second one gets the other slot, and reads it all."""
    cache = PromptCache(2)
    read(cache, "aaaa")
    busy, known = cache.take(tuple("aaaab"))
    other, cold = cache.take(tuple("aaaac"))

    assert (4, 0, False) == (known, cold, busy is other)


def test_little_in_common_is_no_reason() -> None:
    """Less than a tenth of a prompt does not cost a conversation its slot, while an older one is there."""
    cache = PromptCache(2)
    read(cache, "z" * 10)
    read(cache, "ab" + "c" * 40)
    read(cache, "ab" + "d" * 40)

    assert (41, 0) == (read(cache, "ab" + "c" * 40), read(cache, "z" * 10))
