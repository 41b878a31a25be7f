"""What a device's owner should look at, in words: pure, from the readings and from what the backend says. None of it costs the
device a job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from agents.backends import Version
from agents.inventory import Stock
from agents.telemetry import Readings
from common.messages import ModelInfo
from common.throttling import fitting

LOW_DISK_BYTES = 2_000_000_000
"""A model of 1.5 B parameters takes 1 GB, and needs as much again while it is pulled over another."""

LOW_MEMORY = 0.04
"""Of all memory: with less available the kernel has begun to drop the model's own pages, or to swap."""

LOW_BATTERY_PERCENT = 20.0

ON_GPU = 0.95
"""A model with so much of its memory on the GPU runs there; what is left are buffers."""

_MISSES = (
    ((0, 6, 4), "it does not tell which models see images or call tools, so that jobs may go to some that can't"),
    ((0, 10, 0), "it does not tell with how large a context a model is loaded, so that jobs may load it again"),
)
"""The version of Ollama that brought it: `capabilities` in /api/show (release 0.6.4), `context_length` in /api/ps (pull request
11331, release 0.10.0)."""

_VERSION = re.compile(r"v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})", re.ASCII)


def complaints(backend: str, stock: Stock, readings: Readings) -> tuple[str, ...]:
    """Say all of them, the gravest first."""
    return fitting(
        (
            *off_gpu(stock.models, gpu=readings.gpu),
            *short_of(readings),
            *readings.warnings,
            *(too_old(stock.version) if backend == "ollama" else ()),
        )
    )


def off_gpu(models: Sequence[ModelInfo], *, gpu: bool | None) -> Iterator[str]:
    """Name the models in memory that run on the processor, all or in part, of a device that has a GPU."""
    for model in models if gpu else ():
        if not model.loaded or model.memory_bytes <= 0 or model.gpu_bytes >= ON_GPU * model.memory_bytes:
            continue
        part = "partly " if model.gpu_bytes else ""
        on_gpu = f"{model.gpu_bytes / 1e9:.1f}" if model.gpu_bytes else "0"
        yield f"{model.name[:80]} runs {part}on the CPU: size_vram {on_gpu} of {model.memory_bytes / 1e9:.1f} GB"


def short_of(readings: Readings) -> Iterator[str]:
    """Say what is about to run out."""
    free, disk = readings.disk_free_bytes, readings.disk_total_bytes
    if free is not None and disk and free < LOW_DISK_BYTES:
        yield f"low disk: {free / 1e9:.1f} of {disk / 1e9:.0f} GB free where the models are, too little to pull one"
    available, memory = readings.memory_available_bytes, readings.memory_total_bytes
    if available is not None and memory and available < LOW_MEMORY * memory:
        yield f"low memory: {max(0, available) / 1e6:.0f} MB of {memory / 1e9:.1f} GB available"
    percent = readings.battery_percent
    if readings.on_battery and percent is not None and percent < LOW_BATTERY_PERCENT:
        yield f"low battery: {percent:.0f} %"


def too_old(version: Version | None) -> Iterator[str]:
    """Say what an old Ollama lacks. 0.0.0 is how one names itself that was built from source."""
    found = _VERSION.match(version.text) if version else None
    if found is None:
        return
    number = (int(found[1]), int(found[2]), int(found[3]))
    for least, misses in _MISSES:
        if (0, 0, 0) < number < least:
            yield f"Ollama {found[0]} is too old: {misses}; install {'.'.join(map(str, least))} or newer"
            return
