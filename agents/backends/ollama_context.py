"""How large a context Ollama is asked for: plain arithmetic on what is needed, loaded and possible; it asks nobody.

Ollama cuts a prompt that does not fit its runner's context, from the front and without a word, and loads the model anew when
the size differs from what is loaded (server/prompt.go and sched.go of Ollama 0.33). So the size is asked for with every job that
needs it, in few steps, and never below what is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import ContextTooLong, ModelNotLoadable
from common.messages import ModelInfo, Options
from common.prompts import TOKENS_PER_MESSAGE, ContextNeed, text_tokens

SURE_DEFAULT_TOKENS = 2048
"""The least that any Ollama takes when nothing is said: 2048 up to 0.6, then 4096, and more on large graphics cards."""

LEAST_STEP_TOKENS = 4096
"""The smallest size that is asked for: what Ollama would take by itself on most devices."""

GRAIN_TOKENS = 256
"""llama.cpp rounds contexts up to this."""

RUNNER_BYTES = 100_000_000
"""Buffers of a runner besides weights and cache; on the low side, since Ollama itself refuses what does not fit."""


def chosen(
    need: ContextNeed, model: str, info: ModelInfo | None, *, held: int | None, default: int | None
) -> int | None:
    """Choose the context to ask for; None leaves it to Ollama, whose own choice is large enough.

    `held` is what the model is loaded with, or was last asked for; `default` what Ollama takes by itself, where known. 1. More than
    the model can: `ContextTooLong`. 2. What is loaded, if it is enough. 3. What Ollama takes by itself, likewise. 4. The next power
    of two, within what the model and the device's memory allow; `ModelNotLoadable` when the memory is the limit.
    """
    trained = info.context_tokens if info else None
    if trained and need.least > trained:  # 1
        raise too_long(need, model, trained)
    if held and held >= need.least:  # 2
        return held
    if need.wished <= (default or SURE_DEFAULT_TOKENS) and not held:  # 3
        return None
    step = max(LEAST_STEP_TOKENS, 1 << (need.wished - 1).bit_length())
    most = info.most_context_tokens if info else None
    sizes = [step, *([trained] if trained else []), *([most] if most is not None else [])]  # 4
    if min(sizes) >= need.least:
        return max(min(sizes), held or 0)
    raise no_memory(need, model, min(sizes))


def longest(texts: Sequence[str], options: Options, info: ModelInfo | None) -> ContextNeed:
    """Say how large a context texts to embed need, each of which has it to itself: enough for the longest, as far as model and
    memory allow. What is longer Ollama cuts, or refuses, as the request says: it counts, and here is an estimate."""
    asked = max(options.context_tokens or 0, *(text_tokens(text) + TOKENS_PER_MESSAGE for text in texts))
    limits = [info.context_tokens, info.most_context_tokens] if info else []
    need = min([asked, *(limit for limit in limits if limit)])
    return ContextNeed(prompt=need, least=need, wished=need)


def too_long(need: ContextNeed, model: str, limit: int) -> ContextTooLong:
    """Say that the model itself is the limit."""
    return ContextTooLong(
        f"{model} has a context of {limit} tokens, and the request needs about {need.least} ({need.prompt} of them for the "
        "prompt, by a careful estimate): shorten it, ask for a shorter answer (max_tokens), or for a model with a longer context",
        param="messages",
        model=model,
        estimated_tokens=need.least,
        prompt_tokens=need.prompt,
        context_tokens=limit,
    )


def no_memory(need: ContextNeed, model: str, limit: int) -> ModelNotLoadable:
    """Say that the device's memory is the limit; another device may have more."""
    return ModelNotLoadable(
        f"this device's memory holds {model} with a context of {limit} tokens, and the request needs about {need.least} "
        f"({need.prompt} of them for the prompt, by a careful estimate): use another device, or a smaller model",
        model=model,
        estimated_tokens=need.least,
        prompt_tokens=need.prompt,
        context_tokens=limit,
    )


