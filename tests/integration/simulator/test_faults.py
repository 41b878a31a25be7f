"""Faults on demand, as a client meets them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import ollama
import pytest

from tests.integration.simulator.raw import posted
from tests.simulated import simulator

MODEL = "tinyllama:1.1b"
ASK = [{"role": "user", "content": "Why is the sky blue?"}]
STREAMED: dict[str, Any] = {"model": MODEL, "messages": ASK}
WHOLE = STREAMED | {"stream": False}


async def test_hang_loads_and_never_sends_a_token() -> None:
    """The runner hangs while /api/ps answers; when the client gives up, its slot is free, and the next one is served."""
    async with simulator("orin") as device:
        await device.fault("hang", times=1)
        async with posted(device, "/api/chat", STREAMED):
            await device.until({"in_flight": 1, "loading": 0})
            _, shown = await device.call("GET", "/api/ps")
            hanging = await device.state()
        await device.until({"in_flight": 0, "aborted_by_client": 1})
        status, _ = await device.call("POST", "/api/chat", WHOLE)
        assert (hanging["decoding"], hanging["completed"]) == (0, 0)

        assert ([entry["name"] for entry in shown["models"]], status) == ([MODEL], 200)


async def test_crash_mid_stream_cuts_the_connection_after_its_tokens() -> None:
    """Two lines arrive, then the end without the closing chunk."""
    async with simulator("orin") as device:
        await device.fault("crash_mid_stream", after_tokens=2)
        async with posted(device, "/api/chat", STREAMED) as request:
            received = await request.rest()

        assert (received.count(b'"done":false'), received.endswith(b"0\r\n\r\n")) == (2, False)


@pytest.mark.parametrize("body", [STREAMED, WHOLE])
async def test_a_crash_is_an_error_for_an_http_client(body: dict[str, Any]) -> None:
    """Streamed or not, the client sees a connection that broke, not an answer."""
    async with simulator("orin") as device, httpx.AsyncClient(base_url=device.url, trust_env=False) as http:
        await device.fault("crash_mid_stream")
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post("/api/chat", json=body, timeout=20)
        state = await device.until({"in_flight": 0})

        assert state["failed"] == 1


async def test_slow_stretches_every_duration() -> None:
    """The reported speed is a quarter."""
    async with simulator("orin") as device:
        await device.fault("slow", factor=4)
        _, answer = await device.call("POST", "/api/chat", WHOLE)

        assert answer["eval_count"] / answer["eval_duration"] * 1e9 == pytest.approx(47.8 / 4, rel=1e-3)


async def test_a_throttled_board_is_slow_and_says_why() -> None:
    """Every request meets it until it is cleared, and the sensors give the reasons meanwhile."""
    async with simulator("orin") as device:
        await device.fault("throttle", factor=2, reasons=["under-voltage: 4.5 V"])
        answers = [(await device.call("POST", "/api/chat", WHOLE))[1] for _ in range(2)]
        throttled = (await device.call("GET", "/sim/sensors"))[1]
        await device.call("DELETE", "/sim/faults")
        cleared = (await device.call("GET", "/sim/sensors"))[1]
        assert [pytest.approx(47.8 / 2, rel=1e-3)] * 2 == [
            one["eval_count"] / one["eval_duration"] * 1e9 for one in answers
        ]

        assert [(True, ["under-voltage: 4.5 V"]), (False, [])] == [
            (said["throttled"], said["throttling"]) for said in (throttled, cleared)
        ]


async def test_a_lost_gpu_shows_in_ps_alone() -> None:
    """The board still has one: that the model does not use it is said by `size_vram`, as Ollama says it."""
    async with simulator("orin") as device:
        await device.call("POST", "/api/chat", WHOLE)
        before = (await device.call("GET", "/api/ps"))[1]["models"][0]
        await device.fault("no_gpu")
        after = (await device.call("GET", "/api/ps"))[1]["models"][0]
        sensors = (await device.call("GET", "/sim/sensors"))[1]

        assert (before["size"], 0, True) == (before["size_vram"], after["size_vram"], sensors["gpu"])


async def test_readings_are_shown_as_ordered() -> None:
    """Heat, a battery, a full disk: what was ordered stands before what is, null takes one back, and DELETE all."""
    async with simulator("orin") as device:
        ordered = {"temperature_c": 88, "on_battery": True, "battery_percent": 12.5, "disk_free_bytes": 10}
        shown = (await device.call("POST", "/sim/sensors", ordered))[1]
        fewer = (await device.call("POST", "/sim/sensors", {"temperature_c": None}))[1]
        healed = (await device.call("DELETE", "/sim/sensors"))[1]
        assert ordered == {name: shown[name] for name in ordered}
        assert (fewer["on_battery"], fewer["temperature_c"] < 88) == (True, True)

        assert "on_battery" not in healed


async def test_a_bad_reading_is_a_400_with_the_way_out() -> None:
    """Nothing changes, and the message says what was wrong."""
    async with simulator("orin") as device:
        answers = [await device.call("POST", "/sim/sensors", body) for body in (b"", {"gpu": 1})]

        assert [(400, True)] * 2 == [
            (status, answer["error"].startswith("bad reading: ")) for status, answer in answers
        ]


async def test_busy_refuses_at_once() -> None:
    """503 with Ollama's words, as often as ordered, then service again."""
    async with simulator("orin") as device:
        await device.fault("busy_503", times=2)
        answers = [await device.call("POST", "/api/chat", WHOLE) for _ in range(3)]
        assert answers[0][1] == {"error": "server busy, please try again.  maximum pending requests exceeded"}

        assert [status for status, _ in answers] == [503, 503, 200]


