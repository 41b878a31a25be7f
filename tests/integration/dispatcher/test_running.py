"""Which jobs are in the house, as it tells whoever asks."""

from __future__ import annotations

from typing import Any

from common import codec
from common.running import Running
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House, Stream
from tests.integration.dispatcher.scripted import MODEL, PATIENCE_S, Hold, answer
from tests.integration.dispatcher.test_waiting import placed


async def asked(house: House, **query: Any) -> dict[str, Any]:
    reply = await house.world.request(house.subjects.running(), codec.encode(query), timeout_s=PATIENCE_S)
    return codec.decode(reply.data)


async def chat(house: House, tenant: str, job: str, **fields: Any) -> Stream:
    return await house.send(codec.encode({"prompt": "hi", "stream": True, "job": job, **fields}), tenant=tenant)


async def test_each_job_is_told_with_what_it_does(a_house: OpenHouse) -> None:
    """One runs, the others wait in their order, also for a device that one asks for by name; an idle house has none."""
    async with a_house() as house:
        hold = Hold("Hel")
        await house.device("nano", hold, answer("ok"))
        idle = codec.build(Running, await asked(house))
        streams = [await chat(house, "default", "one")]
        await hold.reached.wait()
        for job, device in (("two", {}), ("three", {"device": "nano"})):
            streams.append(await chat(house, "default", job, **device))
            await placed(streams[-1], 1)
        told = codec.build(Running, await asked(house))
        counts = codec.build(Running, await asked(house, limit=0))
        hold.released.set()
        for stream in streams:
            await stream.end()

    assert (0, 0, ()) == (idle.running, idle.waiting, idle.jobs)
    assert [
        ("one", "running", "decode", "nano", MODEL, None),
        ("two", "queued", "queue", None, None, 1),
        ("three", "queued", "queue", None, None, 2),
    ] == [(job.id, job.state, job.phase, job.device, job.model, job.position) for job in told.jobs]
    assert (3, 2, 100, {"auto": 2}, {"nano": 1}) == (
        told.running,
        told.waiting,
        told.queue_limit,
        told.waiting_by_model,
        told.waiting_by_device,
    )
    assert ((), True, 2) == (counts.jobs, counts.more, counts.waiting)


async def test_whose_jobs_are_told_can_be_said(a_house: OpenHouse) -> None:
    """Those of a tenant, of these the ones whose ids end so, and no more than are asked for; a question that can't be read is
    refused with its field."""
    async with a_house() as house:
        hold = Hold()
        await house.device("nano", hold, hold, hold, slots=3)
        streams = [
            await chat(house, "acme", "a-me"),
            await chat(house, "acme", "b-you"),
            await chat(house, "emca", "c-me"),
        ]
        for query, expected in (
            ({}, ["a-me", "b-you", "c-me"]),
            ({"tenant": "acme"}, ["a-me", "b-you"]),
            ({"tenant": "acme", "ending": "-me"}, ["a-me"]),
        ):
            told = await asked(house, **query)
            assert (expected, False) == ([job["id"] for job in told["jobs"]], told["more"])
        few = await asked(house, limit=2)
        wrong = await asked(house, limit=501)
        hold.released.set()
        for stream in streams:
            await stream.end()

    assert (["a-me", "b-you"], True) == ([job["id"] for job in few["jobs"]], few["more"])
    assert ("bad_request", "limit") == (wrong["error"]["code"], wrong["error"]["details"]["param"])
