"""The bridge as a process: its port, its address, its signals, and what it says of the fleet."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.bus import Delivery
from common.messages import DeviceState
from dispatcher.bridge.presence import DISPATCHER_STATS, REMEMBER_S
from tests.bridge_process import START_S, BridgeProcess, bridge_environment, bridge_process, start_bridge
from tests.nats_server import NatsServer, free_port
from tests.scripted_fleet import ScriptedFleet, ScriptedJob

CHAT = "/v1/chat/completions"
HI = {"messages": [{"role": "user", "content": "hi"}]}
HANG_S = 20.0


@pytest.fixture
async def http(bridge: BridgeProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http:
        yield http


async def failed_start(directory: Path, **settings: str) -> tuple[int | None, str]:
    """Start a bridge that can't start; give its exit status and what it said on standard error."""
    process = await start_bridge(bridge_environment(**settings), str(directory))
    async with asyncio.timeout(START_S):
        _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_a_taken_port_is_one_clear_line(bridge: BridgeProcess, nats: NatsServer, tmp_path: Path) -> None:
    """It names the port and the variable, and the exit status is 1."""
    status, said = await failed_start(tmp_path, NATS_URL=nats.url, DROVER_HTTP_PORT=str(bridge.port))

    assert (status, said.count("\n"), f"127.0.0.1:{bridge.port} is taken" in said, "DROVER_HTTP_PORT" in said) == (
        1,
        1,
        True,
        True,
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_other_machines_are_kept_out_by_default(nats: NatsServer, tmp_path: Path, host: str) -> None:
    """Without keys the bridge refuses, says why, and how to accept it."""
    status, said = await failed_start(tmp_path, NATS_URL=nats.url, DROVER_HTTP_HOST=host, DROVER_HTTP_KEYS="off")

    assert (status, said.count("\n")) == (78, 1)
    assert ("asks nobody for a key" in said, "DROVER_HTTP_ALLOW_REMOTE=true" in said) == (True, True)


async def test_other_machines_come_in_when_that_was_accepted(nats: NatsServer) -> None:
    """Then addresses are answered, and configured names; other names still are not."""
    remote = {
        "DROVER_HTTP_HOST": "0.0.0.0",
        "DROVER_HTTP_ALLOW_REMOTE": "true",
        "DROVER_HTTP_ALLOWED_HOSTS": "fleet.lan, a.b",
    }
    async with (
        bridge_process(nats.url, **remote) as bridge,
        httpx.AsyncClient(timeout=HANG_S, trust_env=False) as http,
    ):
        url = f"http://127.0.0.1:{bridge.port}/v1/models"
        hosts = ("192.168.1.5:8080", "fleet.lan", "a.b:80", "evil.example")
        found = [(await http.get(url, headers={"host": host})).status_code for host in hosts]

    assert found == [200, 200, 200, 400]


async def test_a_missing_nats_server_is_one_clear_line(tmp_path: Path) -> None:
    """It names the address that nobody answers at, and the exit status is 1."""
    url = f"nats://127.0.0.1:{free_port()}"
    status, said = await failed_start(tmp_path, NATS_URL=url, DROVER_NATS_CONNECT_WAIT_S="0.5", LOG_LEVEL="ERROR")

    assert (status, url in said, "Traceback" in said) == (1, True, False)


async def test_wrong_settings_are_listed(tmp_path: Path) -> None:
    """Every wrong variable with its value, and the exit status is 1."""
    status, said = await failed_start(tmp_path, DROVER_HTTP_PORT="99999", DROVER_HTTP_HEADER_HOLD_S="soon")

    assert (status, "DROVER_HTTP_PORT='99999'" in said, "DROVER_HTTP_HEADER_HOLD_S='soon'" in said) == (1, True, True)


async def test_an_idle_bridge_stops_soon_and_in_good_order(bridge: BridgeProcess, http: httpx.AsyncClient) -> None:
    """Also while a client keeps a connection open for later; to be stopped is no failure, so the status is 0."""
    await http.get("/v1/models")

    assert await bridge.signal_and_wait(signal.SIGTERM) == 0


async def test_open_answers_are_finished_before_the_end(
    bridge: BridgeProcess, fleet: ScriptedFleet, http: httpx.AsyncClient
) -> None:
    """After the first signal new connections are refused, and the open stream still gets its whole text."""
    may_end = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.token("first ")
        await job.stay(may_end, "decode")
        await job.token("last")
        await job.end()

    fleet.script = script
    async with http.stream("POST", CHAT, json={**HI, "stream": True}) as response:
        bridge.process.send_signal(signal.SIGTERM)
        await refuses_connections(bridge)
        may_end.set()
        text = "".join([piece async for piece in response.aiter_text()])
    async with asyncio.timeout(HANG_S):
        status = await bridge.process.wait()

    assert ('"last"' in text, text.endswith("data: [DONE]\n\n"), status) == (True, True, 0)


async def refuses_connections(bridge: BridgeProcess) -> None:
    """Return when nobody listens on the bridge's port any more."""
    async with asyncio.timeout(HANG_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.02)


async def test_after_the_grace_an_open_answer_says_that_it_ends(nats: NatsServer, fleet: ScriptedFleet) -> None:
    """The stream ends with an error event and `[DONE]`, its job is cancelled, and the process ends."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.token("x")
        await job.cancelled.wait()

    fleet.script = script
    async with (
        bridge_process(nats.url, DROVER_HTTP_GRACE_S="0.2") as bridge,
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
    ):
        async with http.stream("POST", CHAT, json={**HI, "stream": True}) as response:
            bridge.process.send_signal(signal.SIGTERM)
            lines = [line async for line in response.aiter_lines() if line]
        async with asyncio.timeout(HANG_S):
            cancelled = await fleet.cancels.get()
            status = await bridge.process.wait()
    error = json.loads(lines[-2][6:])["error"]

    assert (error["code"], lines[-1], cancelled, status) == (
        "interrupted",
        "data: [DONE]",
        (await fleet.jobs.get()).id,
        0,
    )


async def test_a_second_signal_ends_the_process_now(
    bridge: BridgeProcess, fleet: ScriptedFleet, http: httpx.AsyncClient
) -> None:
    """While a stream is still open, with 128 plus the signal's number."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.token("x")

    fleet.script = script
    async with http.stream("POST", CHAT, json={**HI, "stream": True}):
        bridge.process.send_signal(signal.SIGTERM)
        await refuses_connections(bridge)

        assert await bridge.signal_and_wait(signal.SIGTERM) == 128 + signal.SIGTERM


async def until_health(http: httpx.AsyncClient, status: int, *, device: str = "", reason: str = "") -> dict[str, Any]:
    """Ask until the health has this status, knows the device and gives the reason if one is named; the body then.

    On a busy machine another reason may come before: a dispatcher's answer that takes a second counts as none.
    """
    async with asyncio.timeout(HANG_S):
        while True:
            response = await http.get("/health")
            body = dict(response.json())
            known = (not device or device in body["devices"]) and reason in body.get("reason", "")
            if response.status_code == status and known:
                return body
            await asyncio.sleep(0.05)


async def test_health_is_ok_while_a_device_is_up(http: httpx.AsyncClient) -> None:
    """With the devices and models that there are."""
    body = await until_health(http, 200)

    assert (body["status"], body["devices"], body["models"]) == ("ok", {"nano": "ready"}, ["llama3.2:1b"])


async def test_however_many_ask_for_the_health_the_bus_is_asked_once_a_second(
    http: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """Of fifty probes at once, each without a key, all but the first are told what that was told."""
    await until_health(http, 200)
    asked = list[Delivery]()
    listening = await fleet.bus.subscribe(DISPATCHER_STATS, asked.append)
    await fleet.bus.flush()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    async with asyncio.TaskGroup() as tasks:
        found = [tasks.create_task(http.get("/health")) for _ in range(50)]
    took_s = loop.time() - began_s
    await listening.unsubscribe()

    assert ({200}, True) == ({one.result().status_code for one in found}, len(asked) <= 1 + took_s / REMEMBER_S)


async def test_health_tells_when_the_last_device_left(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """503, with the state of each device in the reason."""
    await fleet.beat(state=DeviceState.DRAINING)
    body = await until_health(http, 503, reason="no device")

    assert (body["status"], body["reason"]) == ("unavailable", "no device is ready: nano is draining")


async def test_health_tells_when_heartbeats_stop(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """A device whose heartbeats are missing for five of its intervals is dead."""
    await fleet.beat(interval_s=0.05)
    body = await until_health(http, 503, reason="no device")

    assert body["reason"] in {"no device is ready: nano is silent", "no device is ready: nano is lost"}


async def test_health_tells_when_no_dispatcher_answers(nats: NatsServer) -> None:
    """503 with the command that starts one; a chat gets the same refusal, as nobody takes it."""
    async with (
        bridge_process(nats.url) as bridge,
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
    ):
        body = await until_health(http, 503)
        chat = await http.post(CHAT, json=HI)

    assert ("no dispatcher answers" in body["reason"], chat.status_code, chat.json()["error"]["code"]) == (
        True,
        503,
        "no_dispatcher",
    )


async def test_health_tells_when_the_bus_is_away_and_recovers(
    http: httpx.AsyncClient, nats: NatsServer, fleet: ScriptedFleet
) -> None:
    """Without NATS the reason says so and a chat is refused; when it is back, so is the health."""
    await nats.stop()
    body = await until_health(http, 503, reason="NATS")
    chat = await http.post(CHAT, json=HI)
    await nats.restart()
    async with asyncio.timeout(HANG_S):
        await fleet.connected_again()
    back = await until_health(http, 200)

    assert ("no connection to NATS" in body["reason"], chat.status_code, back["status"]) == (True, 503, "ok")


async def test_a_garbled_heartbeat_changes_nothing(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """What is no heartbeat is dropped, and the list stays as it was."""
    for rubbish in (b"", b"x", b"[]", b'{"device":"evil"}', b'{"device":"a b","boot":"x","seq":-1}'):
        await fleet.bus.publish("llm.v1.hb.evil", rubbish)
    await fleet.beat("orin", ("llama3.2:3b",))
    # Heartbeats are heard in order: when the bridge knows orin, it has seen all the rubbish before.
    body = await until_health(http, 200, device="orin")

    assert body["devices"] == {"nano": "ready", "orin": "ready"}


async def test_models_come_from_the_heartbeats(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """`auto` and its kin first, then each model once; an id may hold `:` and `/`, and stand without `latest`."""
    await fleet.beat("orin", ("llama3.2:1b", "hf.co/some/model:latest"))
    await until_health(http, 200, device="orin")
    listed = (await http.get("/v1/models")).json()
    one = (await http.get("/v1/models/hf.co/some/model")).json()
    auto = (await http.get("/v1/models/auto")).json()

    assert ([card["id"] for card in listed["data"]], one["id"], one["x_drover"]["devices"], auto["id"]) == (
        ["auto", "auto:fast", "auto:eco", "auto:local", "hf.co/some/model:latest", "llama3.2:1b"],
        "hf.co/some/model",
        ["orin"],
        "auto",
    )


async def test_the_description_lists_what_the_chat_route_takes(http: httpx.AsyncClient) -> None:
    """`/openapi.json` has the request's schema, whose references all lead somewhere, and no foreign error shapes."""
    text = (await http.get("/openapi.json")).text
    described = json.loads(text)
    schemas = described["components"]["schemas"]
    body = described["paths"][CHAT]["post"]["requestBody"]["content"]["application/json"]["schema"]
    names = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    explained = {one["name"] for one in described["paths"]["/v1/route/explain"]["post"]["parameters"]}

    assert (
        explained,
        {one["name"] for one in described["paths"][CHAT]["post"]["parameters"]} - explained,
        body,
        names - set(schemas),
        "422" in text,
        "messages" in schemas["ChatCompletionRequest"]["properties"],
    ) == (
        {
            "X-Drover-Strategy",
            "X-Drover-Max-Cost-USD",
            "X-Drover-Provider-Key",
            "X-Drover-Cache",
            "Cache-Control",
        },
        {
            "Idempotency-Key",
            "X-Drover-Conversation",
            "X-Drover-Job",
            "X-Drover-Priority",
            "X-Drover-Progress",
            "X-Drover-Task",
            "X-Drover-Timeout",
        },
        {"$ref": "#/components/schemas/ChatCompletionRequest"},
        set(),
        False,
        True,
    )
