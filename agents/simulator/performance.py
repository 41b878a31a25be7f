"""How long things take and what fits: plain functions of a device profile; no clock, no loop, no state.

Batching. A runner decodes all its active slots in one batch. Reading the weights is shared, the arithmetic is not, so n
streams together are faster than one but slower than n times one:

    aggregate(n) = single x min(n / (1 + cost x (n - 1)), limit)

With cost 0.206 and limit 2.1 this gives 2.1 at three streams, as an AGX Orin was measured (8.0 -> 17.0 tok/s aggregate for
a 27B model; 15.7 at six, Ait0u5hi/jetson-llm-benchoff). For CPU-only boards, which have little arithmetic to spare, cost
0.7 and limit 1.4 are an assumption. Slots of different models share the device by the same formula: also an assumption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.simulator.profiles import DeviceProfile, ModelSpec

# envconfig and sched.go of Ollama 0.33: a context of 4096 below 24 GiB of graphics memory, three loaded models per GPU or
# CPU, no context below 4 tokens, and none below 2048 for models that see.
DEFAULT_CONTEXT_TOKENS = 4096
MAX_LOADED_MODELS = 3
MIN_CONTEXT_TOKENS = 4
MIN_VISION_CONTEXT_TOKENS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """What the eviction choice has to know of a loaded model."""

    name: str
    size_bytes: int
    in_use: int
    keep_alive_s: float
    last_used_s: float


def batch_gain(device: DeviceProfile, streams: int) -> float:
    """Tell how much faster `streams` streams are together than one alone."""
    if streams <= 1:
        return 1.0
    return min(streams / (1 + device.batch_cost.value * (streams - 1)), device.batch_gain_limit.value)


def token_s(device: DeviceProfile, single_tok_s: float, streams: int) -> float:
    """Give the seconds between two tokens of one stream while `streams` streams decode."""
    return max(streams, 1) / (single_tok_s * batch_gain(device, streams))


def load_s(device: DeviceProfile, model: ModelSpec) -> float:
    """Give the seconds to load a model: starting the runner, and reading the weights from storage."""
    return device.runner_start_s.value + model.size_bytes / device.load_bytes_per_s.value


def memory_bytes(device: DeviceProfile, model: ModelSpec, *, context_tokens: int, slots: int) -> int:
    """Give the memory of a loaded model: weights, a key-value cache for each slot, and the runner's own buffers."""
    cache = model.kv_bytes_per_token * context_tokens * slots
    return model.size_bytes + cache + int(device.runner_overhead_bytes.value)


def slots_for(model: ModelSpec, num_parallel: int) -> int:
    """Give the slots of a runner: Ollama always loads models that only embed with one."""
    return max(num_parallel, 1) if model.can("completion") else 1


def context_for(model: ModelSpec, requested: int | None, default: int) -> int:
    """Give the context a runner is loaded with: as asked, within what Ollama and the model allow."""
    tokens = max(requested if requested is not None else default, MIN_CONTEXT_TOKENS)
    if model.can("vision"):
        tokens = max(tokens, MIN_VISION_CONTEXT_TOKENS)
    return min(tokens, model.context_length)


def must_evict(residents: Sequence[Resident], *, needed_bytes: int, usable_bytes: int) -> bool:
    """Tell whether a model must leave before another of `needed_bytes` comes in."""
    used = sum(resident.size_bytes for resident in residents)
    return len(residents) >= MAX_LOADED_MODELS or used + needed_bytes > usable_bytes


def choose_eviction(residents: Sequence[Resident]) -> Resident | None:
    """Choose who leaves: 1. idle before busy, 2. the shorter keep-alive, 3. the longer unused, 4. by name.

    Ollama orders by 1, 2 and 4; the third makes it least recently used among models with the default keep-alive.
    """
    order = sorted(residents, key=lambda r: (r.in_use > 0, r.keep_alive_s, r.last_used_s, r.name))
    return order[0] if order else None


def human_bytes(count: int) -> str:
    """Write bytes as Ollama does in its memory error."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
