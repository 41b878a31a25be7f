"""Loads a model because somebody asks for it, ahead of any job: one at a time, in a slot of its own; it knows neither bus nor
vendor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from agents.inventory import Stock
from agents.slots import LOADING, Slots
from common.clock import Clock
from common.errors import BackendError, DeviceBusy, FleetError, UnknownModel
from common.load_orders import MOST_WAIT_S, WAIT_S
from common.logs import get_logger
from common.messages import ModelInfo
from common.virtual import LATEST

log = get_logger("loading")

MOST_NAMED = 20
"""Models that a refusal names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """How it stands: `done` is false where it still loads when nobody waits any more; heartbeats then tell when it is there."""

    model: str
    done: bool
    seconds: float


class Engine(Protocol):
    """What loads; it raises the typed errors of `common.errors`."""

    async def load(self, model: ModelInfo, keep_s: float | None) -> None:
        """Return when a model is in memory, to stay for `keep_s` without work, or as long as any."""
        ...


class Loader:
    """Loads models of one engine. `stock` says what it has, `changed` is called when a load begins or has ended; it must return at
    once."""

    def __init__(
        self,
        engine: Engine,
        slots: Slots,
        stock: Callable[[], Stock],
        group: asyncio.TaskGroup,
        *,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._slots = slots
        self._stock = stock
        self._group = group
        self._clock = clock
        self._changed = changed
        self._current: asyncio.Task[FleetError | None] | None = None
        self._model = ""

    async def load(self, name: str, keep_s: float | None = None, *, wait_s: float = WAIT_S) -> Loaded:
        """Load a model, and say within `wait_s` how that stands.

        1. One that the device does not have: `UnknownModel`. 2. Whoever asks for the model that loads waits for that load, whatever
        time it was to stay. 3. Another one, or no slot, is `DeviceBusy`. Raises what the engine says.
        """
        model = self._known(name)  # 1
        current, started_s = self._current, self._clock.monotonic()
        if current is None or current.done() or model.name != self._model:
            current = self._begun(model, keep_s)
        try:
            async with asyncio.timeout(wait_s):
                fault = await asyncio.shield(current)  # 2
        except TimeoutError:
            return Loaded(model=model.name, done=False, seconds=self._clock.monotonic() - started_s)
        if fault is not None:
            raise fault
        return Loaded(model=model.name, done=True, seconds=self._clock.monotonic() - started_s)

    def close(self) -> None:
        """Drop the load that goes on: the agent goes."""
        if self._current is not None:
            self._current.cancel()

    def _known(self, name: str) -> ModelInfo:
        there = {model.name: model for model in self._stock().models}
        found = there.get(name) or there.get(f"{name}{LATEST}") or there.get(name.removesuffix(LATEST))
        if found is None:
            names = ", ".join(sorted(there)[:MOST_NAMED]) or "none yet"
            raise UnknownModel(f"this device has no model {name[:80]!r}; it has: {names}", model=name[:80])
        return found

    def _begun(self, model: ModelInfo, keep_s: float | None) -> asyncio.Task[FleetError | None]:
        if self._current is not None and not self._current.done():  # 3
            raise DeviceBusy(
                f"the device loads {self._model} for somebody: ask again when it is done", model=self._model
            )
        with ExitStack() as held:
            held.enter_context(self._slots.take(LOADING))
            self._model = model.name
            self._current = self._group.create_task(self._run(model, keep_s, held.pop_all()))
        self._changed()
        return self._current

    async def _run(self, model: ModelInfo, keep_s: float | None, held: ExitStack) -> FleetError | None:
        """Load it, and give what was in the way: nobody may be there any more to hear of it."""
        started_s = self._clock.monotonic()
        fault: FleetError | None = None
        try:
            with held:
                async with asyncio.timeout(MOST_WAIT_S):
                    await self._engine.load(model, keep_s)
        except TimeoutError:
            fault = BackendError(
                f"{model.name} was not loaded within {MOST_WAIT_S:g} s: see the log of what runs the models"
            )
        except FleetError as error:
            fault = error
        finally:
            self._changed()
        seconds = round(self._clock.monotonic() - started_s, 3)
        if fault is None:
            log.info("model.loaded", model=model.name, seconds=seconds)
        else:
            log.warning("model.not_loaded", model=model.name, seconds=seconds, code=fault.code, error=fault.message)
        return fault
