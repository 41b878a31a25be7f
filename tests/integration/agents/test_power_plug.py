"""Watts of a smart plug over real HTTP: each maker's way to ask, and plugs that are slow, broken or hostile."""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading

import pytest

from agents.power import Unreadable
from agents.power.plug import MOST_BYTES, Plug
from agents.power.plug_answers import Kind
from tests.integration.agents.plug_server import Answering, Asked, plug_server, saying
from tests.unit.agents.power.recorded import HOME_ASSISTANT, SHELLY1, SHELLY2, TASMOTA

GUARD_S = 30.0
SOON_S = 0.2
SECRET = "tok-3n+&=?w0rd"


def plug(
    url: str, kind: Kind = "tasmota", *, token: str | None = None, field: str = "", wait_s: float = GUARD_S
) -> Plug:
    return Plug(url, kind=kind, field=field, token=token, wait_s=wait_s)


@pytest.mark.parametrize(
    ("kind", "body", "path", "target", "watts"),
    [
        ("tasmota", TASMOTA, "", "/cm?cmnd=Status%208", 26.0),
        ("shelly1", SHELLY1, "", "/meter/0", 2.21),
        ("shelly2", SHELLY2, "", "/rpc/Shelly.GetStatus", 10.7),
        ("homeassistant", HOME_ASSISTANT, "/api/states/sensor.station_power", "/api/states/sensor.station_power", 77.1),
        ("tasmota", TASMOTA, "/cm?cmnd=Status%2010", "/cm?cmnd=Status%2010", 26.0),
    ],
)
async def test_each_maker_is_asked_in_its_way(kind: Kind, body: bytes, path: str, target: str, watts: float) -> None:
    """At its own path, unless the owner's address names one; and on one connection."""
    async with plug_server(saying(body)) as server:
        reader = plug(server.url + path, kind)
        readings = [await reader.read() for _ in range(3)]
        await reader.close()

    assert ([each.watts for each in readings], [asked.target for asked in server.asked], server.connections) == (
        [watts] * 3,
        [target] * 3,
        1,
    )


async def test_a_plug_measures_all_and_says_how_well() -> None:
    """3 % and half a watt of 26 W."""
    async with plug_server(saying(TASMOTA)) as server:
        reader = plug(server.url)
        reading = await reader.read()
        await reader.close()

    assert (reading.rail, reading.source, reading.measured, round(reading.uncertainty, 4)) == (
        "plug",
        "plug",
        True,
        0.0492,
    )


async def test_home_assistant_gets_its_token() -> None:
    """As a bearer's."""
    async with plug_server(saying(HOME_ASSISTANT)) as server:
        reader = plug(f"{server.url}/api/states/sensor.x", "homeassistant", token=SECRET)
        await reader.read()
        await reader.close()

    assert server.asked[0].headers["authorization"] == f"Bearer {SECRET}"


async def test_tasmota_gets_its_password() -> None:
    """In the query, where it wants it, and escaped."""
    async with plug_server(saying(TASMOTA)) as server:
        reader = plug(server.url, token=SECRET)
        await reader.read()
        await reader.close()

    assert server.asked[0].target == "/cm?cmnd=Status%208&user=admin&password=tok-3n%2B%26%3D%3Fw0rd"


