"""Ollama's API over HTTP with the clients that people have, against a real bridge process and a scripted fleet on a real NATS."""

from __future__ import annotations

import asyncio
import json
import sys
import textwrap
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest
import pytest_asyncio
from langchain_core.messages import HumanMessage
from langchain_ollama import ChatOllama

from common import errors, vectors
from common.messages import ToolCall
from tests import ollama_readers as readers
from tests.bridge_process import BridgeProcess, bridge_environment
from tests.integration.bridge.files import pictures
from tests.scripted_fleet import ScriptedFleet, ScriptedJob

HI: Any = [{"role": "user", "content": "hi"}]
PNG = pictures.drawn("PNG")
MODEL = "llama3.2:1b"
HANG_S = 30.0
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "tells it",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = ToolCall(name="weather", arguments={"city": "Accra"})

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one bridge serves all


@pytest_asyncio.fixture(loop_scope="module")
async def client(bridge: BridgeProcess) -> AsyncIterator[ollama.AsyncClient]:
    client = ollama.AsyncClient(bridge.url, timeout=HANG_S, trust_env=False)
    yield client
    await client._client.aclose()  # it has no verb for that


async def calling(job: ScriptedJob) -> None:
    """Call a function, or tell what it gave."""
    await job.ack()
    await job.route()
    if job.request["messages"][-1]["role"] == "tool":
        await job.token("It rains.")
        await job.end()
    else:
        await job.end("tool_calls", (CALL,))


async def waiting(job: ScriptedJob) -> None:
    """Say nothing, until it is cancelled."""
    await job.ack()
    await job.cancelled.wait()


async def test_the_models(client: ollama.AsyncClient, http: httpx.AsyncClient) -> None:
    """List, show and ps come from heartbeats, through the package and by its strictest fellows' rules."""
    listed, shown, running = await client.list(), await client.show("llama3.2:1b@nano"), await client.ps()
    readers.tags((await http.get("/api/tags")).json())
    readers.running((await http.get("/api/ps")).json())
    for name in ("auto", "auto:eco", MODEL):
        readers.show((await http.post("/api/show", json={"name": name})).json())

    names = ["auto:latest", "auto:fast", "auto:eco", "auto:local", MODEL]
    assert names == [one.model for one in listed.models]
    assert (["completion", "tools"], "llama3.2") == (
        shown.capabilities,
        (shown.modelinfo or {})["general.architecture"],
    )
    assert [MODEL] == [one.model for one in running.models]


async def test_who_answers(http: httpx.AsyncClient) -> None:
    """What clients look at before they say a word; a browser gets the page."""
    root, page = await http.get("/"), await http.get("/", headers={"accept": "text/html,*/*"})
    heads = [await http.head(path) for path in ("/", "/api/version", "/api/tags")]
    readers.version((await http.get("/api/version")).json())

    assert ("Ollama is running", "<!doctype html>") == (root.text, page.text[:15].lower())
    assert [(200, b"")] * 3 == [(one.status_code, one.content) for one in heads]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_chat(http: httpx.AsyncClient, fleet: ScriptedFleet, stream: bool) -> None:
    """Line by line, or at once; by the rules of the strictest reader."""
    fleet.script = said("Hel", "lo\u2028\x85you")
    response = await http.post("/api/chat", json={"model": "auto", "messages": HI, "stream": stream})
    read = readers.lines(response.content) if stream else [response.json()]
    for line in read:
        readers.chat_line(line)

    assert "application/x-ndjson" if stream else "application/json" == response.headers["content-type"]
    assert "Hello\u2028\x85you" == "".join(line["message"]["content"] for line in read)
    assert (MODEL, "nano", "nano") == (
        read[-1]["model"],
        read[-1]["x_drover"]["device"],
        response.headers["x-drover-device"],
    )
    assert 1_250_000_000 == read[-1]["total_duration"]


def said(*texts: str) -> Any:
    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.tokens(*texts)
        await job.end()

    return script


async def test_a_stream_is_the_default(http: httpx.AsyncClient) -> None:
    """A body that does not say, and not even what it is, as of scripts that post what `json.dumps` gives."""
    body = json.dumps({"model": MODEL, "prompt": "hi"})
    response = await http.post("/api/generate", content=body)
    for line in readers.lines(response.content):
        readers.generate_line(line)

    assert "application/x-ndjson" == response.headers["content-type"]
    page = await http.post("/api/generate", content=body, headers={"sec-fetch-site": "same-origin"})
    assert 415 == page.status_code, "from a browser a body says what it is"


