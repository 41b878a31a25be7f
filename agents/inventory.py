"""What the backend has: its models, its version, and whether it answers; asked beside the heartbeat, so as never to hold it up.

It knows no job; whoever finishes one nudges it, because a load or an unload may have come with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agents.backends import Backend, Version
from common.errors import FleetError
from common.logs import get_logger
from common.messages import ModelInfo

log = get_logger("inventory")

LEAST_S = 0.25
"""Time between two looks at least, however many jobs finish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What was seen last. `fault` says why the backend does not answer; the models are then those seen before."""

    seen: bool = False
    models: tuple[ModelInfo, ...] = ()
    version: Version | None = None
    fault: str | None = None


class Inventory:
    """Looks every `poll_s`, and when nudged; `changed` is called when what it sees differs."""

    def __init__(self, backend: Backend, *, poll_s: float, changed: Callable[[], None]) -> None:
        self.stock = Stock()
        self._backend = backend
        self.poll_s = poll_s
        self._changed = changed
        self._nudged = asyncio.Event()
        self._loaded: frozenset[str] = frozenset()

    def nudge(self) -> None:
        """Look soon."""
        self._nudged.set()

    def is_loaded(self, model: str) -> bool:
        """Tell whether the model was in memory when last seen."""
        return model in self._loaded or f"{model}:latest" in self._loaded

    @property
    def holds_any(self) -> bool:
        """Tell whether any model was in memory when last seen."""
        return bool(self._loaded)

    async def watch(self) -> None:
        """Look again and again; runs as long as the agent."""
        while True:
            self._nudged.clear()
            await self.look()
            await asyncio.sleep(LEAST_S)
            try:
                async with asyncio.timeout(self.poll_s - LEAST_S):
                    await self._nudged.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Ask the backend once, and note what changed."""
        before = self.stock
        try:
            models, version = await self._backend.models(), await self._backend.version()
        except FleetError as error:
            self._out_of_sight(error.message)
        except Exception as error:
            # A backend must not raise it; a device that is faulty until somebody reads the log beats one that is gone.
            fault = f"the agent could not read its backend ({type(error).__name__}): its log says more"
            if fault != before.fault:
                log.exception("inventory.crashed")
            self._out_of_sight(fault)
        else:
            self.stock = Stock(seen=True, models=models, version=version)
            self._loaded = frozenset(model.name for model in models if model.loaded)
        self._note(before, self.stock)

    def _out_of_sight(self, fault: str) -> None:
        self.stock = Stock(seen=True, models=self.stock.models, version=self.stock.version, fault=fault)
        self._loaded = frozenset()

    def _note(self, before: Stock, now: Stock) -> None:
        if now.fault and now.fault != before.fault:
            log.warning("backend.faulty", reason=now.fault)
        elif before.fault and not now.fault:
            log.info("backend.recovered", models=len(now.models))
        elif not before.seen:
            log.info(
                "backend.ready", models=[model.name for model in now.models], version=now.version and now.version.text
            )
        if before != now:
            self._changed()
