"""The APIs beside the chat's, each with its vendor's own package, against a real bridge process and a scripted fleet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import numpy as np
import openai
import pytest
import pytest_asyncio

from common import errors, vectors
from common.messages import ToolCall
from tests.bridge_process import BridgeProcess
from tests.scripted_fleet import ScriptedFleet, ScriptedJob

HI: Any = [{"role": "user", "content": "hi"}]
HANG_S = 20.0
SILENT_S = 12
"""A sign of life for each second of them: `X-Drover-Progress` passes them on at once, so nobody has to wait."""
PROGRESS = {"X-Drover-Progress": "1"}

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = ToolCall(name="weather", arguments={"city": "Bern"}, id="call_7")
FLAT: Any = [{"type": "function", "name": "weather", "description": "now", "parameters": WEATHER, "strict": False}]
USED: Any = [{"name": "weather", "description": "now", "input_schema": WEATHER}]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def claude(bridge: BridgeProcess) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=bridge.url, api_key="none", max_retries=0, timeout=HANG_S) as client:
        yield client


async def call(job: ScriptedJob) -> None:
    """Want a function called, after a word."""
    await job.ack()
    await job.route()
    await job.token("Let me see.")
    await job.end(tool_calls=(CALL,))


async def silent(job: ScriptedJob) -> None:
    """Say nothing for a while before the text, and again in its middle."""
    await job.ack()
    await job.route()
    for _ in range(SILENT_S):
        await job.keep_alive("load")
    await job.token("Hello")
    for _ in range(SILENT_S):
        await job.keep_alive("decode")
    await job.tokens(" there", "!")
    await job.end()


async def cut(job: ScriptedJob) -> None:
    """End at the length that was asked for."""
    await job.ack()
    await job.route()
    await job.token("Hel")
    await job.end(finish="length")


async def broken(job: ScriptedJob) -> None:
    """Fail after a word."""
    await job.ack()
    await job.route()
    await job.token("Hel")
    await job.fail(errors.Interrupted("nano was lost"))


# --- responses


async def test_a_whole_response(client: openai.AsyncOpenAI, fleet: ScriptedFleet) -> None:
    """The package reads text, model, usage and state; instructions and options reach the fleet; nothing is kept, and it says so."""
    answer = await client.responses.create(
        model="auto", input="hi", instructions="be short", max_output_tokens=9, temperature=0.5, store=True
    )
    job = await fleet.jobs.get()

    assert (
        answer.output_text,
        answer.model,
        answer.status,
        answer.usage and (answer.usage.input_tokens, answer.usage.output_tokens_details.reasoning_tokens),
        (answer.model_extra or {})["store"],
        [(one["role"], one["content"]) for one in job.request["messages"]],
        (job.request["options"]["max_tokens"], job.request["options"]["temperature"]),
    ) == (
        "Hello there!",
        "llama3.2:1b",
        "completed",
        (7, 0),
        False,
        [("system", "be short"), ("user", "hi")],
        (9, 0.5),
    )


async def test_a_response_streams_its_events_in_order(client: openai.AsyncOpenAI) -> None:
    """Each has the next number; the package's own accumulator takes them, and ends with the whole response."""
    async with client.responses.stream(model="auto", input="hi") as stream:
        seen = [event async for event in stream]
        final = await stream.get_final_response()

    assert ([event.type for event in seen], [event.sequence_number for event in seen], final.output_text) == (
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            *["response.output_text.delta"] * 3,
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ],
        list(range(11)),
        "Hello there!",
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_calls_functions(client: openai.AsyncOpenAI, fleet: ScriptedFleet, stream: bool) -> None:
    """The call has its id and its arguments as JSON text, behind the item that has the words."""
    fleet.script = call
    if stream:
        async with client.responses.stream(model="auto", input="hi", tools=FLAT) as events:
            answer: Any = await events.get_final_response()
    else:
        answer = await client.responses.create(model="auto", input="hi", tools=FLAT)
    said, called = answer.output
    job = await fleet.jobs.get()

    assert (
        said.content[0].text,
        (called.type, called.name, called.call_id, json.loads(called.arguments)),
        job.request["tools"],
    ) == (
        "Let me see.",
        ("function_call", "weather", "call_7", {"city": "Bern"}),
        [{"type": "function", "function": {"name": "weather", "description": "now", "parameters": WEATHER}}],
    )