async def test_wrong_json_is_one_malformed_line() -> None:
    """All the other lines can be read; the package fails on the one."""
    async with simulator("orin") as device, httpx.AsyncClient(base_url=device.url, trust_env=False) as http:
        await device.fault("wrong_json", after_tokens=1)
        received = (await http.post("/api/chat", json=STREAMED, timeout=20)).text.splitlines()
        async with ollama.AsyncClient(host=device.url) as client:
            with pytest.raises(json.JSONDecodeError):
                assert [chunk async for chunk in await client.chat(MODEL, ASK, stream=True)]
        readable = [line for line in received if line.endswith("}")]

        assert (len(received) - len(readable), received.index('{"model":"simulated","created_at":"20')) == (1, 1)


async def test_wrong_json_spoils_a_whole_answer_too() -> None:
    """Without a stream the body is no JSON, at status 200."""
    async with simulator("orin") as device:
        await device.fault("wrong_json")
        status, answer = await device.call("POST", "/api/chat", WHOLE)

        assert (200, str) == (status, type(answer))


@pytest.mark.parametrize(("after_tokens", "status"), [(0, 500), (2, -1)])
async def test_a_dead_runner_is_a_status_or_a_last_line(after_tokens: int, status: int) -> None:
    """Before the first token it is a 500; after it, an error line in a stream that began with 200."""
    async with simulator("orin") as device:
        await device.fault("error_500", after_tokens=after_tokens)
        chunks: list[ollama.ChatResponse] = []
        async with ollama.AsyncClient(host=device.url) as client:
            stream = await client.chat(MODEL, ASK, stream=True)
            with pytest.raises(ollama.ResponseError, match="model runner has unexpectedly stopped") as caught:
                await _gather(stream, chunks)

        assert (after_tokens, status) == (len(chunks), caught.value.status_code)


async def _gather(stream: AsyncIterator[ollama.ChatResponse], chunks: list[ollama.ChatResponse]) -> None:
    async for chunk in stream:
        chunks.append(chunk)  # noqa: PERF401 - what came before the failure is what is looked at


async def test_faults_are_shown_and_cleared() -> None:
    """GET tells the standing order, DELETE ends it."""
    async with simulator("orin") as device:
        await device.fault("hang", times=3)
        shown = (await device.call("GET", "/sim/faults"))[1]
        cleared = (await device.call("DELETE", "/sim/faults"))[1]

        assert (shown["kind"], shown["times"], cleared["kind"]) == ("hang", 3, "none")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", {"kind": "explode"}, {"kind": "slow", "factor": -1}])
async def test_a_bad_order_is_a_400_with_the_way_out(body: object) -> None:
    """Nothing changes, and the message says what was wrong."""
    async with simulator("orin") as device:
        status, answer = await device.call("POST", "/sim/faults", body)
        standing = (await device.call("GET", "/sim/faults"))[1]
        assert standing["kind"] == "none"

        assert (status, answer["error"].startswith("bad fault: ")) == (400, True)
