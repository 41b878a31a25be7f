"""Two agents with one name: the second one does not start, and two that both run say so; over the memory bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from agents.namesakes import SAY_S, Namesakes, sole_bearer
from common import codec
from common.bus import Delivery
from common.bus.memory import MemoryBroker, connect_memory
from common.errors import ConfigError
from common.lifecycle import Stop
from tests.listening import answering
from tests.unit.agents.hand_clock import HandClock

PROBE = "llm.v1.dev.nano.probe"
HEARTBEAT = "llm.v1.hb.nano"


@asynccontextmanager
async def bearer(broker: MemoryBroker, answer: Callable[[Delivery], bytes]) -> AsyncIterator[None]:
    """Another agent that answers its probe."""
    async with connect_memory(broker) as bus, asyncio.TaskGroup() as tasks:
        await bus.subscribe(PROBE, answering(bus, tasks, answer))
        yield


async def test_a_name_that_nobody_answers_to_is_free() -> None:
    """The bus says at once that nobody listens."""
    async with connect_memory(MemoryBroker()) as bus:
        assert await sole_bearer(bus, PROBE, "nano", Stop()) is True


async def test_a_bearer_that_does_not_answer_is_gone() -> None:
    """The subscriptions of a device whose power was cut stand for minutes on the server."""
    broker = MemoryBroker()
    async with connect_memory(broker) as bus, connect_memory(broker) as dead:
        await dead.subscribe(PROBE, lambda _: None)

        assert await sole_bearer(bus, PROBE, "nano", Stop()) is True


@pytest.mark.parametrize("answer", [b'{"state":"ready","boot":"B7","in_flight":0}', b"\xff"])
async def test_a_name_that_is_taken_is_an_error_with_a_way_out(answer: bytes) -> None:
    """It names the device, and the knob; whatever answers, somebody is there."""
    broker = MemoryBroker()
    async with connect_memory(broker) as bus, bearer(broker, lambda _: answer):
        with pytest.raises(ConfigError, match=r"'nano'.*DROVER_DEVICE"):
            await sole_bearer(bus, PROBE, "nano", Stop(), wait_s=0.0)


async def test_the_error_names_the_other_s_boot() -> None:
    """Its log and its heartbeat carry the same, so that it can be found."""
    broker = MemoryBroker()
    async with connect_memory(broker) as bus, bearer(broker, lambda _: b'{"boot":"B7"}'):
        with pytest.raises(ConfigError, match="B7"):
            await sole_bearer(bus, PROBE, "nano", Stop(), wait_s=0.0)


async def test_an_agent_that_still_drains_is_waited_for() -> None:
    """It answers twice, then it is gone, and the name is free."""
    broker, asked = MemoryBroker(), 0
    async with connect_memory(broker) as bus, connect_memory(broker) as old, asyncio.TaskGroup() as tasks:

        def answer(delivery: Delivery) -> None:
            nonlocal asked
            asked += 1
            if asked == 2:
                tasks.create_task(door.unsubscribe())
            tasks.create_task(old.publish(delivery.reply, b'{"state":"draining","boot":"B6"}'))

        door = await old.subscribe(PROBE, answer)

        assert (await sole_bearer(bus, PROBE, "nano", Stop()), asked) == (True, 2)


async def test_a_bearer_that_pauses_is_still_there() -> None:
    """One question in the middle goes unanswered, and the name is taken all the same."""
    broker, asked = MemoryBroker(), 0
    async with connect_memory(broker) as bus, connect_memory(broker) as other, asyncio.TaskGroup() as tasks:

        def answer(delivery: Delivery) -> None:
            nonlocal asked
            asked += 1
            if asked != 2:
                tasks.create_task(other.publish(delivery.reply, b'{"boot":"B7"}'))

        await other.subscribe(PROBE, answer)
        with pytest.raises(ConfigError, match="B7"):
            await sole_bearer(bus, PROBE, "nano", Stop(), wait_s=1.0)

        assert asked > 2


async def test_a_stop_ends_the_wait_for_the_name() -> None:
    """Whoever stops an agent that waits does not wait with it."""
    broker, stop = MemoryBroker(), Stop()

    def answer(_: Delivery) -> bytes:
        stop.request()
        return b'{"boot":"B7"}'

    async with connect_memory(broker) as bus, bearer(broker, answer):
        assert await sole_bearer(bus, PROBE, "nano", stop) is False


class Ear:
    """A `Namesakes` of the boot B1 on a held clock, and how often it reported a change."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.changes = 0
        self.namesakes = Namesakes("nano", "B1", clock=self.clock, changed=self._count)

    def _count(self) -> None:
        self.changes += 1

    def hear(self, boot: str, **fields: Any) -> None:
        self.namesakes.hear(Delivery(HEARTBEAT, codec.encode({"device": "nano", "boot": boot, "seq": 1, **fields})))


def test_the_own_heartbeat_is_no_trouble() -> None:
    """The bus hands it back."""
    ear = Ear()

    ear.hear("B1")

    assert (ear.namesakes.trouble, ear.changes) == (None, 0)


def test_another_boot_is_trouble() -> None:
    """It is told once that it began, and what it is says who and what to do."""
    ear = Ear()

    ear.hear("B2")
    ear.hear("B2")

    assert "B2" in (trouble := ear.namesakes.trouble or "")
    assert "DROVER_DEVICE" in trouble
    assert ear.changes == 1


@pytest.mark.parametrize("state", ["stopped", "draining"])
def test_an_agent_that_goes_is_no_trouble(state: str) -> None:
    """The one before a restart; and whoever was trouble is none any more once it goes."""
    ear = Ear()
    ear.hear("B2", state=state)
    before = ear.namesakes.trouble
    ear.hear("B3")
    ear.hear("B3", state=state)

    assert (before, ear.namesakes.trouble, ear.changes) == (None, None, 2)


def test_one_that_is_not_heard_any_more_is_forgotten() -> None:
    """After three of its own intervals."""
    ear = Ear()
    ear.hear("B2", interval_s=20.0)
    ear.clock.now_s += 59
    late = ear.namesakes.trouble
    ear.clock.now_s += 2

    assert late is not None
    assert ear.namesakes.trouble is None


def test_garbage_under_the_own_name_is_ignored() -> None:
    """Whoever sends it is no agent."""
    ear = Ear()

    for payload in (b"", b"\xff", b"[1]", b'{"boot":"B2"}', b'{"device":"nano","boot":7,"seq":-1}'):
        ear.namesakes.hear(Delivery(HEARTBEAT, payload))

    assert (ear.namesakes.trouble, ear.changes) == (None, 0)


def test_the_log_says_it_once_a_minute() -> None:
    """However fast the other one beats."""
    ear = Ear()

    with capture_logs() as lines:
        for _ in range(3):
            ear.hear("B2")
            ear.clock.now_s += SAY_S / 2

    assert [line["event"] for line in lines] == ["agent.name_taken"] * 2
