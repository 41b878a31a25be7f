"""Pretends to download a model from a registry, with Ollama's progress lines; it downloads nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from agents.simulator import wire
from agents.simulator.answering import Simulator
from agents.simulator.errors import Refused
from agents.simulator.library import is_valid
from agents.simulator.profiles import ModelSpec
from agents.simulator.wire import Line

_STEPS = 20


async def pull(sim: Simulator, name: str) -> AsyncGenerator[Line]:
    """Give the progress of a pull, and install the model at its end; raise Refused."""
    if not is_valid(name):
        raise Refused(400, "invalid model name")
    yield wire.progress("pulling manifest")
    spec = sim.library.published(name)
    if spec is None:
        raise Refused(500, "pull model manifest: file does not exist")
    async for line in _layer(sim, spec):
        yield line
    yield wire.progress("verifying sha256 digest")
    yield wire.progress("writing manifest")
    sim.library.add(spec)
    yield wire.progress("success")


async def _layer(sim: Simulator, spec: ModelSpec) -> AsyncGenerator[Line]:
    total, digest = spec.size_bytes, spec.digest
    have = total if sim.library.find(spec.name) is not None else 0
    status = f"pulling {digest[:12]}"
    step_s = total / sim.stage.engine.device.download_bytes_per_s.value / _STEPS
    while True:
        yield wire.progress(status, digest=f"sha256:{digest}", total=total, completed=have)
        if have >= total:
            return
        await sim.stage.clock.sleep(step_s)
        have = min(have + total // _STEPS + 1, total)