async def test_a_response_goes_on_from_its_own_output(client: openai.AsyncOpenAI, fleet: ScriptedFleet) -> None:
    """What came out goes in again, with what the function gave; the fleet hears one conversation."""
    fleet.script = call
    first = await client.responses.create(model="auto", input="Weather?", tools=FLAT)
    await fleet.jobs.get()
    fleet.forget()
    given: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        *[item.model_dump(exclude_none=True) for item in first.output],
        {"type": "function_call_output", "call_id": "call_7", "output": "sun"},
    ]
    await client.responses.create(model="auto", input=given, tools=FLAT)
    heard = (await fleet.jobs.get()).request["messages"]

    assert [(one["role"], one["content"], one.get("tool_name")) for one in heard] == [
        ("user", "Weather?", None),
        ("assistant", "Let me see.", None),
        ("tool", "sun", "weather"),
    ]


async def test_a_response_that_is_cut_is_incomplete(client: openai.AsyncOpenAI, fleet: ScriptedFleet) -> None:
    """Whole and streamed, it names the reason."""
    fleet.script = cut
    whole = await client.responses.create(model="auto", input="hi", max_output_tokens=1)
    events = [one async for one in await client.responses.create(model="auto", input="hi", stream=True)]
    last: Any = events[-1]

    assert [
        (one.status, one.incomplete_details and one.incomplete_details.reason) for one in (whole, last.response)
    ] == [("incomplete", "max_output_tokens")] * 2


async def test_a_response_that_fails_in_its_middle_says_so_in_its_last_event(
    client: openai.AsyncOpenAI, fleet: ScriptedFleet
) -> None:
    """`response.failed` has the message, and what was said until then."""
    fleet.script = broken
    events = [one async for one in await client.responses.create(model="auto", input="hi", stream=True)]
    last: Any = events[-1]

    assert (last.type, last.response.status, last.response.error.message, last.response.output_text) == (
        "response.failed",
        "failed",
        "nano was lost",
        "Hel",
    )


async def test_a_response_has_only_events_of_its_api_while_it_is_silent(
    client: openai.AsyncOpenAI, fleet: ScriptedFleet
) -> None:
    """Strict readers refuse other types: it says again that it is in progress, and later gives empty pieces of text."""
    fleet.script = silent
    async with client.responses.stream(model="auto", input="hi", extra_headers=PROGRESS) as stream:
        seen: list[Any] = [event async for event in stream]
        final = await stream.get_final_response()
    waiting = [one for one in seen if one.type == "response.in_progress"]
    empty = [one for one in seen if one.type == "response.output_text.delta" and not one.delta]

    assert (len(waiting) > SILENT_S, len(empty), final.output_text, [one.sequence_number for one in seen]) == (
        True,
        SILENT_S,
        "Hello there!",
        list(range(len(seen))),
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
async def test_what_a_response_would_need_a_memory_for_is_refused(
    client: openai.AsyncOpenAI, fields: dict[str, Any], param: str
) -> None:
    """Typed, and with the field's name, rather than left out in silence."""
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="auto", input="hi", **fields)

    assert (caught.value.code, caught.value.param) == ("unsupported", param)


# --- completions


async def test_a_completion(client: openai.AsyncOpenAI) -> None:
    """The package reads text, usage and why it ended; the prompt is before it where that is asked for."""
    answer = await client.completions.create(model="auto", prompt=["Say hi. "], echo=True)

    assert (
        answer.object,
        answer.choices[0].text,
        answer.choices[0].finish_reason,
        answer.usage and answer.usage.total_tokens,
    ) == ("text_completion", "Say hi. Hello there!", "stop", 10)


