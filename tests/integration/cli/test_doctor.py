"""`drover doctor` against troubles that are really there: ports, servers, rights; and whole, where nothing runs."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common.bus.nats import NatsBus, NatsOptions, connect_nats
from common.doctor import Verdict
from common.settings import BusSection
from common.subjects import Subjects
from dispatcher.cli import doctor_fleet, doctor_servers
from dispatcher.cli.doctor_servers import Port
from tests.commands import drover
from tests.nats_server import free_port, nats_server


@asynccontextmanager
async def answering(words: bytes) -> AsyncIterator[int]:
    """A server that answers the same to everything."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(words)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_port_that_a_stranger_has_is_a_fault() -> None:
    """It is named, and the knob that chooses another."""
    async with answering(b"HTTP/1.0 200 OK\r\n\r\nhello") as taken:
        [found] = await doctor_servers.ports([Port(taken, "the bridge", "DROVER_HTTP_PORT")])

    assert (Verdict.FAULT, True) == (found.verdict, "DROVER_HTTP_PORT" in found.do)


async def test_a_port_that_nobody_has_is_well() -> None:
    """Whoever starts next may have it."""
    [found] = await doctor_servers.ports([Port(free_port(), "the bridge", "DROVER_HTTP_PORT")])

    assert Verdict.OK is found.verdict


async def test_the_port_of_a_nats_server_is_its_own() -> None:
    """And the server is told of, with what this user may do there."""
    async with nats_server(jetstream=True) as server:
        [port] = await doctor_servers.ports([Port(server.port, "NATS", "DROVER_NATS_PORT")])
        found = await doctor_servers.nats(BusSection(url=server.url), ("$SRV.PING",))

    assert {Verdict.OK} == {one.verdict for one in (port, *found)}
    assert ["nats", "jetstream", "nats rights"] == [one.check for one in found]


@pytest.mark.parametrize(
    ("words", "verdict", "seen"),
    [
        (b"+PONG\r\n", Verdict.OK, "answers"),
        (b"-NOAUTH Authentication required.\r\n", Verdict.FAULT, "NOAUTH"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Verdict.FAULT, "no Redis answers"),
    ],
)
async def test_redis_by_what_it_says(words: bytes, verdict: Verdict, seen: str) -> None:
    """One that wants a password is none that is dead."""
    async with answering(words) as port:
        [found] = await doctor_servers.redis(f"redis://127.0.0.1:{port}/0")

    assert (verdict, True) == (found.verdict, seen in found.seen)


async def test_a_redis_that_is_gone_is_a_fault() -> None:
    """It was named, so it is wanted."""
    [found] = await doctor_servers.redis(f"redis://:word@127.0.0.1:{free_port()}/0")

    assert (Verdict.FAULT, False) == (found.verdict, "word" in found.seen)


async def test_two_agents_of_one_name_are_seen_on_the_bus() -> None:
    """By their boots: each answers the roll call."""
    subjects = Subjects()

    async def bear(bus: NatsBus, boot: str) -> None:
        beat = json.dumps({"device": "nano", "boot": boot, "seq": 1}).encode()
        await bus.publish(subjects.heartbeat("nano"), beat)

    async with (
        nats_server() as server,
        connect_nats(NatsOptions(urls=(server.url,), name="drover-test")) as bus,
        asyncio.TaskGroup() as tasks,
    ):
        for boot in ("b1", "b2"):
            await bus.subscribe(subjects.roll_call(), lambda _, boot=boot: tasks.create_task(bear(bus, boot)))
        await bus.flush()
        found = await doctor_fleet.fleet(BusSection(url=server.url), subjects, expected=True)

    assert ("device nano", Verdict.FAULT) in {(one.check, one.verdict) for one in found}


async def test_a_machine_on_which_nothing_runs_is_looked_at_whole(tmp_path: Path) -> None:
    """An open seed and a taken port are faults with a way out; no Ollama is none, since devices can be simulated."""
    seed = tmp_path / "op.nk"
    seed.write_text("SUAA")
    seed.chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await drover(
            "doctor",
            "--json",
            cwd=tmp_path,
            NATS_NKEY=str(seed),
            DROVER_NATS_PORT=str(free_port()),
            DROVER_HTTP_PORT=str(port),
            DROVER_METRICS="off",
            DROVER_EMBEDDER="none",
            OLLAMA_HOST=f"http://127.0.0.1:{free_port()}",
        )
    rows = {row["check"]: row for row in json.loads(ended.out)["findings"]}
    faults = {check for check, row in rows.items() if row["verdict"] == "fault"}

    assert (1, {"seeds", f"port {port}"}) == (ended.status, faults)
    assert ("warning", f"chmod 600 {seed}") == (rows["agent: ollama"]["verdict"], rows["seeds"]["do"])
    told = rows["agent: ollama"]["seen"] + rows["agent: ollama"]["do"]
    assert 1 == told.count("OLLAMA_HOST")
