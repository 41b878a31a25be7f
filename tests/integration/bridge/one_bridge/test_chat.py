"""Chats over HTTP with the `openai` package, against a real bridge process and a scripted fleet on a real NATS server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest

from common import errors, frames
from common.messages import ToolCall
from tests.bridge_process import BridgeProcess, bridge_process
from tests.nats_server import nats_server
from tests.scripted_fleet import ScriptedFleet, ScriptedJob, scripted_fleet

HI: Any = [{"role": "user", "content": "hi"}]
HANG_S = 20.0

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one bridge serves all but those that need another


async def events(response: httpx.Response) -> list[Any]:
    """The data of each event; `[DONE]` stays text."""
    lines = [line async for line in response.aiter_lines() if line]
    assert all(line.startswith("data: ") for line in lines), lines
    return [json.loads(line[6:]) if line != "data: [DONE]" else "[DONE]" for line in lines]


async def streamed(
    http: httpx.AsyncClient, headers: dict[str, str] | None = None, **fields: Any
) -> tuple[httpx.Response, list[Any]]:
    body = {"messages": HI, "stream": True, **fields}
    async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
        return response, await events(response)


async def test_a_whole_answer(client: openai.AsyncOpenAI) -> None:
    """The package reads text, resolved model, usage, and our account beside them."""
    answer = await client.chat.completions.create(model="auto", messages=HI)
    account = (answer.model_extra or {})["x_drover"]

    assert (
        answer.choices[0].message.content,
        answer.model,
        answer.usage and answer.usage.total_tokens,
        account["device"],
    ) == (
        "Hello there!",
        "llama3.2:1b",
        10,
        "nano",
    )


async def test_a_streamed_answer(client: openai.AsyncOpenAI) -> None:
    """The package reads the text piece by piece, and the usage that it asked for."""
    stream = await client.chat.completions.create(
        model="auto", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]

    assert (pieces, chunks[-1].usage and chunks[-1].usage.completion_tokens) == (["", "Hello", " there", "!", None], 3)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_headers_tell_where_it_ran_and_why(
    http: httpx.AsyncClient, fleet: ScriptedFleet, stream: bool
) -> None:
    """Device, model, reason and job stand in the headers, fit for them, streamed or not."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route("orin", "llama3.2:3b", "score 0.81 · fits\r\nX-Evil: 1")
        await job.token("hi")
        await job.end()

    fleet.script = script
    response = await http.post("/v1/chat/completions", json={"messages": HI, "stream": stream})
    found = {name: response.headers.get(f"x-drover-{name}") for name in ("device", "model", "reason", "job")}

    assert found == {
        "device": "orin",
        "model": "llama3.2:3b",
        "reason": "score 0.81 - fits X-Evil: 1",
        "job": (await fleet.jobs.get()).id,
    }


async def test_the_wire_keeps_to_what_strict_readers_ask(http: httpx.AsyncClient) -> None:
    """Only data lines, one id, `[DONE]` last; our account stands on the chunk that has the finish."""
    response, found = await streamed(http)
    *chunks, done = found
    finish = [chunk for chunk in chunks if chunk["choices"][0]["finish_reason"]]

    assert (
        response.headers["content-type"],
        done,
        len({chunk["id"] for chunk in chunks}),
        [chunk for chunk in chunks if "usage" in chunk],
        ["x_drover" in chunk for chunk in chunks],
        finish[0]["x_drover"]["timings"]["decode_tps"],
    ) == ("text/event-stream; charset=utf-8", "[DONE]", 1, [], [False] * 4 + [True], 17.4)


