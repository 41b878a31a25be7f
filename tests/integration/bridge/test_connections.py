"""Connections that misbehave, on real sockets: each is bounded in time, memory and number, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dispatcher.bridge.connections import ASIDE, MOST_HEAD_BYTES, OTHERS, rooms
from tests.bridge_process import BridgeProcess, bridge_process
from tests.nats_server import nats_server
from tests.scripted_fleet import ScriptedFleet, ScriptedJob, scripted_fleet

HANG_S = 30.0
MOST = 16
SHORT = {"DROVER_HTTP_HEAD_S": "0.3", "DROVER_HTTP_BODY_S": "0.3", "DROVER_HTTP_MAX_CONNECTIONS": str(MOST)}
BODY = b'{"messages":[{"role":"user","content":"hi"}]}'
GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHAT = POST % b"/v1/chat/completions"
CHUNKED = CHAT + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = CHAT + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def short() -> AsyncIterator[tuple[ScriptedFleet, BridgeProcess]]:
    """A bridge of little patience."""
    async with nats_server() as nats, scripted_fleet(nats.url) as fleet, bridge_process(nats.url, **SHORT) as bridge:
        await fleet.beat()
        yield fleet, bridge


@pytest.fixture
def fleet(short: tuple[ScriptedFleet, BridgeProcess]) -> ScriptedFleet:
    short[0].forget()
    return short[0]


@pytest.fixture
def bridge(short: tuple[ScriptedFleet, BridgeProcess]) -> BridgeProcess:
    return short[1]


class Client:
    """A bare socket that writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def of(cls, bridge: BridgeProcess) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", bridge.port))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def flood(self, piece: bytes, times: int) -> None:
        """Send until it is all sent, or nobody takes it any more."""
        try:
            for _ in range(times):
                self.writer.write(piece)
                await self.writer.drain()
        except ConnectionError:
            return

    async def trickle(self, data: bytes) -> None:
        """Send a byte at a time until the other side ends it."""
        try:
            for at in range(len(data)):
                self.writer.write(data[at : at + 1])
                await self.writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            return

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: status, headers, body. Status 0 is a connection that ended without a word."""
        try:
            async with asyncio.timeout(HANG_S):
                head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
                body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, {}, b""
        return int(head[0].split()[1]), headers, body

    async def over(self) -> bool:
        """Tell that the other side has ended it; what comes before that is left out."""
        async with asyncio.timeout(HANG_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass
        return True

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


async def served(bridge: BridgeProcess) -> int:
    """The status of an ordinary request."""
    client = await Client.of(bridge)
    client.send(GET + b"\r\n")
    status, _, _ = await client.answer()
    await client.close()
    return status


def code(body: bytes) -> str:
    return str(json.loads(body)["error"]["code"])


def memory_kb(bridge: BridgeProcess) -> int:
    """The most that the bridge ever held."""
    lines = Path(f"/proc/{bridge.process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


HEADS = {
    "the request line": b"GET /v1/models?" + b"x" * 3000,
    "a header": GET + b"X-Long: " + b"x" * 3000,
    "the line after": GET,
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_head_that_does_not_end_is_cut_off(bridge: BridgeProcess, name: str) -> None:
    """However far it came, and whether or not there are more bytes: 408 in the API's form, and the end. Others are served."""
    client = await Client.of(bridge)
    client.send(HEADS[name][:-2900] if len(HEADS[name]) > 2900 else HEADS[name])
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(client.trickle(b"x" * 2900))
        others = [await served(bridge) for _ in range(3)]
        status, headers, body = await client.answer()
        ended = await client.over()
        sending.cancel()
    await client.close()

    assert ([200] * 3, 408, "head_timeout", "close", True) == (others, status, code(body), headers["connection"], ended)


async def test_a_body_that_does_not_end_is_cut_off(bridge: BridgeProcess, fleet: ScriptedFleet) -> None:
    """A byte now and then does not prolong it, and no job comes of it."""
    client = await Client.of(bridge)
    client.send(CHAT + b"Content-Length: 2000\r\n\r\n")
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(client.trickle(b" " * 2000))
        other = await served(bridge)
        status, _, body = await client.answer()
        sending.cancel()
    await client.close()

    assert (200, 408, "body_timeout", 0) == (other, status, code(body), fleet.jobs.qsize())


