"""`nats micro ls|info|stats` finds the dispatcher, and sees how it fares."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common import codec
from common.bus import Delivery
from common.subjects import Subjects
from dispatcher.app import dispatcher
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import memory_wires, nats_wires, settings
from tests.integration.dispatcher.scripted import PATIENCE_S, ScriptedDevice, answer


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
@pytest.mark.parametrize("scope", ["", ".llm-dispatcher", ".llm-dispatcher.<id>"])
async def test_discovery_is_answered(a_house: OpenHouse, verb: str, scope: str) -> None:
    """Each verb is answered for all services, for this kind, and for this very one."""
    async with a_house() as house:
        me = house.pipeline.courier.dispatcher
        answer_ = await house.world.request(f"$SRV.{verb}{scope.replace('<id>', me)}", b"", timeout_s=PATIENCE_S)
        body = codec.decode(answer_.data)

        assert ("llm-dispatcher", me, f"io.nats.micro.v1.{verb.lower()}_response") == (
            body["name"],
            body["id"],
            body["type"],
        )


async def test_the_statistics_count_jobs_and_devices(a_house: OpenHouse) -> None:
    """STATS tells jobs, errors, the last error, and the slots of the fleet."""
    async with a_house() as house:
        await house.device("nano", answer("ok"), slots=3)
        await (await house.stream()).end()
        await (await house.ask("")).reply()
        await house.settle()
        body = codec.decode((await house.world.request("$SRV.STATS", b"", timeout_s=PATIENCE_S)).data)
        (endpoint,) = body["endpoints"]

        assert ("llm.v1.chat.*", "dispatch", 2, 1, True) == (
            endpoint["subject"],
            endpoint["queue_group"],
            endpoint["num_requests"],
            endpoint["num_errors"],
            endpoint["last_error"].startswith("bad_request: "),
        )
        assert {
            "running": 0,
            "waiting": 0,
            "queue_limit": 100,
            "devices": {"nano": "alive"},
            "slots": 3,
            "answers_kept": 0,
            "cache": {"mode": "off", "store": "memory", "state": "open"},
            "other_dispatchers": 0,
            "free_slots": 3,
        } == endpoint["data"]


@pytest.mark.parametrize("wires", [memory_wires, nats_wires])
async def test_a_dispatcher_hears_all_devices_before_it_takes_jobs(wires: Any) -> None:
    """It calls the roll when it starts, so that the first job has the choice: else the first device heard would get it."""
    async with wires() as connect, connect() as bus, connect() as world, asyncio.TaskGroup() as tasks:
        subjects = Subjects("llm.v1")
        devices = [ScriptedDevice(world, subjects, tasks, name, [answer("ok")]) for name in ("nano", "cloud")]

        def called(_: Delivery) -> None:
            for device in devices:
                tasks.create_task(device.beat())

        calls = await world.subscribe(subjects.roll_call(), called)
        await world.flush()
        async with dispatcher(settings(roll_call_s=1.0), bus) as pipeline:
            heard = set(pipeline.roster.fleet.devices)
        await calls.unsubscribe()

    assert {"nano", "cloud"} == heard
