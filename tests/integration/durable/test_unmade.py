"""Jobs that are asked for by id where nobody has made the streams: no dispatcher ever ran, or it has none to do with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from common.bus.jetstream import JetStream
from common.bus.nats import NatsBus, NatsOptions, connect_nats
from common.bus.streams import StreamState
from common.client import chat_request
from common.durable import Names
from common.durable_client import DurableJobs
from common.errors import BusTimeout, NotPermitted, StreamsUnavailable, UnknownJob
from common.subjects import Subjects
from dispatcher.durable.declare import declare
from dispatcher.settings import DurableSection
from tests.listening import GUARD_S
from tests.nats_server import nats_server

SILENT_S = 1000.0
"""So long a server that says nothing is waited for here: whoever does that is found out by the guard."""


def jobs(bus: NatsBus, streams: JetStream | None = None, *, newest_only: bool = False) -> DurableJobs:
    streams = streams or JetStream(bus, timeout_s=SILENT_S)
    return DurableJobs(bus, streams, tenant="default", subjects=Subjects(), newest_only=newest_only)


@pytest.mark.parametrize("jetstream", [True, False])
@pytest.mark.parametrize("ask", [DurableJobs.look, DurableJobs.result], ids=["look", "result"])
async def test_a_job_that_nobody_could_know_is_not_waited_for(
    *, jetstream: bool, ask: Callable[..., Awaitable[object]]
) -> None:
    """A server says nothing of a stream that it has not; so it is asked whether there is one. The error names what is missing."""
    async with nats_server(jetstream=jetstream) as nats, connect_nats(NatsOptions(urls=(nats.url,))) as bus:
        async with asyncio.timeout(GUARD_S):
            with pytest.raises(StreamsUnavailable, match="dispatcher"):
                await ask(jobs(bus), "nobodys")


async def test_once_they_are_made_it_is_told() -> None:
    """By the same client: that there were none is not remembered."""
    async with nats_server(jetstream=True) as nats, connect_nats(NatsOptions(urls=(nats.url,))) as bus:
        asking = jobs(bus)
        async with asyncio.timeout(GUARD_S):
            with pytest.raises(StreamsUnavailable):
                await asking.look("mine")
            await declare(JetStream(bus), Names(), Subjects(), DurableSection())
            with pytest.raises(UnknownJob):
                await asking.look("mine")
            await asking.submit(chat_request("hi", job="mine"))
            found = await asking.look("mine")

    assert "queued" == found.state


class Shut(JetStream):
    """Streams of a user that may not ask how full they are."""

    async def state(self, stream: str) -> StreamState:
        raise NotPermitted(f"this user may not ask for {stream}")


@pytest.mark.parametrize("newest_only", [True, False])
async def test_who_may_not_ask_for_the_queue_waits(*, newest_only: bool) -> None:
    """Nobody tells it that there is none; a tenant's own user, which sees its results alone, does not try."""
    async with nats_server(jetstream=True) as nats, connect_nats(NatsOptions(urls=(nats.url,))) as bus:
        streams = (JetStream if newest_only else Shut)(bus, timeout_s=0.5)
        with pytest.raises(BusTimeout):
            await jobs(bus, streams, newest_only=newest_only).look("mine")
