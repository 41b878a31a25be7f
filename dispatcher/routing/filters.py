"""Hard filters: what takes a device, or one model on it, out of the choice, and the reason in words; no scores here."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag

from common.messages import AUTO, DeviceState, ModelInfo
from dispatcher.breaker import BreakerState
from dispatcher.fleet import Device, Liveness
from dispatcher.outcomes import Removed
from dispatcher.routing.features import Features

WORKING_SET = 1.15
"""Memory for a model over its file size: KV cache and buffers at the default context; an assumption, on the low side, since the
device itself has the last word."""

_GIB = 1024**3


def device_filter(device: Device, *, pinned: str | None, excluded: Mapping[str, str]) -> Removed | None:
    """Say why a device is out. 1. Pin. 2. Tried already. 3. What it is, whoever asks: `standing`."""
    name = device.name
    if pinned is not None and name != pinned:  # 1
        return Removed(name, "pin", f"the request asks for {pinned}", for_now=False)
    if name in excluded:  # 2
        return Removed(name, "tried", f"tried already: {excluded[name]}", for_now=False)
    return standing(device)  # 3


def standing(device: Device) -> Removed | None:
    """Say why a device is out whatever is asked. 1. Not alive. 2. Not ready. 3. Its breaker."""
    name = device.name
    if device.liveness is not Liveness.ALIVE:  # 1
        left = device.beat.state is DeviceState.STOPPED
        return Removed(
            name,
            "health",
            "it signed off" if left else f"it is {device.liveness}",
            for_now=device.liveness is Liveness.SUSPECT,
        )
    if device.beat.state is not DeviceState.READY:  # 2
        why = f": {device.beat.reason}" if device.beat.reason else ""
        # Only a device that starts is worth waiting for: nobody knows when a faulty one is well again, and /health says so too.
        return Removed(
            name, "health", f"it is {device.beat.state}{why}", for_now=device.beat.state is DeviceState.STARTING
        )
    if device.breaker.state is BreakerState.OPEN:  # 3
        breaker = device.breaker
        return Removed(
            name, "breaker", f"it failed {breaker.failures} times in a row, last: {breaker.why}", for_now=False
        )
    return None


def without_model(device: Device, wanted: str, *, sure: bool) -> Removed | None:
    """Say that a device has not what is wanted; when not `sure`, only one that lists other models."""
    if wanted in device.models or (wanted == AUTO and device.models) or not (sure or device.models):
        return None
    return Removed(
        device.name, "model", "it has no models" if wanted == AUTO else f"{wanted} is not installed", for_now=False
    )


def model_filter(device: Device, model: ModelInfo, wanted: Features) -> Removed | None:
    """Say why a model on a device is out. 1. It is of another kind. 2. Images. 3. Tools. 4. Context. 5. Memory.

    1 and 2 also keep `auto` away from models that are for something else.
    """
    able = abilities(device, model)
    if not able & kind_needed(wanted):  # 1
        return _out(device, model, "capability", _of_another_kind(model, wanted))
    if wanted.images and not able & Ability.VISION:  # 2
        return _out(device, model, "capability", "it can't see images")
    if wanted.tools and not able & Ability.TOOLS:  # 3
        return _out(device, model, "capability", "it can't call tools")
    short = _context_filter(device, model, wanted)  # 4
    if short is not None:
        return short
    return unfit(device, model)  # 5


def unfit(device: Device, model: ModelInfo) -> Removed | None:
    """Say why a model on a device is out whatever is asked. 1. It makes neither text nor embeddings. 2. Memory."""
    if not abilities(device, model) & (Ability.TEXT | Ability.EMBEDDING):  # 1
        return _out(device, model, "capability", NO_CHAT)
    return _memory_filter(device, model)  # 2


class Ability(IntFlag):
    """What a model can do, as one number."""

    TEXT = 1
    VISION = 2
    TOOLS = 4
    EMBEDDING = 8


_WORDS = {
    "completion": Ability.TEXT,
    "vision": Ability.VISION,
    "tools": Ability.TOOLS,
    "embedding": Ability.EMBEDDING,
}

NO_CHAT, NO_EMBEDDINGS = "it does not chat", "it makes no embeddings"
"""Why a model is out that is of another kind than what is asked."""


def abilities(device: Device, model: ModelInfo) -> Ability:
    """Give what a model can do on a device; one that does not say is taken to do all, since its device has the last word. What an
    agent does not know of, none of its models can."""
    said = set(model.capabilities) or _WORDS.keys()
    able = Ability(sum(_WORDS[word] for word in said if word in _WORDS))
    return able if device.beat.embeds else able & ~Ability.EMBEDDING


def kind_needed(wanted: Features) -> Ability:
    """Give what kind of model a request needs."""
    return Ability.EMBEDDING if wanted.embeds else Ability.TEXT


def needed(wanted: Features) -> int:
    """Give all that a request needs, as the number that a table holds."""
    need = kind_needed(wanted).value
    if wanted.images:
        need |= Ability.VISION.value
    return need | Ability.TOOLS.value if wanted.tools else need


def _of_another_kind(model: ModelInfo, wanted: Features) -> str:
    if not wanted.embeds:
        return NO_CHAT
    says_so = not model.capabilities or "embedding" in model.capabilities
    return "its agent is too old to embed: update it" if says_so else NO_EMBEDDINGS


def _context_filter(device: Device, model: ModelInfo, wanted: Features) -> Removed | None:
    """An engine cuts what its context can't hold, without a word: neither the model nor the device's memory may be too small."""
    trained, most = model.context_tokens, model.most_context_tokens
    need = f"the request needs a context of about {wanted.context_tokens} tokens"
    if trained and wanted.context_tokens > trained:
        return _out(device, model, "context", f"{need}, and the model's is {trained}")
    if most is not None and wanted.context_tokens > most:
        return _out(device, model, "context_memory", f"{need}, and the device's memory holds {most}", for_now=False)
    return None


def _memory_filter(device: Device, model: ModelInfo) -> Removed | None:
    """A model in memory fits; another one must fit beside nothing else, or beside what is in use now."""
    total = device.beat.memory_total_bytes
    if total is None or device.holds(model):
        return None
    need = model.size_bytes * WORKING_SET
    if need > total:
        return _out(
            device, model, "memory", f"needs about {need / _GIB:.1f} GiB, and the device has {total / _GIB:.1f} GiB"
        )
    available = device.beat.memory_available_bytes
    if available is None:
        return None
    evictable = sum(other.memory_bytes for other in device.models.values() if other.loaded)
    if need > available + evictable:
        return _out(
            device,
            model,
            "memory",
            f"needs about {need / _GIB:.1f} GiB, and {(available + evictable) / _GIB:.1f} GiB can be freed",
            for_now=True,
        )
    return None


def _out(device: Device, model: ModelInfo, kind: str, reason: str, *, for_now: bool = False) -> Removed:
    return Removed(device.name, kind, reason, for_now=for_now, model=model.name)