async def test_the_package_streams(client: ollama.AsyncClient, fleet: ScriptedFleet) -> None:
    """What it sends arrives as our own request."""
    options = {"num_predict": 5, "num_ctx": 2048, "temperature": 0, "seed": 1, "stop": ["END"], "top_k": 3}
    messages = [{"role": "user", "content": "what is this?", "images": [PNG]}]
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    parts = [
        part
        async for part in await client.chat(
            "llama3.2:1b@nano", messages, stream=True, options=options, format=schema, keep_alive=-1, think=True
        )
    ]
    request = (await fleet.jobs.get()).request

    assert "Hello there!" == "".join(part.message.content or "" for part in parts)
    assert ("stop", 3) == (parts[-1].done_reason, parts[-1].eval_count)
    assert (MODEL, "nano", schema) == (request["model"], request["device"], request["format"])
    assert {"max_tokens": 5, "context_tokens": 2048, "temperature": 0.0, "seed": 1, "stop": ["END"]} == request[
        "options"
    ]
    assert 1 == len(request["messages"][0]["images"])


@pytest.mark.parametrize("stream", [True, False])
async def test_the_package_calls_functions(client: ollama.AsyncClient, fleet: ScriptedFleet, stream: bool) -> None:
    """The call comes with an object, and its result is known by its name."""
    fleet.script = calling
    package: Any = client  # its overloads know only literals
    asked = package.chat(MODEL, HI, tools=[WEATHER], stream=stream)
    parts = [part async for part in await asked] if stream else [await asked]
    (call,) = [one for part in parts for one in part.message.tool_calls or ()]
    result = {"role": "tool", "content": "rain", "tool_name": call.function.name}
    turns = [*HI, {"role": "assistant", "content": "", "tool_calls": [call]}, result]
    answer = await client.chat(MODEL, turns)
    first, second = [(await fleet.jobs.get()).request for _ in range(2)]

    assert ("weather", {"city": "Accra"}) == (call.function.name, call.function.arguments)
    assert [WEATHER] == first["tools"]
    assert ("weather", "It rains.") == (second["messages"][-1]["tool_name"], answer.message.content)


async def test_a_conversation_goes_on_by_its_context(client: ollama.AsyncClient, fleet: ScriptedFleet) -> None:
    """The bridge keeps nothing: what was said comes back with the next prompt, from streams as from whole answers."""
    first = await client.generate("auto", "my name is Ama", system="be brief")
    parts = [part async for part in await client.generate("auto", "who am I?", context=first.context, stream=True)]
    last = await client.generate("auto", "and you?", context=parts[-1].context)
    requests = [(await fleet.jobs.get()).request for _ in range(3)]

    assert "Hello there!" == last.response
    assert [
        ("system", "be brief"),
        ("user", "my name is Ama"),
        ("assistant", "Hello there!"),
        ("user", "who am I?"),
        ("assistant", "Hello there!"),
        ("user", "and you?"),
    ] == [(one["role"], one["content"]) for one in requests[2]["messages"]]


async def test_embeddings(client: ollama.AsyncClient, fleet: ScriptedFleet) -> None:
    """Both APIs, through the package; nobody chooses a model for them."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route(model=job.request["model"])
        await job.embed(*[vectors.pack((0.5, float(len(text)))) for text in job.request["inputs"]])

    fleet.script = script
    many = await client.embed("embedder", ["hi", "hello"], dimensions=2)
    one = await client.embeddings("embedder", "hi")
    none = await client.embed(MODEL, "")
    with pytest.raises(ollama.ResponseError, match="name the model") as caught:
        await client.embed("auto", "hi")

    assert [[0.5, 2.0], [0.5, 5.0]] == [list(vector) for vector in many.embeddings]
    assert (4, True) == (many.prompt_eval_count, (many.total_duration or 0) > 0)
    assert ([0.5, 2.0], [], 400) == (list(one.embedding), list(none.embeddings), caught.value.status_code)


@pytest.mark.parametrize(("keep_alive", "reason"), [(None, "load"), (0, "unload"), (-1, "load")])
async def test_without_a_word_no_job_is_made(
    client: ollama.AsyncClient, fleet: ScriptedFleet, keep_alive: int | None, reason: str
) -> None:
    """Load and unload are answered at once: the fleet manages its memory itself."""
    chat = await client.chat(MODEL, keep_alive=keep_alive)
    generated = await client.generate(MODEL, keep_alive=keep_alive)

    assert [(True, reason)] * 2 == [(one.done, one.done_reason) for one in (chat, generated)]
    assert fleet.jobs.empty()


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_before_the_stream(client: ollama.AsyncClient, fleet: ScriptedFleet, stream: bool) -> None:
    """It has a status, and the words alone in the package's exception."""

    async def script(job: ScriptedJob) -> None:
        await job.fail(errors.NoDevice("no device is awake: plug one in"))

    fleet.script = script
    package: Any = client  # as above
    with pytest.raises(ollama.ResponseError) as caught:
        await whole(package.chat("auto", HI, stream=stream))

    assert (503, "no device is awake: plug one in") == (caught.value.status_code, caught.value.error)


