"""The probe of an engine: what is asked, what is never asked, and what the outcome does to the heartbeat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from agents.liveness import EngineLiveness
from agents.probe import Probe, Prober, Verdict
from common.errors import BackendError, DeviceBusy, FleetError
from common.messages import ModelInfo
from tests.listening import GUARD_S
from tests.unit.agents.hand_clock import HandClock
from tests.unit.agents.held_backend import HeldBackend

QUICK_S = 0.05
"""A limit that is meant to strike."""

LLAMA = ModelInfo(name="llama", loaded=True, capabilities=("completion",))


@dataclass
class Load:
    """What the worker says of itself."""

    full: bool = False
    loading: frozenset[str] = frozenset()
    silent_s: float | None = None
    fault: str | None = None


@dataclass
class Rig:
    """A prober of an engine that is held by hand."""

    group: asyncio.TaskGroup
    clock: HandClock = field(default_factory=HandClock)
    backend: HeldBackend = field(default_factory=HeldBackend)
    load: Load = field(default_factory=Load)

    def __post_init__(self) -> None:
        self.changes = 0
        self.liveness = EngineLiveness(self.clock, changed=self._count)
        self.prober = Prober(self.backend, self.load, self.liveness, self.group, clock=self.clock)
        self.backend.listed = (LLAMA,)

    def _count(self) -> None:
        self.changes += 1


@asynccontextmanager
async def opened() -> AsyncIterator[Rig]:
    async with asyncio.TaskGroup() as group:
        rig = Rig(group)
        try:
            yield rig
        finally:
            rig.prober.close()


async def test_a_token_is_proof() -> None:
    """The model is named, and nothing is said against the engine."""
    async with opened() as rig:
        rig.backend.token.set()
        outcome = await rig.prober.probe(GUARD_S)

        assert outcome == Probe(verdict=Verdict.OK, model="llama", seconds=0.0)
        assert rig.liveness.fault is None


async def test_no_token_in_time_is_a_fault() -> None:
    """The reason names the model and the limit, and the heartbeat is told at once."""
    async with opened() as rig:
        outcome = await rig.prober.probe(QUICK_S)

        assert (outcome.verdict, outcome.model, outcome.error) == (Verdict.FAILED, "llama", "no token within 0.05 s")
        assert "one-token probe of llama" in (rig.liveness.fault or "")
        assert rig.changes == 1


async def test_a_late_token_clears_the_engine() -> None:
    """Whoever asked has gone with the bad news; the probe went on."""
    async with opened() as rig:
        await rig.prober.probe(QUICK_S)
        rig.backend.token.set()
        outcome = await rig.prober.probe(GUARD_S)

        assert (outcome.verdict, rig.liveness.fault, rig.backend.probed) == (Verdict.OK, None, ["llama"])


async def test_probes_at_the_same_time_are_one() -> None:
    """Five ask, one token is produced, five get the outcome."""
    async with opened() as rig, asyncio.TaskGroup() as group:
        asking = [group.create_task(rig.prober.probe(GUARD_S)) for _ in range(5)]
        async with asyncio.timeout(GUARD_S):
            await rig.backend.probing.wait()
        rig.backend.token.set()
        outcomes = [await one for one in asking]

        assert ([one.verdict for one in outcomes], rig.backend.probed) == ([Verdict.OK] * 5, ["llama"])


@pytest.mark.parametrize(
    "listed",
    [
        (),
        (ModelInfo(name="cold", loaded=False),),
        (ModelInfo(name="embed", loaded=True, capabilities=("embedding",)),),
        (ModelInfo(name="leaves", loaded=True, expires_unix_s=1.0),),
    ],
)
async def test_nothing_is_loaded_for_a_probe(listed: tuple[ModelInfo, ...]) -> None:
    """Nothing in memory, nothing that makes text, or nothing that stays: an answer of its own, and no doubt."""
    async with opened() as rig:
        rig.backend.listed = listed
        rig.liveness.doubt("earlier")
        outcome = await rig.prober.probe(GUARD_S)

        assert (outcome, rig.backend.probed, rig.liveness.fault) == (Probe(verdict=Verdict.NOTHING_LOADED), [], None)


async def test_a_full_engine_is_not_probed() -> None:
    """The probe would wait behind the jobs; how long they have waited for the engine says more."""
    async with opened() as rig:
        rig.load.full, rig.load.silent_s = True, 42.0
        outcome = await rig.prober.probe(GUARD_S)

        assert (outcome, rig.backend.probed) == (Probe(verdict=Verdict.BUSY, silent_s=42.0), [])


async def test_a_model_that_a_job_loads_is_not_probed() -> None:
    """It can't answer before it is loaded, which proves nothing; another one can."""
    async with opened() as rig:
        rig.backend.token.set()
        rig.load.loading = frozenset({"llama"})
        alone = await rig.prober.probe(GUARD_S)
        rig.backend.listed = (LLAMA, ModelInfo(name="other", loaded=True))
        beside = await rig.prober.probe(GUARD_S)

        assert (alone.verdict, beside.verdict, rig.backend.probed) == (Verdict.BUSY, Verdict.OK, ["other"])


@pytest.mark.parametrize(
    ("error", "verdict", "doubted"),
    [(BackendError("the runner died"), Verdict.FAILED, True), (DeviceBusy("queue full"), Verdict.BUSY, False)],
)
async def test_an_error_is_an_outcome(error: FleetError, verdict: Verdict, *, doubted: bool) -> None:
    """A broken engine fails the probe; one whose own queue is full is only busy."""
    async with opened() as rig:
        rig.backend.crash = error
        rig.backend.token.set()
        outcome = await rig.prober.probe(GUARD_S)

        assert (outcome.verdict, rig.liveness.fault is not None) == (verdict, doubted)


async def test_a_backend_that_does_not_answer_fails_the_probe() -> None:
    """Already the question what is loaded."""
    async with opened() as rig:
        rig.backend.fault = BackendError("no Ollama answers")
        outcome = await rig.prober.probe(GUARD_S)

        assert (outcome.verdict, outcome.error) == (Verdict.FAILED, "no Ollama answers")