BOMBS: dict[str, tuple[bytes, bytes]] = {
    "one endless header": (GET + b"X-Long: ", b"x" * 100_000),
    "endless headers": (GET, b"X-A: b\r\n" * 12_500),
    "an endless target": (b"GET /v1/models?", b"x" * 100_000),
    "an endless method": (b"G", b"G" * 100_000),
    "endless trailers": (CHUNKED + b"1\r\n{\r\n0\r\n", b"X-A: b\r\n" * 12_500),
    "one endless trailer": (CHUNKED + b"1\r\n{\r\n0\r\nX-Long: ", b"x" * 100_000),
    "an endless word beside a piece": (CHUNKED + b"1;x=", b"x" * 100_000),
    "an endless length of a piece": (CHUNKED, b"0" * 100_000),
}
"""What stands first, and what is sent a hundred times after it: ten megabytes."""


@pytest.mark.parametrize("name", BOMBS)
async def test_what_surrounds_a_body_is_bounded(bridge: BridgeProcess, fleet: ScriptedFleet, name: str) -> None:
    """Ten megabytes of it are not kept: the connection ends long before, and the bridge is not the larger for it."""
    before_kb = memory_kb(bridge)
    client = await Client.of(bridge)
    client.send(BOMBS[name][0])
    await client.flood(BOMBS[name][1], 100)
    ended = await client.over()
    await client.close()

    assert (True, 200, 0) == (ended, await served(bridge), fleet.jobs.qsize())
    assert memory_kb(bridge) - before_kb < 6_000


@pytest.mark.parametrize(
    ("path", "kind"),
    [(b"/v1/chat/completions", dict), (b"/api/chat", str), (b"/v1/messages", dict), (b"/api/v1/session", dict)],
)
async def test_large_headers_are_refused_in_the_api_s_own_form(bridge: BridgeProcess, path: bytes, kind: type) -> None:
    """431, with what browsers should know; a head of the common size is none of it."""
    client = await Client.of(bridge)
    client.send(POST % path + b"Content-Length: 2\r\nX-Long: " + b"x" * MOST_HEAD_BYTES + b"\r\n\r\n{}")
    status, headers, body = await client.answer()
    await client.close()

    assert (431, "nosniff", "close") == (status, headers["x-content-type-options"], headers["connection"])
    assert isinstance(json.loads(body)["error"], kind)


async def test_the_largest_head_that_is_taken_is_taken(bridge: BridgeProcess) -> None:
    """A cookie of 60 kB and a hundred headers are nobody's attack."""
    client = await Client.of(bridge)
    client.send(GET + b"".join(b"X-%d: y\r\n" % at for at in range(100)) + b"Cookie: " + b"x" * 60_000 + b"\r\n\r\n")
    status, _, _ = await client.answer()
    await client.close()

    assert 200 == status


GARBAGE: dict[str, bytes] = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "null bytes": b"\x00" * 100,
    "words": b"hello there\r\n\r\n",
    "a target that is not ASCII": b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tunnel": b"CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two lengths": CHAT + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n{}  ",
    "a length and pieces": CHAT + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": CHAT + b"Content-Length: -1\r\n\r\n",
    "an endless length": CHAT + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "a folded header": GET + b"X-A: b\r\n c\r\n\r\n",
    "a header without a name": GET + b": b\r\n\r\n",
    "pieces of another kind": CHAT + b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a piece of a negative length": CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n",
    "a piece that is longer than it says": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
    "pieces between bare line feeds": CHUNKED + b"2\n{}\n0\n\n",
    "a bare line feed": b"GET /v1/models HTTP/1.1\nHost: localhost\nX: \x01\n\n",
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_what_is_no_http_is_refused(bridge: BridgeProcess, fleet: ScriptedFleet, name: str) -> None:
    """400 as JSON and the end, or what it says is taken for what it is; never a 5xx, and never a job."""
    client = await Client.of(bridge)
    client.send(GARBAGE[name])
    status, headers, body = await client.answer()
    await client.close()

    assert ((400, "application/json", "bad_request"), 0, 200) == (
        (status, headers.get("content-type"), code(body)),
        fleet.jobs.qsize(),
        await served(bridge),
    )


async def test_requests_in_one_piece_are_answered_in_order(bridge: BridgeProcess) -> None:
    """Three at once, and the third is answered after the second, on the same connection."""
    client = await Client.of(bridge)
    client.send(GET + b"\r\n" + WHOLE + GET.replace(b"/v1/models", b"/nothing") + b"\r\n")
    told = [await client.answer() for _ in range(3)]
    await client.close()

    assert [200, 200, 404] == [status for status, _, _ in told]
    assert ["list", "chat.completion"] == [json.loads(body)["object"] for _, _, body in told[:2]]


