"""Loads models, hands out their slots and keeps them alive, as Ollama's scheduler does; it does not know what is generated.

The order of things is that of Ollama 0.33 (server/sched.go, llm/llama_server.go):

- One model loads at a time. Requests that need a load wait in turn; beyond `max_queue` of them Ollama answers 503.
- A request for a model that is loaded never meets that queue: it waits for a slot, without bound. So a busy Ollama gives
  no back-pressure, which is what an agent has to make up for (ollama issue 7758).
- A load belongs to the request that caused it: when that client hangs up, the load is given up, and the next in turn starts
  anew.
- A model that does not fit beside the others makes idle ones leave; when none is idle, it waits for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from agents.simulator.clock import FOREVER_S, DeviceClock
from agents.simulator.errors import Refused, ServerBusy
from agents.simulator.meter import Meter, Phase
from agents.simulator.performance import (
    DEFAULT_CONTEXT_TOKENS,
    Resident,
    choose_eviction,
    context_for,
    human_bytes,
    load_s,
    memory_bytes,
    must_evict,
    slots_for,
)
from agents.simulator.profiles import DeviceProfile, ModelSpec
from agents.simulator.prompts import PromptCache


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The knobs that Ollama reads from its environment."""

    num_parallel: int = 1
    max_queue: int = 512
    keep_alive_s: float = 300.0
    context_tokens: int | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Runner:
    """A loaded model. Changed by the engine only."""

    model: ModelSpec
    context_tokens: int
    automatic_context: bool
    size_bytes: int
    slots: asyncio.Semaphore
    prompts: PromptCache
    keep_alive_s: float
    in_use: int = 0
    last_used_s: float = 0.0
    expires_at_s: float | None = None
    leaving: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, kw_only=True)
class Counters:
    """What has happened since the start."""

    accepted: int = 0
    completed: int = 0
    failed: int = 0
    aborted_by_client: int = 0
    rejected_503: int = 0
    loads: int = 0
    loads_aborted: int = 0
    evictions: int = 0