async def test_shelly_s_second_generation_is_answered_its_challenge() -> None:
    """Digest with SHA-256: the password itself never travels."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        said = dict(re.findall(r'(\w+)="?([^",]+)"?', asked.headers.get("authorization", "")))
        if said and said["response"] == _digest(said, asked.target):
            await saying(SHELLY2)(asked, writer)
        else:
            challenge = 'WWW-Authenticate: Digest qop="auth", realm="plug", nonce="60dc2c1b", algorithm=SHA-256\r\n'
            await saying(b"", status="401 Unauthorized", headers=challenge)(asked, writer)

    async with plug_server(answer) as server:
        reader, stranger = plug(server.url, "shelly2", token=SECRET), plug(server.url, "shelly2", token="wrong")
        reading = await reader.read()
        with pytest.raises(Unreadable, match="DROVER_POWER_PLUG_TOKEN"):
            await stranger.read()
        await reader.close()
        await stranger.close()

    assert (reading.watts, [asked for asked in server.asked if SECRET in str(asked)]) == (10.7, [])


def _digest(said: dict[str, str], target: str) -> str:
    def sha(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    who, what = sha(f"admin:{said['realm']}:{SECRET}"), sha(f"GET:{target}")
    return sha(f"{who}:{said['nonce']}:{said['nc']}:{said['cnonce']}:{said['qop']}:{what}")


async def _nothing(_: Asked, __: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _trickle(_: Asked, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def _no_http(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x16\x03\x01 I am no HTTP server\r\n\r\n")
    await writer.drain()


async def _endless(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b" " * MOST_BYTES)
        await writer.drain()


@pytest.mark.parametrize(
    ("answering", "why"),
    [
        (saying(b"", status="401 Unauthorized"), "DROVER_POWER_PLUG_TOKEN"),
        (saying(b"", status="403 Forbidden"), "DROVER_POWER_PLUG_TOKEN"),
        (saying(b"", status="404 Not Found"), "DROVER_POWER_PLUG_KIND=tasmota"),
        (saying(b"", status="302 Found", headers="Location: http://127.0.0.1:1/\r\n"), "status 302"),
        (saying(b"<html>"), "no JSON"),
        (saying(b"", headers="Content-Encoding: gzip\r\n"), "no JSON"),
        (_endless, "longer than"),
        (_no_http, "does not answer"),
    ],
)
async def test_a_plug_that_tells_no_watts(answering: Answering, why: str) -> None:
    """Each with its reason and the way out, where there is one; and never with the password."""
    async with plug_server(answering) as server:
        reader = plug(server.url, token=SECRET)
        with pytest.raises(Unreadable, match=why) as caught:
            await reader.read()
        await reader.close()

    assert [part for part in (SECRET, "w0rd") if part in str(caught.value)] == []


@pytest.mark.parametrize("answering", [_nothing, _trickle])
async def test_a_plug_that_is_slow_is_given_up(answering: Answering) -> None:
    """Its socket hangs in a wall where the radio is weak, or it trickles: the thread that asked ends with the connection."""
    wait_s, before = SOON_S, set(threading.enumerate())
    async with plug_server(answering) as server:
        while not server.asked and wait_s < GUARD_S:  # on a busy machine not even the connection may stand so soon
            reader = plug(server.url, wait_s=wait_s)
            with pytest.raises(Unreadable, match="does not answer"):
                await reader.read()
            await reader.close()
            wait_s *= 2
        left = set(threading.enumerate()) - before
        for thread in left:
            await asyncio.to_thread(thread.join, GUARD_S)

    assert (len(server.asked), [thread for thread in left if thread.is_alive()]) == (1, [])


@pytest.mark.parametrize(
    ("challenge", "known"),
    [
        ('Digest qop="auth", realm="plug", nonce="60dc2c1b", algorithm=FOO', False),
        ('Digest qop="auth-int", realm="plug", nonce="60dc2c1b"', False),
        ('Digest realm="plug"', False),
        ("Basic", False),
        ("", False),
        ('Digest realm="plug", nonce="60dc2c1b"', True),
        ('Digest qop="auth,auth-int", realm="plug", nonce="60dc2c1b", opaque="x", algorithm=MD5', True),
    ],
)
async def test_whatever_a_plug_wants_to_hear_it_is_told_that_it_refuses(challenge: str, known: bool) -> None:
    """A way to ask that nobody knows is no end of the agent; one that is known is asked once more, and no third time."""
    async with plug_server(
        saying(b"", status="401 Unauthorized", headers=f"WWW-Authenticate: {challenge}\r\n")
    ) as server:
        reader = plug(server.url, "shelly2", token=SECRET)
        with pytest.raises(Unreadable, match="DROVER_POWER_PLUG_TOKEN"):
            await reader.read()
        await reader.close()

    assert (len(server.asked), SECRET in str(server.asked)) == (1 + known, False)


async def test_a_plug_that_is_away_and_back_is_read_again() -> None:
    """Without anything to be done."""
    answers = [saying(b"", status="503 Service Unavailable"), saying(TASMOTA)]

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await answers.pop(0)(asked, writer)

    async with plug_server(answer) as server:
        reader = plug(server.url)
        with pytest.raises(Unreadable, match="status 503"):
            await reader.read()
        reading = await reader.read()
        await reader.close()

    assert reading.watts == 26.0
