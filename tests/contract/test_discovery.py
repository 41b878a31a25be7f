"""Our answers on `$SRV` against NATS ADR-32 and its published schemas (`io.nats.micro.v1`), over a real server."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.bus import Bus
from common.bus.memory import MemoryBroker, connect_memory
from common.bus.nats import NatsBus, NatsOptions, connect_nats
from common.discovery import EndpointStats, ServiceInfo, discoverable
from common.errors import BusTimeout, ConfigError, NoResponders
from tests.listening import GUARD_S, Listener, settled
from tests.nats_server import nats_server

NAME = re.compile(r"[A-Za-z0-9_-]+")
SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")

Rule = type | re.Pattern[str] | str
"""What a field must be: of a type, a text that a pattern matches whole, or one text."""

IDENTITY: Mapping[str, Rule] = {"name": NAME, "id": NAME, "version": SEMVER, "metadata": dict}
ANSWERS: Mapping[str, Mapping[str, Rule]] = {
    "PING": {"type": "io.nats.micro.v1.ping_response", **IDENTITY},
    "INFO": {"type": "io.nats.micro.v1.info_response", **IDENTITY, "description": str, "endpoints": list},
    "STATS": {"type": "io.nats.micro.v1.stats_response", **IDENTITY, "started": RFC3339_UTC, "endpoints": list},
}
ENDPOINTS: Mapping[str, Mapping[str, Rule]] = {
    "PING": {},
    "INFO": {"name": NAME, "subject": str, "queue_group": str, "metadata": dict},
    "STATS": {
        "name": NAME,
        "subject": str,
        "queue_group": str,
        "num_requests": int,
        "num_errors": int,
        "last_error": str,
        "processing_time": int,
        "average_processing_time": int,
        "data": dict,
    },
}

CHAT = EndpointStats(
    name="chat",
    subject="llm.v1.chat.*",
    queue_group="dispatch",
    requests=4,
    errors=1,
    last_error="no device can take the job",
    processing_ns=10_000_000_002,
    metadata={"encoding": "json,msgpack"},
    data={"waiting": 3, "speeds": {"qwen": 12.5}},
)
JOB = EndpointStats(name="job", subject="llm.v1.dev.nano.job")
DISPATCHER = ServiceInfo(name="llm-dispatcher", id="disp-1", version="0.1.0", description="picks devices")
NANO = ServiceInfo(name="llm-agent", id="nano-01AB", version="1.2.3-rc.1+build.5", metadata={"device": "nano"})
ORIN = ServiceInfo(name="llm-agent", id="orin-02CD", version="1.2.3")


def faults(answer: Mapping[str, Any], rules: Mapping[str, Rule]) -> list[str]:
    """Say what is wrong: fields that lack or are too many, and values that break their rule."""
    found = [f"field {name}" for name in answer.keys() ^ rules.keys()]
    for name in answer.keys() & rules.keys():
        value, rule = answer[name], rules[name]
        match rule:
            case re.Pattern():
                fits = isinstance(value, str) and rule.fullmatch(value) is not None
            case str():
                fits = value == rule
            case _:
                fits = type(value) is rule  # a bool is no int here
        if not fits:
            found.append(f"{name}={value!r}")
        if name == "metadata" and not all(isinstance(text, str) for text in value.values()):
            found.append(f"metadata {value!r} has values that are no texts")
    return found


@asynccontextmanager
async def fleet() -> AsyncIterator[NatsBus]:
    """One dispatcher and two agents that can be found, each on a connection of its own; gives a fourth connection."""
    async with nats_server() as server, AsyncExitStack() as stack:
        options = NatsOptions(urls=(server.url,), initial_connect_timeout_s=GUARD_S)
        services: list[tuple[ServiceInfo, list[EndpointStats]]] = [
            (DISPATCHER, [CHAT]),
            (NANO, [JOB, CHAT]),
            (ORIN, []),
        ]
        for info, endpoints in services:
            bus = await stack.enter_async_context(connect_nats(options))
            await stack.enter_async_context(discoverable(bus, info, endpoints.copy))
            await bus.flush()
        yield await stack.enter_async_context(connect_nats(options))


async def ask_all(bus: Bus, subject: str, expected: int) -> list[dict[str, Any]]:
    """Send one request, and gather the answers: as many as expected, and any more that come with them."""
    listener, inbox = Listener(), bus.new_inbox()
    await bus.subscribe(inbox, listener)
    await bus.publish(subject, b"", reply=inbox)
    await listener.until(expected)
    await settled(bus)
    return sorted((json.loads(data) for data in listener.data), key=lambda answer: str(answer["id"]))


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_scopes(verb: str) -> None:
    """All answer to the verb alone, those of a kind to its name, and one to its id; nobody answers to a stranger's."""
    async with fleet() as bus:
        everyone = await ask_all(bus, f"$SRV.{verb}", 3)
        agents = await ask_all(bus, f"$SRV.{verb}.llm-agent", 2)
        one = await ask_all(bus, f"$SRV.{verb}.llm-agent.orin-02CD", 1)
        with pytest.raises(NoResponders):
            await bus.request(f"$SRV.{verb}.llm-agent.disp-1", b"", timeout_s=GUARD_S)

    assert [answer["id"] for answer in everyone] == ["disp-1", "nano-01AB", "orin-02CD"]
    assert ([answer["id"] for answer in agents], one) == (["nano-01AB", "orin-02CD"], [agents[1]])


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_fields(verb: str) -> None:
    """Every answer, and every endpoint in it, has the fields of the standard with their types, and no other."""
    async with fleet() as bus:
        answers = await ask_all(bus, f"$SRV.{verb}", 3)

    endpoints = [endpoint for answer in answers for endpoint in answer.get("endpoints", [])]
    assert [faults(answer, ANSWERS[verb]) for answer in answers] == [[], [], []]
    assert [faults(endpoint, ENDPOINTS[verb]) for endpoint in endpoints] == [[]] * (0 if verb == "PING" else 3)


