"""A bench's cache modes at both doors of a fleet: what goes out with a question, and how the cache is emptied before a repeat."""

from __future__ import annotations

import pytest

from common.errors import BusTimeout, CacheUnavailable, NotAllowed
from common.messages import Message, Role
from common.settings import BusSection, LogSection
from dispatcher.cli.connect import ShellSettings
from dispatcher.lab.bench.http_target import HttpTarget, over_http
from dispatcher.lab.bench.plan import CacheMode
from dispatcher.lab.bench.target import over_nats
from dispatcher.settings import BridgeSection, UpSection
from tests.bridge_process import bridge_process
from tests.nats_server import nats_server
from tests.scripted_cache import Order, cache_keeper
from tests.scripted_fleet import ScriptedJob, scripted_fleet

HELLO = (Message(role=Role.USER, content="Hello?"),)
PATIENT = BusSection(connect_wait_s=20.0)
SETTINGS = ShellSettings(bus=PATIENT, log=LogSection(), bridge=BridgeSection(tenant="bench"), up=UpSection())
DONE = {"dispatcher": "d1", "store": "memory", "removed": 3}


async def test_the_tenants_cache_is_emptied_everywhere() -> None:
    """Each dispatcher forgets what it kept of the bench's tenant, and of no other."""
    async with (
        nats_server() as server,
        cache_keeper(server.url, "d1", {"purge": DONE}) as first,
        cache_keeper(server.url, "d2", {"purge": {**DONE, "dispatcher": "d2"}}) as second,
        over_nats(SETTINGS, server.url) as target,
    ):
        await target.forget()

    assert [*first, *second] == [Order("purge", "bench", {})] * 2


async def test_one_that_fails_to_forget_is_an_error() -> None:
    """A part of the answers would still be there: the bench has to hear of it."""
    away = {"error": {"code": "cache", "message": "Redis is away"}}
    async with (
        nats_server() as server,
        cache_keeper(server.url, "d1", {"purge": DONE}),
        cache_keeper(server.url, "d2", {"purge": away}),
        over_nats(SETTINGS, server.url) as target,
    ):
        with pytest.raises(CacheUnavailable, match="Redis is away"):
            await target.forget()


async def test_one_that_is_silent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may keep what it had; the error names it."""
    monkeypatch.setattr("common.cache_orders.PURGE_S", 1.0)
    async with (
        nats_server() as server,
        cache_keeper(server.url, "d1", {"purge": DONE}),
        cache_keeper(server.url, "d2", {}),
        over_nats(SETTINGS, server.url) as target,
    ):
        with pytest.raises(BusTimeout, match="d2 did not answer"):
            await target.forget()


async def test_a_bridge_empties_no_cache() -> None:
    """It is no operator; the error says which door to take."""
    with pytest.raises(NotAllowed, match="give the fleet's nats:// address"):
        await HttpTarget("http://127.0.0.1:9").forget()


@pytest.mark.parametrize("mode", CacheMode)
async def test_both_doors_carry_the_wish_and_the_answer(mode: CacheMode) -> None:
    """What a question wants of the cache reaches the fleet, and what the cache did comes back."""
    told = {"outcome": "hit", "kind": "semantic", "similarity": 0.97}
    jobs: list[str] = []

    async def script(job: ScriptedJob) -> None:
        jobs.append(job.request["cache"])
        await job.ack()
        await job.hit(told)
        await job.token("hi")
        await job.end()

    fields = {"model": "auto", "cache": str(mode.wish)}
    async with nats_server() as server, scripted_fleet(server.url) as fleet, bridge_process(server.url) as bridge:
        fleet.script = script
        async with over_nats(SETTINGS, server.url) as near, over_http(bridge.url) as far:
            heard = [await target.ask(HELLO, fields) for target in (near, far)]

    assert ([str(mode.wish)] * 2, [told] * 2) == (jobs, [one.route["cache"] for one in heard])
