"""The size of the context that Ollama is asked for: the choice, the limits, and what is remembered."""

from __future__ import annotations

from typing import Any

import pytest

from agents.backends.ollama_context import Held, cache_bytes_per_token, chosen, most_tokens, require_room
from common.errors import ContextTooLong, ModelNotLoadable
from common.messages import ModelInfo
from common.prompts import ContextNeed


def need(least: int, wished: int | None = None) -> ContextNeed:
    return ContextNeed(least // 2, least, wished or least)


def info(trained: int | None = 32_768, most: int | None = None) -> ModelInfo:
    return ModelInfo(name="m", context_tokens=trained, most_context_tokens=most)


@pytest.mark.parametrize(
    ("wanted", "held", "default", "expected"),
    [
        (need(500), None, None, None),  # 3: any Ollama takes 2,048
        (need(2048), None, None, None),
        (need(2049), None, None, 4096),  # 4
        (need(500, 2100), None, None, 4096),  # 4: what is wished, since it has to be loaded anyway
        (need(5000), None, None, 8192),
        (need(8192), None, None, 8192),
        (need(20_000), None, None, 32_768),
        (need(3000), None, 4096, None),  # 3: told what Ollama takes
        (need(5000), None, 16_384, None),
        (need(20_000), None, 16_384, 32_768),
        (need(1500), None, 1024, 4096),
        (need(500), 8192, None, 8192),  # 2: what is loaded stays loaded
        (need(5000, 9000), 8192, None, 8192),  # 2: a wish is no reason to load anew
        (need(9000), 8192, None, 16_384),
        (need(500), 512, None, 512),
        (need(600), 512, None, 4096),
    ],
)
def test_the_choice(wanted: ContextNeed, held: int | None, default: int | None, expected: int | None) -> None:
    """2. Loaded and enough. 3. Ollama's own choice is enough. 4. The next power of two."""
    assert expected == chosen(wanted, "m", info(), held=held, default=default)


@pytest.mark.parametrize(
    ("wanted", "trained", "most", "expected"),
    [
        (need(5000), 6000, None, 6000),  # the model's own limit is a step
        (need(1800, 2500), 2048, None, 2048),
        (need(5000), 32_768, 6144, 6144),  # so is the memory's
        (need(5000), None, None, 8192),  # nothing known
    ],
)
def test_the_limits_bound_the_choice(wanted: ContextNeed, trained: int | None, most: int | None, expected: int) -> None:
    """As long as what is needed at least fits below them."""
    assert expected == chosen(wanted, "m", info(trained, most), held=None, default=None)


def test_more_than_the_model_can_is_refused() -> None:
    """The error names the model, its limit and the estimate, and no device can help."""
    with pytest.raises(ContextTooLong) as caught:
        chosen(need(3000), "tiny", info(2048), held=2048, default=None)

    assert (caught.value.retryable, caught.value.details["param"]) == (False, "messages")
    assert (caught.value.details["estimated_tokens"], caught.value.details["context_tokens"]) == (3000, 2048)
    assert all(part in caught.value.message for part in ("tiny", "2048", "3000", "max_tokens"))


def test_more_than_the_memory_holds_is_another_devices_job() -> None:
    """The error names the device's memory as the limit, and says that a retry may help."""
    with pytest.raises(ModelNotLoadable) as caught:
        chosen(need(9000), "m", info(32_768, 8192), held=4096, default=None)

    assert (caught.value.retryable, caught.value.details["context_tokens"]) == (True, 8192)
    assert "memory" in caught.value.message


LLAMA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 28,
    "llama.embedding_length": 3072,
    "llama.attention.head_count": 24,
    "llama.attention.head_count_kv": 8,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 114_688),  # 28 layers x 8 heads x (128 + 128) x 2 bytes
        ({"llama.attention.head_count_kv": None}, 344_064),  # all 24 heads
        ({"llama.attention.key_length": 64, "llama.attention.value_length": 64}, 57_344),
        ({"llama.attention.head_count_kv": [8, 0, 4]}, 6144),  # 12 heads in all layers together
        ({"llama.attention.sliding_window": 1024}, None),
        ({"llama.block_count": None}, None),
        ({"llama.block_count": "28"}, None),
        ({"general.architecture": "other"}, None),
    ],
)
def test_the_cost_of_a_token_in_the_cache(changes: dict[str, Any], expected: int | None) -> None:
    """From the model's own shape; nothing is guessed where it does not say."""
    assert expected == cache_bytes_per_token(LLAMA | changes)


MODEL = ModelInfo(name="m", size_bytes=2_000_000_000, context_tokens=131_072)


@pytest.mark.parametrize(
    ("total", "free", "slots", "expected"),
    [
        (None, None, 1, None),
        (8_000_000_000, None, 1, 58_880),  # (8.0 - 2.0 - 0.1) GB / 100 kB, in whole 256
        (8_000_000_000, 4_100_000_000, 1, 19_968),  # (4.1 - 2.1) / 100 kB = 20,000
        (8_000_000_000, 9_000_000_000, 1, 58_880),  # no more than there is
        (8_000_000_000, 4_100_000_000, 2, 9984),  # each slot has a cache of its own
        (2_000_000_000, None, 1, 2048),  # it does not fit at all: Ollama will say so
        (80_000_000_000, None, 1, 131_072),
    ],
)
def test_the_largest_context_that_fits(total: int | None, free: int | None, slots: int, expected: int | None) -> None:
    """What is left beside the weights, by what a token costs."""
    assert expected == most_tokens(MODEL, 100_000, slots=slots, total_bytes=total, free_bytes=free)


def test_what_is_listed_is_held() -> None:
    """And forgotten with the model."""
    held = Held()
    held.listed({"m": 4096}, held.mark())
    before = held.of("m")
    held.listed({"m": 0}, held.mark())

    assert (before, held.of("m")) == (4096, None)


def test_what_a_job_asked_for_is_held_before_it_is_listed() -> None:
    """A listing that was asked for before the job, or while it runs, is of the past."""
    held = Held()
    mark = held.mark()
    held.begin("m", 8192)
    held.listed({"m": 4096}, held.mark())
    held.end("m")
    held.listed({"m": 4096}, mark)
    during = held.of("m")
    held.listed({}, held.mark())

    assert (during, held.of("m")) == (8192, None)


def test_a_smaller_wish_does_not_shrink_what_is_held() -> None:
    """Two jobs at once: the larger one counts."""
    held = Held()
    held.begin("m", 8192)
    held.begin("m", 4096)
    held.begin("m", None)

    assert held.of("m") == 8192


def test_a_model_that_is_larger_than_the_memory_is_not_loaded() -> None:
    """Its weights and what runs them; where nobody knows the memory, Ollama has to say."""
    large = ModelInfo(name="large", size_bytes=4_000_000_000)
    require_room(large, None)
    require_room(large, 4_100_000_000)

    with pytest.raises(ModelNotLoadable, match=r"large has 4\.0 GB, and this device's memory 4\.1 GB"):
        require_room(large, 4_099_999_999)