def most_tokens(
    info: ModelInfo, cache_bytes: int | None, *, slots: int, total_bytes: int | None, free_bytes: int | None
) -> int | None:
    """Give the largest context that the memory allows, within what the model can; None where that can't be told.

    `cache_bytes` is what one token costs in the cache of one slot; `free_bytes` is what the device can make free, all models out.
    """
    if not (info.context_tokens and cache_bytes and total_bytes):
        return None
    room = min(total_bytes, total_bytes if free_bytes is None else free_bytes) - info.size_bytes - RUNNER_BYTES
    most = min(room // (cache_bytes * slots) // GRAIN_TOKENS * GRAIN_TOKENS, info.context_tokens)
    # A model that does not fit at all is another matter, and Ollama's own figures decide it. What is loaded, fits.
    most = max(most, SURE_DEFAULT_TOKENS, info.loaded_context_tokens or 0)
    return min(most, info.context_tokens)


def require_room(info: ModelInfo, total_bytes: int | None) -> None:
    """Raise `ModelNotLoadable` for a model whose weights alone are larger than all of the memory; the rest Ollama knows better."""
    if total_bytes is not None and info.size_bytes + RUNNER_BYTES > total_bytes:
        raise ModelNotLoadable(
            f"{info.name} has {info.size_bytes / 1e9:.1f} GB, and this device's memory {total_bytes / 1e9:.1f} GB: take a smaller "
            "model or another device",
            model=info.name,
        )


def cache_bytes_per_token(shown: Mapping[str, Any]) -> int | None:
    """Work out what a token costs in the key-value cache, at 16 bits, from `/api/show`; None where the model does not say, or
    keeps only a window of it."""
    family = shown.get("general.architecture")

    def number(key: str) -> int | None:
        value = shown.get(f"{family}.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

    if number("attention.sliding_window"):
        return None
    layers, heads, width = number("block_count"), number("attention.head_count"), number("embedding_length")
    sharing = _cached_heads(shown.get(f"{family}.attention.head_count_kv"), layers) or (
        heads * layers if heads and layers else None
    )
    size = width // heads if width and heads else None
    key, value = number("attention.key_length") or size, number("attention.value_length") or size
    return sharing * (key + value) * 2 if sharing and key and value else None


def _cached_heads(value: Any, layers: int | None) -> int | None:
    """Count the cached heads of all layers: a number for each, or one list of them."""
    if isinstance(value, int) and not isinstance(value, bool) and layers:
        return value * layers
    if isinstance(value, Sequence) and value and all(isinstance(one, int) for one in value):
        return sum(value)
    return None


class Held:
    """What each model is loaded with, as far as is known: as last listed, or as last asked for by a job since."""

    def __init__(self) -> None:
        self._tokens: dict[str, int] = {}
        self._users: dict[str, int] = {}
        self._touched: dict[str, int] = {}
        self._count = 0

    def of(self, model: str) -> int | None:
        """Give it; None for a model that is not loaded, or that nothing was said about."""
        return self._tokens.get(model)

    def begin(self, model: str, tokens: int | None) -> None:
        """A job asks for the model with so many."""
        self._touch(model)
        self._users[model] = self._users.get(model, 0) + 1
        if tokens is not None:
            self._tokens[model] = max(tokens, self._tokens.get(model, 0))

    def end(self, model: str) -> None:
        """That job has left."""
        self._touch(model)
        self._users[model] -= 1

    def mark(self) -> int:
        """Give a mark for the moment at which a listing is asked for."""
        return self._count

    def listed(self, loaded: Mapping[str, int], mark: int) -> None:
        """Take what a listing says; not of models that a job has used since it was asked for, or uses now."""
        for model in self._tokens.keys() | loaded.keys():
            if self._users.get(model) or self._touched.get(model, -1) >= mark:
                continue
            if loaded.get(model):
                self._tokens[model] = loaded[model]
            else:
                self._tokens.pop(model, None)

    def _touch(self, model: str) -> None:
        self._touched[model] = self._count
        self._count += 1