async def whole(asked: Any, texts: list[str | None] | None = None) -> None:
    """Read an answer to its end, if it is one in pieces; their texts are kept."""
    answer = await asked
    if hasattr(answer, "__aiter__"):
        async for part in answer:
            (texts if texts is not None else []).append(part.response)


async def test_an_error_in_the_stream(client: ollama.AsyncClient, fleet: ScriptedFleet) -> None:
    """The text so far arrives, then the words of the error."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.token("once")
        await job.fail(errors.DeviceLost("nano is gone"))

    fleet.script = script
    texts: list[str | None] = []
    with pytest.raises(ollama.ResponseError, match="nano is gone"):
        await whole(client.generate("auto", "hi", stream=True), texts)

    assert ["once"] == texts


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/api/chat", {"messages": HI}, 400, "bad_request"),
        ("POST", "/api/chat", {"model": "no/such"}, 404, "unknown_model"),
        ("POST", "/api/generate", {"model": MODEL, "prompt": "x", "raw": True}, 400, "unsupported"),
        ("POST", "/api/generate", {"model": MODEL, "prompt": "x", "context": [128_006, 882]}, 400, "bad_request"),
        ("POST", "/api/show", {"model": "no/such"}, 404, "unknown_model"),
        ("POST", "/api/show", {}, 400, "bad_request"),
        ("POST", "/api/embed", {"model": "auto", "input": ["a", ""]}, 400, "bad_request"),
        ("POST", "/api/embeddings", {"prompt": "a"}, 400, "bad_request"),
        ("GET", "/api/chat", None, 405, "method_not_allowed"),
        ("GET", "/api/nothing", None, 404, "not_found"),
        ("POST", "/api/pull", {"model": "x"}, 403, "not_allowed"),
        ("POST", "/api/push", {"model": "x"}, 403, "not_allowed"),
        ("POST", "/api/create", {"model": "x"}, 403, "not_allowed"),
        ("POST", "/api/copy", {"source": "x"}, 403, "not_allowed"),
        ("DELETE", "/api/delete", {"model": "x"}, 403, "not_allowed"),
        ("POST", "/api/blobs/sha256:abc", None, 403, "not_allowed"),
    ],
)
async def test_refusals(  # noqa: PLR0917  # a table's columns
    http: httpx.AsyncClient, method: str, path: str, body: Any, status: int, code: str
) -> None:
    """In Ollama's form, whatever refuses; who may not change models is told where that is done."""
    response = await http.request(method, path, json=body)
    told = response.json()

    assert (status, code, True) == (response.status_code, told["x_drover"]["code"], isinstance(told["error"], str))
    assert ("on the device itself" in told["error"]) == (status == 403)


async def test_native_paths_are_none_of_ollamas(http: httpx.AsyncClient) -> None:
    """`/api/v1/` is our own, and its errors are objects."""
    assert isinstance((await http.get("/api/v1/nothing")).json()["error"], dict)