async def test_info_is_true() -> None:
    """INFO says what the service was given, word by word."""
    async with fleet() as bus:
        (answer,) = await ask_all(bus, "$SRV.INFO.llm-dispatcher", 1)

    assert answer == {
        "type": "io.nats.micro.v1.info_response",
        "name": "llm-dispatcher",
        "id": "disp-1",
        "version": "0.1.0",
        "metadata": {},
        "description": "picks devices",
        "endpoints": [
            {
                "name": "chat",
                "subject": "llm.v1.chat.*",
                "queue_group": "dispatch",
                "metadata": {"encoding": "json,msgpack"},
            }
        ],
    }


async def test_stats_are_true() -> None:
    """STATS gives the counts as they stand; the average is nanoseconds per request, and 0 before the first one."""
    async with fleet() as bus:
        (answer,) = await ask_all(bus, "$SRV.STATS.llm-agent.nano-01AB", 1)

    idle, busy = answer["endpoints"]
    assert (idle["num_requests"], idle["average_processing_time"], idle["last_error"]) == (0, 0, "")
    assert busy == {
        "name": "chat",
        "subject": "llm.v1.chat.*",
        "queue_group": "dispatch",
        "num_requests": 4,
        "num_errors": 1,
        "last_error": "no device can take the job",
        "processing_time": 10_000_000_002,
        "average_processing_time": 2_500_000_000,
        "data": {"waiting": 3, "speeds": {"qwen": 12.5}},
    }


