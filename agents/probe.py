"""Confirms on request that the engine lives: one token of a model that is in memory; it knows neither bus nor vendor.

An Ollama that hangs goes on telling what is loaded. Only a token proves that it computes, and a token costs time that jobs
could use, so nobody probes without a suspicion. Nothing is ever loaded for a probe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from agents.liveness import EngineLiveness
from common.clock import Clock
from common.errors import DeviceBusy, FleetError
from common.logs import get_logger
from common.messages import ModelInfo

log = get_logger("probe")

DEFAULT_S = 5.0
MOST_S = 30.0
"""The longest that anybody may wait, and the longest that one probe goes on."""

AGAIN_S = 10.0
"""How often a doubted engine is probed: it gets no jobs that could clear it."""

LEAST_STAY_S = 2.0
"""A model that leaves the memory sooner might be gone before the probe arrives, which would load it again."""


class Verdict(StrEnum):
    """How a probe ended."""

    OK = "ok"
    FAILED = "failed"
    BUSY = "busy"  # it would wait behind jobs, and so prove nothing
    NOTHING_LOADED = "nothing_loaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The outcome. `silent_s`, of a busy engine, is the time since it produced anything for any attempt."""

    verdict: Verdict
    model: str | None = None
    seconds: float | None = None
    silent_s: float | None = None
    error: str | None = None


class Engine(Protocol):
    """What is probed; both methods raise the typed errors of `common.errors`."""

    async def in_memory(self) -> Sequence[ModelInfo]:
        """List the models that are in memory at this moment."""
        ...

    async def one_token(self, model: ModelInfo) -> None:
        """Return when a model that is in memory has produced a token, without any change of how it is loaded."""
        ...


class Work(Protocol):
    """What else the engine does."""

    @property
    def full(self) -> bool: ...

    @property
    def loading(self) -> AbstractSet[str]: ...

    @property
    def silent_s(self) -> float | None: ...

    @property
    def fault(self) -> str | None: ...


class Prober:
    """Probes one engine, once at a time: who asks meanwhile gets the same outcome."""

    def __init__(
        self,
        engine: Engine,
        work: Work,
        liveness: EngineLiveness,
        group: asyncio.TaskGroup,
        *,
        clock: Clock,
        again_s: float = AGAIN_S,
    ) -> None:
        self._engine = engine
        self._work = work
        self._liveness = liveness
        self._group = group
        self._clock = clock
        self._again_s = again_s
        self._current: asyncio.Task[Probe] | None = None
        self._model: str | None = None

    async def probe(self, within_s: float = DEFAULT_S) -> Probe:
        """Probe, and give the outcome within `within_s`. A probe that fails makes the engine doubted.

        1. A probe that goes on is joined. 2. All slots are taken: busy. 3. A probe of its own. 4. No token in time: failed; the
        probe goes on to its own limit, and may still clear the engine.
        """
        current = self._current  # 1
        if current is None or current.done():
            if self._work.full:  # 2
                return self._busy()
            self._model = None
            current = self._current = self._group.create_task(self._run())  # 3
        started_s = self._clock.monotonic()
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.shield(current)
        except TimeoutError:  # 4
            return self._failed(f"no token within {within_s:g} s", self._clock.monotonic() - started_s)

    async def watch(self) -> None:
        """Probe an engine that is doubted, whoever doubts it, until it is not; runs as long as the agent."""
        while True:
            await asyncio.sleep(self._again_s)
            if self._work.fault is not None:
                await self.probe()

    def close(self) -> None:
        """Drop the probe that goes on: the agent goes."""
        if self._current is not None:
            self._current.cancel()

    async def _run(self) -> Probe:
        started_s = self._clock.monotonic()
        try:
            async with asyncio.timeout(MOST_S):
                outcome = await self._ask()
        except DeviceBusy:
            return self._busy()
        except TimeoutError:
            return self._failed(f"no token within {MOST_S:g} s", self._clock.monotonic() - started_s)
        except FleetError as error:
            return self._failed(error.message, self._clock.monotonic() - started_s)
        if outcome is Verdict.BUSY:
            return self._busy()
        if outcome is Verdict.NOTHING_LOADED:
            self._liveness.trust()  # without a model in memory there is no engine that could hang
            return Probe(verdict=outcome)
        self._liveness.beat()
        return Probe(verdict=outcome, model=self._model, seconds=self._clock.monotonic() - started_s)

    async def _ask(self) -> Verdict:
        """Have a token produced; 1. nothing is in memory 2. all that is loads for a job 3. the model that stays longest."""
        models = await self._engine.in_memory()
        staying = [model for model in models if _answers(model, self._clock.unix_s())]
        free = [model for model in staying if model.name not in self._work.loading]
        if not staying:  # 1
            return Verdict.NOTHING_LOADED
        if not free:  # 2
            return Verdict.BUSY
        chosen = max(free, key=lambda model: (model.expires_unix_s or 0.0, model.name))
        self._model = chosen.name
        await self._engine.one_token(chosen)  # 3
        return Verdict.OK

    def _busy(self) -> Probe:
        return Probe(verdict=Verdict.BUSY, silent_s=self._work.silent_s)

    def _failed(self, error: str, seconds: float) -> Probe:
        of = f" of {self._model}" if self._model else ""
        self._liveness.doubt(f"its engine did not answer a one-token probe{of} ({error}): restart it if this goes on")
        log.info("probe.failed", model=self._model, seconds=round(seconds, 3), error=error)
        return Probe(verdict=Verdict.FAILED, model=self._model, seconds=seconds, error=error)


def _answers(model: ModelInfo, now_unix_s: float) -> bool:
    """Tell whether a model makes text and stays long enough to be asked."""
    if model.capabilities and "completion" not in model.capabilities:
        return False
    return model.expires_unix_s is None or model.expires_unix_s > now_unix_s + LEAST_STAY_S