async def test_our_headers_work(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """A job's id, its limits and every step of the way, as on the other routes; each step is a line like any other."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.keep_alive("queue", position=2)
        await job.route()
        await job.token("done")
        await job.end()

    fleet.script = script
    headers = {
        "X-Drover-Progress": "1",
        "Idempotency-Key": "mine",
        "X-Drover-Timeout": "9",
        "X-Drover-Priority": "batch",
    }
    response = await http.post("/api/chat", json={"model": "auto", "messages": HI}, headers=headers)
    read = readers.lines(response.content)
    for line in read:
        readers.chat_line(line)
    request = (await fleet.jobs.get()).request

    assert ("mine", "mine", "batch", 9.0) == (
        response.headers["x-drover-job"],
        request["job"],
        request["priority"],
        request["timeout_s"],
    )
    assert 2 in [line.get("x_drover", {}).get("position") for line in read]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_a_hangup_cancels(bridge: BridgeProcess, fleet: ScriptedFleet, path: str, stream: bool) -> None:
    """On a real socket, streamed or not: the device does not work for nobody."""
    fleet.script = waiting
    writer = await post(bridge, path, stream=stream)
    job = await fleet.jobs.get()
    writer.close()
    async with asyncio.timeout(HANG_S):
        cancelled = await fleet.cancels.get()

    assert job.id == cancelled


async def post(bridge: BridgeProcess, path: str, *, stream: bool) -> asyncio.StreamWriter:
    """Send a request over a bare socket."""
    body = json.dumps({"model": "auto", "messages": HI, "prompt": "hi", "stream": stream}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", bridge.port, limit=1024)
    writer.write(head.encode() + body)
    return writer


async def test_who_reads_nothing_slows_nobody(
    bridge: BridgeProcess, client: ollama.AsyncClient, fleet: ScriptedFleet
) -> None:
    """More is written for one than all buffers hold, and another is answered meanwhile."""
    flooded = asyncio.Event()

    async def flood(job: ScriptedJob) -> None:
        await job.ack()
        await job.tokens(*["x" * 16_384] * 400)
        flooded.set()
        await job.cancelled.wait()

    fleet.script = flood
    writer = await post(bridge, "/api/chat", stream=True)
    async with asyncio.timeout(HANG_S):
        await flooded.wait()
        fleet.script = said("at once")
        answer = await client.generate("auto", "hi")
        writer.transport.abort()
        await fleet.cancels.get()

    assert "at once" == answer.response


async def test_the_package_without_a_loop(bridge: BridgeProcess) -> None:
    """`ollama.Client`, in a thread: whole and streamed."""

    def talk() -> tuple[str, str]:
        client = ollama.Client(bridge.url, timeout=HANG_S, trust_env=False)
        whole = client.chat("auto", HI).message.content or ""
        parts = [part.response or "" for part in client.generate("auto", "hi", stream=True)]
        client._client.close()  # it has no verb for that
        return whole, "".join(parts)

    assert ("Hello there!", "Hello there!") == await asyncio.to_thread(talk)


async def test_langchain(bridge: BridgeProcess, fleet: ScriptedFleet) -> None:
    """It finds `auto`, answers whole and in pieces, and binds tools."""
    chat = ChatOllama(
        model="auto",
        base_url=bridge.url,
        validate_model_on_init=True,
        client_kwargs={"trust_env": False, "timeout": HANG_S},
    )
    whole = await chat.ainvoke("hi")
    pieces = [str(part.content) async for part in chat.astream("hi")]
    fleet.script = calling
    called = await chat.bind_tools([WEATHER]).ainvoke([HumanMessage("weather?")])
    chat._client._client.close()  # neither it nor the package has a verb for that
    await chat._async_client._client.aclose()

    assert ("Hello there!", "Hello there!") == (whole.content, "".join(pieces))
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["total_tokens"] == 10
    assert [("weather", {"city": "Accra"})] == [(one["name"], one["args"]) for one in called.tool_calls]


LLM = textwrap.dedent("""
    import json, llm
    names = sorted(one.model.model_id for one in llm.get_models_with_aliases() if one.model.model_id.startswith("ollama/"))
    model = llm.get_model("ollama/auto:latest")
    def weather(city: str) -> str:
        "tells it"
        return f"rain in {city}"
    told = {
        "names": names,
        "tools": model.supports_tools,
        "alias": llm.get_model("ollama/auto").model_id,
        "stream": "".join(model.prompt("hi")),
        "whole": model.prompt("hi", stream=False).text(),
        "chain": model.chain("weather?", tools=[weather]).text(),
    }
    print(json.dumps(told))
""")


async def test_llm(bridge: BridgeProcess, fleet: ScriptedFleet, tmp_path: Path) -> None:
    """`llm` finds the models by their digests, streams, and runs a function of its own between two jobs."""

    async def script(job: ScriptedJob) -> None:
        await (calling if job.request.get("tools") else said("Hello there!"))(job)

    fleet.script = script
    environment = {
        **bridge_environment(),
        "OLLAMA_HOST": bridge.url,
        "LLM_USER_PATH": str(tmp_path),
        "HOME": str(tmp_path),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", LLM, env=environment, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(2 * HANG_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    told = json.loads(out)

    assert [f"ollama/{name}" for name in ("auto:eco", "auto:fast", "auto:latest", "auto:local", MODEL)] == told["names"]
    assert (True, "ollama/auto:latest", "Hello there!", "Hello there!", "It rains.") == (
        told["tools"],
        told["alias"],
        told["stream"],
        told["whole"],
        told["chain"],
    )