async def test_a_completion_streams_through_silence(client: openai.AsyncOpenAI, fleet: ScriptedFleet) -> None:
    """Every chunk is one of this API's, the empty ones too; the usage that was asked for comes last, without choices."""
    fleet.script = silent
    stream = await client.completions.create(
        model="auto", prompt="hi", stream=True, stream_options={"include_usage": True}, extra_headers=PROGRESS
    )
    chunks = [chunk async for chunk in stream]

    assert (
        "".join(one.choices[0].text for one in chunks if one.choices),
        len(chunks) > SILENT_S,
        {(one.id, one.object) for one in chunks},
        [one.choices[0].finish_reason for one in chunks if one.choices][-1],
        chunks[-1].usage and chunks[-1].usage.completion_tokens,
    ) == ("Hello there!", True, {(chunks[0].id, "text_completion")}, "stop", 3)


# --- embeddings

NUMBERS = [0.1, -0.25, 3.0]


async def embed(job: ScriptedJob) -> None:
    """Give each text the same numbers, times its place in the job."""
    texts = job.request["inputs"]
    await job.embed(*(vectors.pack([number * (place + 1) for number in NUMBERS]) for place in range(len(texts))))


@pytest.mark.parametrize("asked", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
async def test_embeddings(client: openai.AsyncOpenAI, fleet: ScriptedFleet, asked: dict[str, Any]) -> None:
    """The package asks for base64 by itself, and gives numbers; who asks for either gets it; the same float32 in each."""
    fleet.script = embed
    answer = await client.embeddings.create(model="embed-small", input=["a", "b"], dimensions=3, **asked)
    raw: list[Any] = [one.embedding for one in answer.data]
    if asked.get("encoding_format") == "base64":
        raw = [vectors.unpack(one) for one in raw]
    job = await fleet.jobs.get()

    np.testing.assert_array_equal(
        np.array(raw, np.float32), np.array([NUMBERS, [2 * one for one in NUMBERS]], np.float32)
    )
    assert (
        answer.model,
        answer.usage.prompt_tokens,
        [one.index for one in answer.data],
        job.request["dimensions"],
    ) == (
        "embed-small",
        4,
        [0, 1],
        3,
    )


async def test_many_texts_are_several_jobs_and_one_answer(client: openai.AsyncOpenAI, fleet: ScriptedFleet) -> None:
    """In their order, with the tokens of all."""
    fleet.script = embed
    answer = await client.embeddings.create(model="embed-small", input=[f"text {number}" for number in range(20)])
    jobs = [fleet.jobs.get_nowait() for _ in range(fleet.jobs.qsize())]

    assert (
        len(jobs),
        [one.index for one in answer.data] == list(range(20)),
        answer.usage.total_tokens,
        sorted((answer.model_extra or {})["x_drover"]["job"] in one.id for one in jobs),
    ) == (2, True, 40, [True, True])


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": [1, 2]}, "unsupported", "input"),
        ({"input": [[1], [2]]}, "unsupported", "input"),
        ({"input": ["a", ""]}, "bad_request", "input[1]"),
        ({"input": "a", "model": "auto"}, "bad_request", "model"),
    ],
)
async def test_what_can_not_be_embedded_is_refused(
    client: openai.AsyncOpenAI, fields: dict[str, Any], code: str, param: str
) -> None:
    """Token numbers, an empty text, and no model."""
    with pytest.raises(openai.BadRequestError) as caught:
        await client.embeddings.create(**{"model": "embed-small", **fields})

    assert (caught.value.code, caught.value.param) == (code, param)


