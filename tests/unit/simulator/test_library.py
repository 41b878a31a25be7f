"""Model names."""

from __future__ import annotations

import pytest

from agents.simulator.library import Library, canonical, is_valid, qualified
from agents.simulator.profiles import catalogue


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("all-minilm", "all-minilm:latest"),
        ("Llama3.2:3B", "llama3.2:3b"),
        ("library/tinyllama:1.1b", "tinyllama:1.1b"),
        ("registry.ollama.ai/library/tinyllama:1.1b", "tinyllama:1.1b"),
        ("me/mine", "me/mine:latest"),
    ],
)
def test_every_spelling_has_one_short_name(name: str, short: str) -> None:
    """Names are case-insensitive; the default registry and the default tag go without saying."""
    assert canonical(name) == short


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("llama3.2:3b", True),
        ("a/b/c:d", True),
        ("host:80/b/c", True),
        ("a b", False),
        ("x:", False),
        ("../x", False),
        ("é", False),
    ],
)
def test_impossible_names_are_told_apart(name: str, valid: bool) -> None:
    """Ollama answers 400 for those, not 404."""
    assert is_valid(name) is valid


def test_capability_errors_show_the_full_name() -> None:
    """With registry and namespace."""
    assert qualified("tinyllama:1.1b") == "registry.ollama.ai/library/tinyllama:1.1b"


def test_a_model_can_be_removed_and_pulled_again() -> None:
    """The disk changes, the catalogue does not."""
    known = catalogue()
    library = Library(known, known.devices["nano"])
    removed = library.remove("tinyllama:1.1b")
    gone = library.find("tinyllama:1.1b")
    library.add(known.models["tinyllama:1.1b"])

    assert (removed, gone, library.find("TinyLlama:1.1b") is not None) == (True, None, True)