async def test_what_is_asked_reaches_the_fleet(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """Model, pin, options, tools, format and tenant travel as ours."""
    await http.post(
        "/v1/chat/completions",
        json={
            "model": "llama3.2:1b@nano",
            "messages": HI,
            "max_tokens": 5,
            "stop": "END",
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "response_format": {"type": "json_object"},
        },
    )
    job = await fleet.jobs.get()
    found = {key: job.request.get(key) for key in ("model", "device", "tools", "format")}

    assert (found, job.request["options"]["max_tokens"], job.request["options"]["stop"], job.tenant) == (
        {
            "model": "llama3.2:1b",
            "device": "nano",
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "format": "json",
        },
        5,
        ["END"],
        "default",
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_call(client: openai.AsyncOpenAI, fleet: ScriptedFleet, stream: bool) -> None:
    """A call arrives with its name, its arguments as a JSON text, and the finish that says so."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.end(tool_calls=(ToolCall(name="weather", arguments={"city": "Graz"}, id="c1"),))

    fleet.script = script
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    if stream:
        chunks = [
            chunk.choices[0]
            async for chunk in await client.chat.completions.create(model="auto", messages=HI, tools=tools, stream=True)
        ]
        calls: Any = next(choice.delta.tool_calls for choice in chunks if choice.delta.tool_calls)
        finish = chunks[-1].finish_reason
    else:
        choice = (await client.chat.completions.create(model="auto", messages=HI, tools=tools)).choices[0]
        calls, finish = choice.message.tool_calls, choice.finish_reason

    assert (calls[0].id, calls[0].function.name, calls[0].function.arguments, finish) == (
        "c1",
        "weather",
        '{"city":"Graz"}',
        "tool_calls",
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_a_forced_tool_call_is_refused(client: openai.AsyncOpenAI, fleet: ScriptedFleet, stream: bool) -> None:
    """In OpenAI's shape, 400 with the field in `param`, and before the fleet hears of it."""
    heard: list[ScriptedJob] = []

    async def script(job: ScriptedJob) -> None:
        heard.append(job)
        await job.ack()
        await job.end()

    fleet.script = script
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(
            model="auto", messages=HI, tools=tools, tool_choice="required", stream=stream
        )

    assert (caught.value.code, caught.value.param, heard) == ("unsupported", "tool_choice", [])


async def test_the_headers_of_a_stream_name_the_device_that_answered(
    http: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """A fallback before the first token replaces the first route, also in the headers."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route("nano", "llama3.2:1b", "first choice", 1)
        await job.route("orin", "llama3.2:3b", "nano was busy", 2)
        await job.token("hi")
        await job.end()

    fleet.script = script
    response, found = await streamed(http)

    assert (response.headers["x-drover-device"], {chunk["model"] for chunk in found[:-1]}) == ("orin", {"llama3.2:3b"})


async def test_the_headers_come_with_the_route() -> None:
    """Before any text, with the role, and they name the device that was chosen: a job may still move; the finish has the truth."""
    headers_came = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route("nano")
        while not headers_came.is_set():
            await job.keep_alive("load", 9.0)
            await asyncio.sleep(0.05)
        await job.route("orin", attempt=2)
        await job.token("hi")
        await job.end()

    async with (
        nats_server() as nats,
        scripted_fleet(nats.url) as fleet,
        bridge_process(nats.url) as bridge,
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
    ):
        fleet.script = script
        async with http.stream("POST", "/v1/chat/completions", json={"messages": HI, "stream": True}) as response:
            headers_came.set()
            found = await events(response)

    assert (
        response.headers.get("x-drover-device"),
        "x-drover-job" in response.headers,
        found[0]["model"],
        found[-2]["x_drover"]["device"],
    ) == ("nano", True, "llama3.2:1b", "orin")


@pytest.mark.parametrize(
    ("headers", "fields", "expected"),
    [
        ({}, {}, "normal"),
        ({"x-drover-priority": "interactive"}, {}, "interactive"),
        ({}, {"service_tier": "flex"}, "batch"),
        ({"x-drover-priority": "normal"}, {"service_tier": "priority"}, "normal"),
        ({"x-drover-task": "title_generation"}, {}, "batch"),
        ({"x-drover-task": ""}, {}, "normal"),
        ({"x-drover-task": "title_generation", "x-drover-priority": "normal"}, {}, "normal"),
    ],
)
async def test_a_priority_reaches_the_fleet(
    http: httpx.AsyncClient, fleet: ScriptedFleet, headers: dict[str, str], fields: dict[str, Any], expected: str
) -> None:
    """The header names it, or else OpenAI's tier, and what is done in the background waits; and a whole answer says how long the
    job waited for a slot."""
    response = await http.post("/v1/chat/completions", json={"messages": HI, **fields}, headers=headers)
    job = await fleet.jobs.get()

    assert (200, expected, "0.001") == (
        response.status_code,
        job.request["priority"],
        response.headers["x-drover-queue-s"],
    )


async def test_a_wrong_priority_is_refused(http: httpx.AsyncClient) -> None:
    """It is named, and nothing is asked of the fleet."""
    response = await http.post("/v1/chat/completions", json={"messages": HI}, headers={"x-drover-priority": "asap"})
    error = response.json()["error"]

    assert (400, "bad_request", "x-drover-priority") == (response.status_code, error["code"], error["param"])


async def test_our_own_fields_of_a_body_reach_the_fleet(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """`strategy` and `max_cost_usd` of a chat's body mean what they mean on NATS."""
    await http.post("/v1/chat/completions", json={"messages": HI, "strategy": "perf", "max_cost_usd": 0.002})
    job = await fleet.jobs.get()

    assert ("perf", 0.002) == (job.request["strategy"], job.request["max_cost_usd"])


async def test_a_page_may_ask_for_every_step(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """With `X-Drover-Progress: 1` the headers come with the acceptance, and each step as a chunk without text."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.keep_alive("queue", position=2)
        await job.route("orin")
        await job.keep_alive("load", 4.0)
        await job.token("hi")
        await job.end()

    fleet.script = script
    _, found = await streamed(http, {"x-drover-progress": "1"})
    steps = [chunk["x_drover"] for chunk in found[1:4]]
    deltas = [chunk["choices"][0]["delta"] for chunk in found[1:4]]

    assert (
        [step.get("phase") for step in steps],
        steps[0]["position"],
        steps[2]["device"],
        steps[2]["eta_s"],
        deltas,
    ) == (
        ["queue", None, "load"],
        2,
        "orin",
        4.0,
        [{}, {}, {}],
    )


ERRORS: list[tuple[errors.FleetError, type[openai.APIStatusError]]] = [
    (errors.UnknownModel("no device has 'x'"), openai.NotFoundError),
    (errors.BadRequest("no"), openai.BadRequestError),
    (errors.QueueFull("full", retry_after_s=3), openai.RateLimitError),
    (errors.DuplicateJob("twice"), openai.ConflictError),
    (errors.NoDevice("none"), openai.InternalServerError),
    (errors.DeadlineExceeded("late"), openai.InternalServerError),
]


@pytest.mark.parametrize(("error", "kind"), ERRORS, ids=[error.code for error, _ in ERRORS])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_has_its_own_status(
    client: openai.AsyncOpenAI,
    fleet: ScriptedFleet,
    error: errors.FleetError,
    kind: type[openai.APIStatusError],
    stream: bool,
) -> None:
    """The package raises the class that fits, with our code and message, also for a stream that never began."""

    async def script(job: ScriptedJob) -> None:
        await job.fail(error)

    fleet.script = script
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(model="auto", messages=HI, stream=stream)
    body: Any = caught.value.body

    assert (caught.value.code, body["message"]) == (error.code, error.message)


async def test_a_refusal_says_when_to_come_back(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """`Retry-After` in whole seconds; the job was never accepted, so repeating it is safe."""

    async def script(job: ScriptedJob) -> None:
        await job.fail(errors.QueueFull("full", retry_after_s=2.5))

    fleet.script = script
    response = await http.post("/v1/chat/completions", json={"messages": HI})

    assert (response.headers["retry-after"], "x-should-retry" in response.headers) == ("3", False)


async def test_the_package_does_not_repeat_an_accepted_job(bridge: BridgeProcess, fleet: ScriptedFleet) -> None:
    """With its default retries, a job that was accepted and failed reaches the fleet once."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.fail(errors.DeviceLost("nano went away"))

    fleet.script = script
    async with openai.AsyncOpenAI(base_url=f"{bridge.url}/v1", api_key="none", timeout=HANG_S) as client:
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="auto", messages=HI)

    assert fleet.jobs.qsize() == 1


async def test_a_failure_in_mid_stream_is_an_event(client: openai.AsyncOpenAI, fleet: ScriptedFleet) -> None:
    """After some text the package raises `APIError` with the message; the text before stays."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.tokens("Hel", "lo")
        await job.fail(errors.Interrupted("nano went away after 2 tokens"))

    fleet.script = script
    pieces: list[str] = []
    with pytest.raises(openai.APIError, match="after 2 tokens"):
        await collect(client, pieces)

    assert "".join(pieces) == "Hello"


async def collect(client: openai.AsyncOpenAI, pieces: list[str]) -> None:
    """Stream an answer into `pieces`."""
    async for chunk in await client.chat.completions.create(model="auto", messages=HI, stream=True):
        pieces.append(chunk.choices[0].delta.content or "")  # noqa: PERF401  # what came before the error must stay


async def test_a_failure_in_mid_stream_is_followed_by_done(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """The error event has OpenAI's fields, and the stream still ends in good order."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.token("x")
        await job.fail(errors.Interrupted("gone"))

    fleet.script = script
    _, found = await streamed(http)

    assert (found[-2]["error"]["message"], found[-2]["error"]["type"], found[-2]["error"]["code"], found[-1]) == (
        "gone",
        "server_error",
        "interrupted",
        "[DONE]",
    )


async def test_a_garbled_frame_fails_the_answer_and_not_the_bridge(
    http: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """What is no frame ends this answer with a typed error, and cancels its job; the next request is served."""

    async def garbled(job: ScriptedJob) -> None:
        await job.ack()
        await fleet.bus.publish(job.reply, b'{"t":"tok","s":"x"}')

    async def fine(job: ScriptedJob) -> None:
        await job.ack()
        await job.token("ok")
        await job.end()

    fleet.script = garbled
    broken = await http.post("/v1/chat/completions", json={"messages": HI})
    fleet.script = fine
    whole = await http.post("/v1/chat/completions", json={"messages": HI})

    assert (broken.status_code, broken.json()["error"]["code"], whole.status_code) == (502, "garbled", 200)


async def test_a_lost_piece_fails_the_answer(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """A text with a gap is no answer, and its job is cancelled for the bridge's tenant."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.send(frames.Token(0, "a"))
        await job.send(frames.Token(2, "c"))

    fleet.script = script
    broken = await http.post("/v1/chat/completions", json={"messages": HI})

    job = await fleet.jobs.get()

    assert (broken.status_code, broken.json()["error"]["code"], await fleet.cancels.get()) == (
        502,
        "interrupted",
        job.id,
    )


@pytest.mark.parametrize("stream", [True, False])
async def test_a_whole_answer_asks_the_dispatcher_to_hold_its_text(
    http: httpx.AsyncClient, fleet: ScriptedFleet, stream: bool
) -> None:
    """Then a device that fails half-way costs time, and never the answer."""
    await http.post("/v1/chat/completions", json={"messages": HI, "stream": stream})

    assert (await fleet.jobs.get()).request["hold"] is not stream


async def test_a_lost_bus_fails_an_open_answer_at_once() -> None:
    """The client hears it as soon as the bridge knows, long before silence would tell."""
    begun = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        begun.set()

    async with (
        nats_server() as nats,
        scripted_fleet(nats.url) as fleet,
        bridge_process(nats.url) as bridge,
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
    ):
        fleet.script = script
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:  # silence would tell after 15 s
            asking = group.create_task(http.post("/v1/chat/completions", json={"messages": HI}))
            await begun.wait()
            await fleet.bus.flush()
            await nats.stop()

    assert (503, "disconnected") == (asking.result().status_code, asking.result().json()["error"]["code"])


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Drover-Job"])
async def test_the_caller_may_name_the_job(http: httpx.AsyncClient, fleet: ScriptedFleet, header: str) -> None:
    """The fleet and the answer know the job by the caller's name."""
    response = await http.post("/v1/chat/completions", json={"messages": HI}, headers={header: "order-66"})
    job = await fleet.jobs.get()

    assert (job.id, response.headers["x-drover-job"], response.json()["id"]) == (
        "order-66",
        "order-66",
        "chatcmpl-order-66",
    )


async def test_fifty_streams_at_once_keep_their_texts_apart(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """Each of 50 concurrent streams gets its own job's text, whole and in order."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        for piece in range(20):
            await job.token(f"{job.request['messages'][0]['content']}:{piece} ")
        await job.end()

    async def one(name: str) -> str:
        _, found = await streamed(http, messages=[{"role": "user", "content": name}])
        return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in found[:-1])

    fleet.script = script
    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(one(name)) for name in (f"q{number}" for number in range(50))}

    assert {name: task.result() for name, task in tasks.items()} == {
        name: "".join(f"{name}:{piece} " for piece in range(20)) for name in tasks
    }