class Engine:
    """The loaded models and their slots."""

    def __init__(self, device: DeviceProfile, clock: DeviceClock, meter: Meter, limits: Limits) -> None:
        self.device = device
        self.counters = Counters()
        self.in_slots = 0
        self.waiting = 0
        self._clock = clock
        self._meter = meter
        self._limits = limits
        self._turn = asyncio.Lock()
        self._in_turn = 0
        self._loading_bytes = 0
        self._loaded: dict[str, Runner] = {}

    @asynccontextmanager
    async def lease(
        self, model: ModelSpec, *, context_tokens: int | None, keep_alive_s: float | None, slowdown: float = 1.0
    ) -> AsyncIterator[Runner]:
        """Hold a loaded model, loading it first if need be; raise Refused when it can't be."""
        runner = self._ready(model, context_tokens)
        if runner is None:
            runner = await self._load_in_turn(model, context_tokens, slowdown)
        else:
            self._hold(runner)
        if keep_alive_s is not None:
            runner.keep_alive_s = keep_alive_s
        try:
            yield runner
        finally:
            self._let_go(runner)

    @asynccontextmanager
    async def slot(self, runner: Runner) -> AsyncIterator[float]:
        """Wait for one of the model's slots, and hold it; give the device seconds that were waited."""
        asked_s = self._clock.now_s()
        self.waiting += 1
        try:
            await runner.slots.acquire()
        finally:
            self.waiting -= 1
        self.in_slots += 1
        try:
            yield self._clock.now_s() - asked_s
        finally:
            self.in_slots -= 1
            runner.slots.release()

    def expire(self, model: ModelSpec) -> None:
        """Unload a model: now if nobody uses it, else when the last one is done."""
        runner = self._loaded.get(model.name)
        if runner is not None:
            runner.keep_alive_s = 0.0
            self._rest(runner)

    def runners(self) -> list[Runner]:
        """Give the loaded models, the one that stays longest first."""
        return sorted(self._loaded.values(), key=self.remaining_s, reverse=True)

    def remaining_s(self, runner: Runner) -> float:
        """Give the device seconds until a model leaves if nobody asks for it again."""
        if runner.expires_at_s is None:
            return runner.keep_alive_s
        return max(runner.expires_at_s - self._clock.now_s(), 0.0)

    def memory_available_bytes(self) -> int:
        """Give the memory that neither the system, nor loaded models, nor a load under way uses."""
        return self.device.memory_usable_bytes - sum(r.size_bytes for r in self._loaded.values()) - self._loading_bytes

    @property
    def queued(self) -> int:
        """Count the requests that wait: for their turn to load, or for a slot."""
        return self._in_turn + self.waiting

    def _default_context(self) -> int:
        return self._limits.context_tokens or DEFAULT_CONTEXT_TOKENS

    def _ready(self, model: ModelSpec, context_tokens: int | None) -> Runner | None:
        runner = self._loaded.get(model.name)
        if runner is None or runner.leaving:
            return None
        automatic = context_tokens is None and self._limits.context_tokens is None
        same = context_for(model, context_tokens, self._default_context()) == runner.context_tokens
        return runner if same or (automatic and runner.automatic_context) else None

    async def _load_in_turn(self, model: ModelSpec, context_tokens: int | None, slowdown: float) -> Runner:
        if self._turn.locked() and self._in_turn >= self._limits.max_queue:
            raise ServerBusy
        self._in_turn += 1
        try:
            await self._turn.acquire()
        finally:
            self._in_turn -= 1
        try:
            runner = self._ready(model, context_tokens) or await self._load(model, context_tokens, slowdown)
            self._hold(runner)
            return runner
        finally:
            self._turn.release()

    async def _load(self, model: ModelSpec, context_tokens: int | None, slowdown: float) -> Runner:
        slots = slots_for(model, self._limits.num_parallel)
        context = context_for(model, context_tokens, self._default_context())
        needed = memory_bytes(self.device, model, context_tokens=context, slots=slots)
        await self._make_room(model, needed)
        await self._read_weights(model, needed, slowdown)
        runner = Runner(
            model=model,
            context_tokens=context,
            automatic_context=context_tokens is None and self._limits.context_tokens is None,
            size_bytes=needed,
            slots=asyncio.Semaphore(slots),
            prompts=PromptCache(slots),
            keep_alive_s=self._limits.keep_alive_s,
        )
        self._loaded[model.name] = runner
        return runner

    async def _make_room(self, model: ModelSpec, needed: int) -> None:
        usable = self.device.memory_usable_bytes
        if needed > usable:
            sizes = f"({human_bytes(needed)}) than is available ({human_bytes(usable)})"
            raise Refused(500, f"model requires more system memory {sizes}")
        stale = self._loaded.get(model.name)
        if stale is not None:
            await self._unload_when_idle(stale)
        while must_evict(self._residents(), needed_bytes=needed, usable_bytes=usable):
            leaving = choose_eviction(self._residents())
            if leaving is None:
                break
            await self._unload_when_idle(self._loaded[leaving.name])
            self.counters.evictions += 1

    async def _read_weights(self, model: ModelSpec, needed: int, slowdown: float) -> None:
        self._loading_bytes = needed
        self.counters.loads += 1
        try:
            with self._meter.during(Phase.LOADING):
                await self._clock.sleep(load_s(self.device, model) * slowdown)
        except asyncio.CancelledError:
            self.counters.loads_aborted += 1
            raise
        finally:
            self._loading_bytes = 0

    def _residents(self) -> list[Resident]:
        return [
            Resident(
                name=runner.model.name,
                size_bytes=runner.size_bytes,
                in_use=runner.in_use,
                keep_alive_s=runner.keep_alive_s,
                last_used_s=runner.last_used_s,
            )
            for runner in self._loaded.values()
        ]

    async def _unload_when_idle(self, runner: Runner) -> None:
        runner.leaving = True  # newcomers now wait in turn; Ollama lets them in, and a busy model may then never leave
        try:
            if runner.in_use:
                await runner.idle.wait()
        except asyncio.CancelledError:
            runner.leaving = False
            self._rest(runner)
            raise
        self._unload(runner)

    def _hold(self, runner: Runner) -> None:
        runner.in_use += 1
        runner.idle.clear()
        runner.expires_at_s = None
        self._stop_timer(runner)

    def _let_go(self, runner: Runner) -> None:
        runner.in_use -= 1
        runner.last_used_s = self._clock.now_s()
        if runner.in_use == 0:
            runner.idle.set()
            self._rest(runner)

    def _rest(self, runner: Runner) -> None:
        """Start the keep-alive of a model that nobody uses."""
        self._stop_timer(runner)
        if runner.in_use or runner.leaving:
            return
        if runner.keep_alive_s <= 0:
            self._unload(runner)
            return
        runner.expires_at_s = self._clock.now_s() + runner.keep_alive_s
        if runner.keep_alive_s < FOREVER_S:
            wait_s = self._clock.real_s(runner.keep_alive_s)
            runner.timer = asyncio.get_running_loop().call_later(wait_s, self._unload, runner)

    def _unload(self, runner: Runner) -> None:
        self._stop_timer(runner)
        if self._loaded.get(runner.model.name) is runner:
            del self._loaded[runner.model.name]

    @staticmethod
    def _stop_timer(runner: Runner) -> None:
        if runner.timer is not None:
            runner.timer.cancel()
            runner.timer = None