async def test_an_embedding_that_fails_is_one_error(client: openai.AsyncOpenAI, fleet: ScriptedFleet) -> None:
    """With its own status, though there were two jobs."""

    async def script(job: ScriptedJob) -> None:
        await job.fail(errors.UnknownModel("no device has it"))

    fleet.script = script
    with pytest.raises(openai.NotFoundError) as caught:
        await client.embeddings.create(model="embed-large", input=["a"] * 20)

    assert caught.value.code == "unknown_model"


# --- Anthropic's messages


async def test_a_whole_message(claude: anthropic.AsyncAnthropic, fleet: ScriptedFleet) -> None:
    """The package reads text, model, usage and why it ended; system, stops and the user reach the fleet."""
    answer = await claude.messages.create(
        model="auto",
        max_tokens=9,
        system=[{"type": "text", "text": "be short"}],
        messages=HI,
        stop_sequences=["END"],
        metadata={"user_id": "u1"},
    )
    job = await fleet.jobs.get()

    assert (
        answer.content[0].model_dump(exclude_none=True),
        (answer.model, answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens),
        [(one["role"], one["content"]) for one in job.request["messages"]],
        (job.request["options"]["stop"], job.request["options"]["max_tokens"], job.request["user"]),
    ) == (
        {"type": "text", "text": "Hello there!"},
        ("llama3.2:1b", "end_turn", 7, 3),
        [("system", "be short"), ("user", "hi")],
        (["END"], 9, "u1"),
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_a_message_uses_tools(claude: anthropic.AsyncAnthropic, fleet: ScriptedFleet, stream: bool) -> None:
    """The package puts text and call together; with what the tool gave the fleet hears one conversation."""
    fleet.script = call
    asked: Any = {"model": "auto", "max_tokens": 99, "messages": HI, "tools": USED}
    if stream:
        async with claude.messages.stream(**asked) as events:
            answer = await events.get_final_message()
    else:
        answer = await claude.messages.create(**asked)
    await fleet.jobs.get()
    said, used = [block.model_dump(exclude_none=True) for block in answer.content]
    fleet.forget()
    result = {"type": "tool_result", "tool_use_id": "call_7", "content": [{"type": "text", "text": "sun"}]}
    turns = [*HI, {"role": "assistant", "content": [said, used]}, {"role": "user", "content": [result]}]
    await claude.messages.create(**{**asked, "messages": turns})
    heard = (await fleet.jobs.get()).request

    assert (
        answer.stop_reason,
        said["text"],
        {key: used[key] for key in ("type", "id", "name", "input")},
        [(one["role"], one["content"], one.get("tool_name")) for one in heard["messages"]],
        heard["tools"],
    ) == (
        "tool_use",
        "Let me see.",
        {"type": "tool_use", "id": "call_7", "name": "weather", "input": {"city": "Bern"}},
        [("user", "hi", None), ("assistant", "Let me see.", None), ("tool", "sun", "weather")],
        [{"type": "function", "function": {"name": "weather", "description": "now", "parameters": WEATHER}}],
    )


async def test_a_message_streams_its_events_in_order(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """Named as Anthropic names them; the sign of life is that API's own ping, before the text and in its middle."""
    fleet.script = silent
    body = {"model": "auto", "max_tokens": 9, "messages": HI, "stream": True}
    async with http.stream("POST", "/v1/messages", json=body, headers=PROGRESS) as response:
        lines = [line async for line in response.aiter_lines() if line]
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]

    assert (
        [name for name in names if name != "ping"],
        names.count("ping") >= 2 * SILENT_S,
        [one["type"] for one in data] == names,
        data[-2]["usage"],
    ) == (
        [
            "message_start",
            "content_block_start",
            *["content_block_delta"] * 3,
            "content_block_stop",
            "message_delta",
            "message_stop",
        ],
        True,
        True,
        {"input_tokens": 7, "output_tokens": 3},
    )


async def test_a_message_survives_silence(claude: anthropic.AsyncAnthropic, fleet: ScriptedFleet) -> None:
    """The package skips the pings, and has the whole text and the fleet's own count of tokens."""
    fleet.script = silent
    async with claude.messages.stream(model="auto", max_tokens=9, messages=HI, extra_headers=PROGRESS) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()

    assert (text, final.usage.input_tokens) == ("Hello there!", 7)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (errors.QueueFull("full", retry_after_s=3), 429, "rate_limit_error"),
        (errors.NoDevice("nobody"), 529, "overloaded_error"),
        (errors.UnknownModel("no claude here"), 404, "not_found_error"),
        (errors.BackendError("it broke"), 502, "api_error"),
    ],
)
async def test_anthropic_errors(
    claude: anthropic.AsyncAnthropic, fleet: ScriptedFleet, error: errors.FleetError, status: int, kind: str
) -> None:
    """An error before the text has Anthropic's status and type."""

    async def script(job: ScriptedJob) -> None:
        await job.fail(error)

    fleet.script = script
    with pytest.raises(anthropic.APIStatusError) as caught:
        await claude.messages.create(model="claude-nonesuch", max_tokens=9, messages=HI)
    body: Any = caught.value.body

    assert (caught.value.status_code, body["type"], body["error"]["type"], body["error"]["message"]) == (
        status,
        "error",
        kind,
        error.message,
    )


