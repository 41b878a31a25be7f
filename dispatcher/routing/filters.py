"""Hard filters: what takes a device, or one model on it, out of the choice, and the reason in words; no scores here."""

from __future__ import annotations

from collections.abc import Mapping

from common.messages import DeviceState, ModelInfo
from dispatcher.breaker import BreakerState
from dispatcher.fleet import Device, Liveness
from dispatcher.outcomes import Removed
from dispatcher.routing.features import Features

WORKING_SET = 1.15
"""Memory for a model over its file size: KV cache and buffers at the default context; an assumption, on the low side, since the
device itself has the last word."""

_GIB = 1024**3


def device_filter(device: Device, *, pinned: str | None, excluded: Mapping[str, str]) -> Removed | None:
    """Say why a device is out. 1. Pin. 2. Tried already. 3. Not alive. 4. Not ready. 5. Its breaker."""
    name = device.name
    if pinned is not None and name != pinned:  # 1
        return Removed(name, "pin", f"the request asks for {pinned}", for_now=False)
    if name in excluded:  # 2
        return Removed(name, "tried", f"tried already: {excluded[name]}", for_now=False)
    if device.liveness is not Liveness.ALIVE:  # 3
        left = device.beat.state is DeviceState.STOPPED
        return Removed(
            name,
            "health",
            "it signed off" if left else f"it is {device.liveness}",
            for_now=device.liveness is Liveness.SUSPECT,
        )
    if device.beat.state is not DeviceState.READY:  # 4
        why = f": {device.beat.reason}" if device.beat.reason else ""
        # Only a device that starts is worth waiting for: nobody knows when a faulty one is well again, and /health says so too.
        return Removed(
            name, "health", f"it is {device.beat.state}{why}", for_now=device.beat.state is DeviceState.STARTING
        )
    if device.breaker.state is BreakerState.OPEN:  # 5
        breaker = device.breaker
        return Removed(
            name, "breaker", f"it failed {breaker.failures} times in a row, last: {breaker.why}", for_now=False
        )
    return None


def model_filter(device: Device, model: ModelInfo, wanted: Features) -> Removed | None:
    """Say why a model on a device is out. 1. It makes no text. 2. Images. 3. Tools. 4. Context. 5. Memory.

    1 and 2 also keep `auto` away from models that are for something else.
    """
    can = model.capabilities
    if can and "completion" not in can:  # 1
        return _out(device, model, "capability", "it does not chat")
    if can and wanted.images and "vision" not in can:  # 2
        return _out(device, model, "capability", "it can't see images")
    if can and wanted.tools and "tools" not in can:  # 3
        return _out(device, model, "capability", "it can't call tools")
    short = _context_filter(device, model, wanted)  # 4
    if short is not None:
        return short
    return _memory_filter(device, model)  # 5


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
    """A loaded model fits; another one must fit beside nothing else, or beside what is in use now."""
    total = device.beat.memory_total_bytes
    if model.loaded or total is None:
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
