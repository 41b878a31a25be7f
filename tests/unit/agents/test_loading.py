"""A model that is loaded ahead of any job: one at a time, in a slot, and told in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from agents.inventory import Stock
from agents.loading import Loader
from agents.slots import LOADING, Slots
from common.clock import LoopClock
from common.errors import DeviceBusy, ModelNotLoadable, UnknownModel
from common.messages import ModelInfo
from tests.unit.agents.held_backend import HeldBackend

MODELS = (ModelInfo(name="small:1b"), ModelInfo(name="large:latest"), ModelInfo(name="echo"))


@dataclass(slots=True)
class Seat:
    """A loader over an engine that holds each load."""

    engine: HeldBackend
    slots: Slots
    loader: Loader
    changes: list[int] = field(default_factory=list)


@asynccontextmanager
async def seat(slots: int = 1) -> AsyncIterator[Seat]:
    engine, taken, changes = HeldBackend(), Slots(slots), list[int]()
    async with asyncio.TaskGroup() as group:

        def changed() -> None:
            changes.append(taken.in_flight)

        stock = Stock(seen=True, models=MODELS)
        loader = Loader(engine, taken, lambda: stock, group, clock=LoopClock(), changed=changed)
        yield Seat(engine, taken, loader, changes)
        loader.close()


async def test_a_load_holds_a_slot_until_it_is_done() -> None:
    """The heartbeat is told at both ends; the slot is no dispatcher's."""
    async with seat() as one, asyncio.TaskGroup() as tasks:
        load = tasks.create_task(one.loader.load("small:1b", 60.0))
        await one.engine.loading.wait()
        held = one.slots.by_dispatcher
        one.engine.memory.set()
        loaded = await load

        assert ({LOADING: 1}, {}, [1, 0]) == (held, one.slots.by_dispatcher, one.changes)
        assert ([("small:1b", 60.0)], "small:1b", True) == (one.engine.loads, loaded.model, loaded.done)


@pytest.mark.parametrize(("asked", "name"), [("large", "large:latest"), ("echo:latest", "echo")])
async def test_the_tag_latest_may_be_left_out(asked: str, name: str) -> None:
    """By whoever asks, and by the device."""
    async with seat() as one:
        one.engine.memory.set()

        assert name == (await one.loader.load(asked)).model


async def test_a_model_that_is_not_there_is_refused_with_those_that_are() -> None:
    """Nothing is loaded, and no slot taken."""
    async with seat() as one:
        with pytest.raises(UnknownModel, match="no model 'tiny'; it has: echo, large:latest, small:1b"):
            await one.loader.load("tiny")

        assert ([], []) == (one.engine.loads, one.changes)


async def test_who_asks_for_the_same_waits_for_the_same() -> None:
    """One load serves both; another model is refused meanwhile, though there is a slot."""
    async with seat(slots=3) as one, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(one.loader.load("small:1b"))
        await one.engine.loading.wait()
        second = tasks.create_task(one.loader.load("small:1b", 5.0))
        with pytest.raises(DeviceBusy, match="loads small:1b for somebody"):
            await one.loader.load("large")
        one.engine.memory.set()
        done = [(await task).done for task in (first, second)]

        assert ([True, True], [("small:1b", None)]) == (done, one.engine.loads)


async def test_a_device_without_a_free_slot_loads_nothing() -> None:
    """Its jobs are served first."""
    async with seat() as one:
        with one.slots.take("d1"), pytest.raises(DeviceBusy, match="all 1 slots are taken"):
            await one.loader.load("small:1b")

        assert [] == one.engine.loads


async def test_a_load_that_takes_longer_goes_on() -> None:
    """Who no longer waits is told so; who asks again hears how it ends."""
    async with seat() as one:
        early = await one.loader.load("small:1b", wait_s=0.01)
        one.engine.memory.set()
        late = await one.loader.load("small:1b")

        assert (False, True, [("small:1b", None)]) == (early.done, late.done, one.engine.loads)


async def test_what_is_in_the_way_is_told_to_all_and_the_slot_is_free_again() -> None:
    """A load that fails while nobody waits harms nobody."""
    async with seat() as one:
        one.engine.crash = ModelNotLoadable("no room")
        await one.loader.load("small:1b", wait_s=0.01)
        one.engine.memory.set()
        with pytest.raises(ModelNotLoadable, match="no room"):
            await one.loader.load("small:1b")

        assert {} == one.slots.by_dispatcher


async def test_an_agent_that_goes_drops_the_load() -> None:
    """Closing it while a load goes on ends the load, and leaves no slot taken."""
    async with seat() as one:
        await one.loader.load("small:1b", wait_s=0.01)

    assert {} == one.slots.by_dispatcher