async def test_a_message_that_fails_in_its_middle_ends_with_an_error_event(
    claude: anthropic.AsyncAnthropic, fleet: ScriptedFleet
) -> None:
    """The package raises it."""
    fleet.script = broken
    with pytest.raises(anthropic.APIStatusError, match="nano was lost"):
        async with claude.messages.stream(model="auto", max_tokens=9, messages=HI) as stream:
            await stream.get_final_message()


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/messages", {"model": "auto", "messages": HI}),  # refused before there is a job
        ("/v1/messages/count_tokens", {}),
        ("/v1/messages/nothing", {}),
        ("/v1/messages", {"model": "none", "max_tokens": 9, "messages": HI}),  # by the fleet
        ("/v1/messages", {"model": "none", "max_tokens": 9, "messages": HI, "stream": True}),
    ],
)
async def test_an_anthropic_error_names_its_request(
    http: httpx.AsyncClient, fleet: ScriptedFleet, path: str, fields: dict[str, Any]
) -> None:
    """By the same id in body and header, which is the job's where there is one."""

    async def script(job: ScriptedJob) -> None:
        await job.fail(errors.UnknownModel("no claude here"))

    fleet.script = script
    refused = await http.post(path, json=fields)
    named = refused.headers["request-id"]

    assert (True, named) == (len(named) > 20, refused.json()["request_id"])
    assert refused.headers.get("x-drover-job", named) == named


