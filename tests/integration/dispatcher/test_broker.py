"""The broker goes away and comes back under a dispatcher that has jobs."""

from __future__ import annotations

from common import codec
from common.bus.nats import NatsOptions, connect_nats
from common.messages import Heartbeat, ModelInfo
from common.subjects import Subjects
from dispatcher.app import dispatcher
from dispatcher.breaker import BreakerState
from tests.integration.dispatcher.house import settings
from tests.integration.dispatcher.scripted import MODEL, until
from tests.nats_server import nats_server

JOBS = 5
"""More failures in a row than a breaker bears."""

BEAT = codec.encode(
    codec.plain(
        Heartbeat(
            device="nano",
            boot="boot-1",
            seq=1,
            interval_s=60.0,
            slots=JOBS,
            models=(ModelInfo(name=MODEL, loaded=True, capabilities=("completion",)),),
        )
    )
)


async def test_what_a_broker_took_along_is_not_held_against_the_device() -> None:
    """All attempts under way when the broker is killed come to nothing; their device is given jobs again as soon as it is back."""
    async with nats_server() as server:
        options = NatsOptions(urls=(server.url,), name="drover-test")
        async with (
            connect_nats(options) as bus,
            connect_nats(options) as world,
            dispatcher(settings(accept_s=1.0), bus) as pipeline,
        ):
            await world.subscribe(Subjects().device("nano", "job"), lambda _: None)  # it hears, and is not heard
            await world.subscribe("_INBOX_a.b.1", lambda _: None)
            await world.publish(Subjects().heartbeat("nano"), BEAT)
            await until(lambda: "nano" in pipeline.roster.fleet.devices, "the device is known")
            for number in range(JOBS):
                request = {"prompt": "hi", "stream": True, "job": f"job-{number}"}
                await world.publish(Subjects().work("chat", "default"), codec.encode(request), reply="_INBOX_a.b.1")
            await until(lambda: pipeline.roster.fleet.devices["nano"].own == JOBS, "all jobs are sent")
            await server.restart()
            await until(lambda: pipeline.roster.fleet.devices["nano"].own == 0, "all attempts have failed")

            assert pipeline.roster.fleet.devices["nano"].breaker.state is BreakerState.CLOSED
