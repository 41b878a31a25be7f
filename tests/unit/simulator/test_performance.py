"""Speeds, load times, memory and eviction, without a loop."""

from __future__ import annotations

import pytest

from agents.simulator.performance import (
    Resident,
    batch_gain,
    choose_eviction,
    context_for,
    human_bytes,
    load_s,
    memory_bytes,
    must_evict,
    slots_for,
    token_s,
)
from agents.simulator.profiles import catalogue

KNOWN = catalogue()
ORIN, AGX, PI5, NANO = (KNOWN.devices[name] for name in ("orin", "agx", "pi5", "nano"))
LLAMA = KNOWN.models["llama3.2:3b"]


def resident(name: str, *, gb: int = 1, in_use: int = 0, keep_alive_s: float = 300, last_used_s: float = 0) -> Resident:
    return Resident(name=name, size_bytes=gb * 10**9, in_use=in_use, keep_alive_s=keep_alive_s, last_used_s=last_used_s)


@pytest.mark.parametrize(
    ("streams", "gain"),
    [
        (0, 1.0),
        (1, 1.0),
        (2, 1.6584),  # 2 / 1.206
        (3, 2.1),  # 3 / 1.412 = 2.125, limited; measured 17.0 / 8.0 = 2.125
        (6, 2.1),  # limited; measured 15.7 / 8.0 = 1.96
    ],
)
def test_batching_gains_on_a_gpu_as_measured(streams: int, gain: float) -> None:
    """The aggregate speed on an AGX Orin follows the published measurement within 8 %."""
    assert batch_gain(AGX, streams) == pytest.approx(gain, abs=1e-4)


def test_two_streams_on_a_cpu_gain_little() -> None:
    """On a Pi two streams together are 2 / 1.7 = 1.18 times as fast as one."""
    assert batch_gain(PI5, 2) == pytest.approx(1.17647, abs=1e-4)


def test_a_stream_alone_decodes_at_the_profile_speed() -> None:
    """At 20 tok/s a token takes 50 ms."""
    assert token_s(ORIN, 20.0, 1) == pytest.approx(0.05)


def test_each_of_two_streams_is_slower_than_one_alone() -> None:
    """Two streams share 1.658 x 20 tok/s: 2 / 33.17 s a token each."""
    assert token_s(ORIN, 20.0, 2) == pytest.approx(0.0603, abs=1e-4)


def test_loading_takes_start_and_reading() -> None:
    """0.6 s + 2,019 MB / 1,200 MB/s on the Orin."""
    assert load_s(ORIN, LLAMA) == pytest.approx(2.2828, abs=1e-3)


def test_memory_counts_weights_cache_and_overhead() -> None:
    """2,019,393,189 + 114,688 x 4096 x 2 + 400,000,000."""
    assert memory_bytes(ORIN, LLAMA, context_tokens=4096, slots=2) == 3_358_917_285


@pytest.mark.parametrize(
    ("model", "asked", "slots"), [("llama3.2:3b", 4, 4), ("llama3.2:3b", 0, 1), ("all-minilm:latest", 4, 1)]
)
def test_only_completion_models_run_in_parallel(model: str, asked: int, slots: int) -> None:
    """Ollama loads embedding models with one slot whatever OLLAMA_NUM_PARALLEL says."""
    assert slots_for(KNOWN.models[model], asked) == slots


@pytest.mark.parametrize(
    ("model", "requested", "default", "context"),
    [
        ("llama3.2:3b", None, 4096, 4096),
        ("llama3.2:3b", 8192, 4096, 8192),
        ("llama3.2:3b", 1, 4096, 4),
        ("tinyllama:1.1b", 8192, 4096, 2048),  # trained on 2048
        ("moondream:latest", 100, 4096, 2048),  # a model that sees needs 2048
    ],
)
def test_the_context_stays_within_what_ollama_and_the_model_allow(
    model: str, requested: int | None, default: int, context: int
) -> None:
    """num_ctx is bounded on both sides."""
    assert context_for(KNOWN.models[model], requested, default) == context


@pytest.mark.parametrize(
    ("residents", "needed_gb", "evict"),
    [
        ([], 6, False),
        ([resident("a", gb=3)], 3, False),
        ([resident("a", gb=3)], 4, True),
        ([resident(name) for name in "abc"], 1, True),  # Ollama keeps three models per device
    ],
)
def test_a_model_leaves_for_memory_or_for_number(residents: list[Resident], needed_gb: int, evict: bool) -> None:
    """Six gigabytes hold what fits, and never more than three models."""
    assert must_evict(residents, needed_bytes=needed_gb * 10**9, usable_bytes=6 * 10**9) is evict


@pytest.mark.parametrize(
    ("residents", "leaves"),
    [
        ([], None),
        ([resident("busy", in_use=1), resident("idle", last_used_s=9)], "idle"),
        ([resident("late", last_used_s=9), resident("early", last_used_s=1)], "early"),
        ([resident("pinned", keep_alive_s=1e9, last_used_s=1), resident("default", last_used_s=9)], "default"),
        ([resident("b", in_use=1), resident("a", in_use=1)], "a"),
    ],
)
def test_who_leaves(residents: list[Resident], leaves: str | None) -> None:
    """Idle before busy, short keep-alive before long, long unused before just used, then by name."""
    chosen = choose_eviction(residents)

    assert leaves == (chosen.name if chosen else None)


@pytest.mark.parametrize(
    ("count", "text"), [(512, "512 B"), (1536, "1.5 KiB"), (1_572_864, "1.5 MiB"), (3_358_917_285, "3.1 GiB")]
)
def test_bytes_are_written_as_ollama_writes_them(count: int, text: str) -> None:
    """The memory error shows GiB with one digit."""
    assert human_bytes(count) == text