async def test_garbage_behind_a_request_ends_the_connection(bridge: BridgeProcess, fleet: ScriptedFleet) -> None:
    """The job of who no longer speaks HTTP is cancelled, and no refusal is written into its answer."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.token("once")
        await job.cancelled.wait()

    fleet.script = script
    client = await Client.of(bridge)
    client.send(WHOLE.replace(BODY, b'{"stream":true,' + BODY[1:]).replace(b": 45", b": 59"))
    async with asyncio.timeout(HANG_S):
        job = await fleet.jobs.get()
        await client.reader.readuntil(b"once")
        client.send(b"\x00\x01\x02 nonsense\r\n\r\n")
        rest = await client.reader.read()
        cancelled = await fleet.cancels.get()
    await client.close()

    assert (job.id, False) == (cancelled, b"HTTP/1.1" in rest)


@pytest.mark.parametrize("sent", [b"", GET[:20], CHAT + b"Content-Length: 9\r\n\r\n{"])
async def test_a_half_closed_connection_is_a_hang_up(bridge: BridgeProcess, fleet: ScriptedFleet, sent: bytes) -> None:
    """Whose sending side is closed before its request was whole sends no more of it: the connection ends, and nothing is begun."""
    client = await Client.of(bridge)
    client.send(sent)
    client.writer.write_eof()
    ended = await client.over()
    await client.close()

    assert (True, 0, 200) == (ended, fleet.jobs.qsize(), await served(bridge))


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/v1/models", "localhost", 200),
        ("http://evil.example/v1/models", "localhost", 400),
        ("http://localhost/v1/models", "evil.example", 400),
        ("http://localhost:1/v1/models", "localhost:2", 400),
        ("http://[localhost/v1/models", "localhost", 400),
    ],
)
async def test_a_whole_url_as_target_names_the_same_host(
    bridge: BridgeProcess, target: str, host: str, status: int
) -> None:
    """As the header Host does; else one of them would be believed, and the other one acted on."""
    client = await Client.of(bridge)
    client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    found, _, _ = await client.answer()
    await client.close()

    assert status == found


async def test_who_offers_another_protocol_is_answered_in_this_one(bridge: BridgeProcess) -> None:
    """As Java's client does with each request; its body is read, and the connection goes on."""
    client = await Client.of(bridge)
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nHost"
    told = []
    for request in (WHOLE, GET + b"\r\n", WHOLE):
        client.send(request.replace(b"Host", offer))
        told.append(await client.answer())
    await client.close()

    assert [200] * 3 == [status for status, _, _ in told]
    assert ["chat.completion", "list", "chat.completion"] == [json.loads(body)["object"] for _, _, body in told]


async def test_connections_are_bounded_in_number(bridge: BridgeProcess) -> None:
    """So many are served, and stay so; further ones are told to come again; and beyond that nobody is listened to at all."""
    clients = [await Client.of(bridge) for _ in range(MOST + ASIDE + 20)]
    for client in clients:
        client.send(GET + b"\r\n")
    told = [await client.answer() for client in clients]
    counted = [status for status, _, _ in told]
    refused = next(one for one in told if one[0] == 503)
    clients[0].send(GET + b"\r\n")
    still, _, _ = await clients[0].answer()
    for client in clients:
        await client.close()
    async with asyncio.timeout(HANG_S):
        while await served(bridge) != 200:  # noqa: ASYNC110  # another process's doings raise no event
            await asyncio.sleep(0.01)

    assert {200, 503, 0} == set(counted)
    assert (True, True, 200) == (counted.count(200) <= MOST, counted.count(503) <= ASIDE, still)
    assert ("too_many_connections", "1", "close") == (
        code(refused[2]),
        refused[1]["retry-after"],
        refused[1]["connection"],
    )


@pytest.mark.parametrize(
    ("wanted", "soft", "hard", "files", "most"),
    [
        (4096, 1024, 524_288, 4096 + ASIDE + OTHERS, 4096),
        (4096, 1024, 1024, 1024, 1024 - ASIDE - OTHERS),
        (100, 20_000, 20_000, 20_000, 100),
        (4096, 100, 100, 100, 1),
        (4096, -1, -1, -1, 4096),
        (4096, 1024, -1, 4096 + ASIDE + OTHERS, 4096),
    ],
)
async def test_there_are_as_many_connections_as_open_files_allow(
    wanted: int, soft: int, hard: int, files: int, most: int
) -> None:
    """As many as are asked for, where the system lets us raise its limit so far; else what is left beside our own files."""
    assert (files, most) == rooms(wanted, soft, hard)