async def test_started() -> None:
    """`started` is when the service could first be found, in UTC, and stays."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)  # it is given in whole milliseconds
    async with fleet() as bus:
        (first,) = await ask_all(bus, "$SRV.STATS.llm-dispatcher", 1)
        (second,) = await ask_all(bus, "$SRV.STATS.llm-dispatcher", 1)

    assert before <= datetime.fromisoformat(first["started"]) <= datetime.now(UTC)
    assert first["started"] == second["started"]


async def test_stats_are_fresh() -> None:
    """The endpoints are asked anew for each answer."""
    current = JOB
    async with connect_memory(MemoryBroker()) as bus, discoverable(bus, NANO, lambda: [current]):
        before = json.loads((await bus.request("$SRV.STATS", b"", timeout_s=GUARD_S)).data)
        current = replace(JOB, requests=7)
        after = json.loads((await bus.request("$SRV.STATS", b"", timeout_s=GUARD_S)).data)

    assert [answer["endpoints"][0]["num_requests"] for answer in (before, after)] == [0, 7]


async def test_gone() -> None:
    """After its context a service is not found, and the bus lives on."""
    async with connect_memory(MemoryBroker()) as bus:
        async with discoverable(bus, NANO, tuple):
            found = await bus.request("$SRV.PING", b"", timeout_s=GUARD_S)
        with pytest.raises(NoResponders):
            await bus.request("$SRV.PING", b"", timeout_s=GUARD_S)

    assert json.loads(found.data)["id"] == "nano-01AB"


async def test_without_reply_subject() -> None:
    """A question without a reply subject is not worked on."""
    asked = list[str]()

    def endpoints() -> list[EndpointStats]:
        asked.append("STATS")
        return []

    async with connect_memory(MemoryBroker()) as bus, discoverable(bus, NANO, endpoints):
        await bus.publish("$SRV.STATS", b"")
        await bus.flush()
        before = list(asked)
        await bus.request("$SRV.STATS", b"", timeout_s=GUARD_S)

    assert (before, asked) == ([], ["STATS"])


async def test_raising_endpoints() -> None:
    """A bug in the stats costs that answer, not the process that works meanwhile."""

    def fail() -> list[EndpointStats]:
        raise KeyError("a bug in the stats")

    async with connect_memory(MemoryBroker()) as bus, discoverable(bus, NANO, fail):
        with pytest.raises(BusTimeout):
            await bus.request("$SRV.STATS", b"", timeout_s=0.05)
        found = await bus.request("$SRV.PING", b"", timeout_s=GUARD_S)

        assert (json.loads(found.data)["id"], bus.counters.handler_failures) == ("nano-01AB", 1)


async def test_asker_is_cut_off() -> None:
    """A reply that can't be sent, since the connection went meanwhile, harms nothing."""
    broker = MemoryBroker()
    async with connect_memory(broker) as bus, connect_memory(broker) as asker, discoverable(bus, NANO, tuple):
        await asker.publish("$SRV.PING", b"", reply=asker.new_inbox())
        await asker.flush()
        bus.disconnect()
        await asker.flush()
        bus.reconnect()
        found = await asker.request("$SRV.PING", b"", timeout_s=GUARD_S)

    assert json.loads(found.data)["id"] == "nano-01AB"


async def test_error_of_the_body() -> None:
    """An error inside the context leaves it as itself."""
    async with connect_memory(MemoryBroker()) as bus:
        with pytest.raises(ZeroDivisionError):
            async with discoverable(bus, NANO, tuple):
                raise ZeroDivisionError


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "llm agent"},
        {"name": ""},
        {"id": "a.b"},
        {"id": "*"},
        {"version": "1.2"},
        {"version": "01.2.3"},
        {"version": "1.2.3-"},
        {"version": "v1.2.3"},
        {"version": "1.2.3\n"},
        {"version": "1.2.\u0663"},
    ],
)
def test_bad_identity(wrong: dict[str, str]) -> None:
    """A name or id that can't stand in a subject, or a version that is not semantic, is refused where it is made."""
    with pytest.raises(ConfigError, match=re.escape(repr(next(iter(wrong.values()))))):
        replace(NANO, **wrong)  # type: ignore[arg-type]  # the fields named above are all texts