async def test_an_anthropic_answer_names_its_request(
    claude: anthropic.AsyncAnthropic, http: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """The package shows it; a stream's header and the error in its middle say the same."""
    said = await claude.messages.create(model="auto", max_tokens=9, messages=HI)
    listed = await http.get("/v1/models", headers={"anthropic-version": "2023-06-01"})
    fleet.script = broken
    asked = {"model": "auto", "max_tokens": 9, "messages": HI, "stream": True}
    cut = await http.post("/v1/messages", json=asked)
    failed = json.loads(cut.text.rpartition("event: error\ndata: ")[2])

    assert (f"msg_{said._request_id}", True) == (said.id, listed.headers["request-id"].startswith("req_"))
    assert (cut.headers["x-drover-job"], cut.headers["request-id"]) == (failed["request_id"], failed["request_id"])


async def test_tokens_are_counted_by_estimate(claude: anthropic.AsyncAnthropic, fleet: ScriptedFleet) -> None:
    """On the safe side, and it says so; no job is run."""
    short = await claude.messages.count_tokens(model="auto", messages=HI)
    longer = await claude.messages.count_tokens(model="auto", messages=HI, tools=USED, system="be short")

    assert (
        0 < short.input_tokens < longer.input_tokens,
        (short.model_extra or {})["x_drover"]["estimated"],
        fleet.jobs.qsize(),
    ) == (True, True, 0)


async def test_a_message_needs_its_length(http: httpx.AsyncClient) -> None:
    """What that API requires is required, and refused in its form, with the field's name."""
    response = await http.post("/v1/messages", json={"model": "auto", "messages": HI})

    assert (response.status_code, response.json()["error"]["type"], response.json()["error"]["param"]) == (
        400,
        "invalid_request_error",
        "max_tokens",
    )


# --- models


async def test_both_kinds_of_clients_list_the_models(
    client: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic
) -> None:
    """At one path, each in its own form: the virtual ones, then those of the fleet."""
    theirs = [one.id async for one in client.models.list()]
    its = [one.id async for one in claude.models.list()]

    assert (theirs == its, theirs[0], "llama3.2:1b" in theirs) == (True, "auto", True)


@pytest.mark.parametrize("name", ["auto:eco", "llama3.2:1b", "llama3.2:1b@nano", "auto@nano"])
async def test_one_model(client: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, name: str) -> None:
    """Names have colons, and an `@` where they name a device."""
    ours, its = await client.models.retrieve(name), await claude.models.retrieve(name)

    assert (ours.id, its.id, its.display_name, its.lifecycle) == (name, name, name, "active")


@pytest.mark.parametrize("name", ["claude-nonesuch", "llama3.2:1b@orin", "auto@orin"])
async def test_a_model_that_nobody_has(client: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, name: str) -> None:
    """Both packages raise what they have for it, in their own form."""
    with pytest.raises(openai.NotFoundError) as ours:
        await client.models.retrieve(name)
    with pytest.raises(anthropic.NotFoundError) as its:
        await claude.models.retrieve(name)
    body: Any = its.value.body

    assert (ours.value.code, body["error"]["type"]) == ("unknown_model", "not_found_error")


# --- the same clients, not asynchronous


async def test_the_synchronous_packages(bridge: BridgeProcess) -> None:
    """Whole and streamed: the same words."""

    def ask() -> list[str]:
        with openai.OpenAI(base_url=f"{bridge.url}/v1", api_key="none", max_retries=0, timeout=HANG_S) as client:
            said = [client.responses.create(model="auto", input="hi").output_text]
            chunks = client.chat.completions.create(model="auto", messages=HI, stream=True)
            said.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
            said.append(client.completions.create(model="auto", prompt="hi").choices[0].text)
        with (
            anthropic.Anthropic(base_url=bridge.url, api_key="none", max_retries=0, timeout=HANG_S) as claude,
            claude.messages.stream(model="auto", max_tokens=9, messages=HI) as stream,
        ):
            said.append("".join(stream.text_stream))
        return said

    assert await asyncio.to_thread(ask) == ["Hello there!"] * 4


# --- hang-ups

BODIES = {
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"model": "auto", "max_tokens": 9, "messages": HI},
    "/v1/embeddings": {"model": "embed-small", "input": "hi"},
}


@pytest.mark.parametrize(
    ("path", "stream"),
    [(path, stream) for path in BODIES for stream in (False, True) if "embed" not in path or not stream],
)
async def test_a_hangup_cancels_whatever_api_it_was(
    bridge: BridgeProcess, fleet: ScriptedFleet, path: str, stream: bool
) -> None:
    """On a real socket, streamed or not, before there is any text: the watch notices, no write could."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.cancelled.wait()

    fleet.script = script
    body = json.dumps({**BODIES[path], **({"stream": True} if stream else {})}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    writer.write(head.encode() + body)
    async with asyncio.timeout(HANG_S):
        job = await fleet.jobs.get()
        writer.close()
        cancelled = await fleet.cancels.get()

    assert cancelled == job.id
