"""The simulator's Ollama API, through the `ollama` package and a real socket."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import ollama
import pytest
import pytest_asyncio

from tests.simulated import SimulatedDevice, simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

LLAMA = "llama3.2:3b"
QWEN = "qwen2.5:7b"
ASK = [{"role": "user", "content": "Why is the sky blue?"}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # 1 x 1 PNG
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather of a city",
        "parameters": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orin() -> AsyncIterator[SimulatedDevice]:
    async with simulator("orin", time_factor=50) as device:
        yield device


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(orin: SimulatedDevice) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=orin.url, timeout=30) as connected:
        yield connected


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(orin: SimulatedDevice) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=orin.url, timeout=30, trust_env=False) as connected:
        yield connected


async def lines(
    http: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> tuple[httpx.Response, list[dict[str, Any]]]:
    async with http.stream("POST", path, json=body) as answer:
        return answer, [json.loads(line) async for line in answer.aiter_lines()]


async def test_a_streamed_chat_ends_with_all_counters(client: ollama.AsyncClient) -> None:
    """Each chunk carries text; the last says why it ended, and how long everything took, in nanoseconds."""
    chunks = [chunk async for chunk in await client.chat(LLAMA, ASK, stream=True)]
    last = chunks[-1]
    assert (last.done, last.done_reason, last.eval_count) == (True, "stop", len(chunks) - 1)
    parts = (last.load_duration or 0, last.prompt_eval_duration or 0, last.eval_duration or 0)
    assert min(parts) > 0
    assert (last.total_duration or 0) >= sum(parts)
    assert all(not chunk.done and chunk.eval_count is None for chunk in chunks[:-1])


async def test_durations_are_the_devices_own_whatever_the_time_factor(client: ollama.AsyncClient) -> None:
    """17.2 tok/s of decode and 650 tok/s of prefill are reported at a time factor of 50 too."""
    await client.generate(LLAMA, keep_alive=0)  # it has read nothing then
    answer = await client.chat(LLAMA, ASK)
    decode = answer.eval_count / answer.eval_duration * 1e9  # type: ignore[operator]
    prefill = answer.prompt_eval_count / answer.prompt_eval_duration * 1e9  # type: ignore[operator]

    assert [decode, prefill] == pytest.approx([17.2, 650.0], rel=1e-3)


async def test_what_was_read_before_takes_no_time_and_counts(client: ollama.AsyncClient) -> None:
    """The next turn of a conversation is counted whole, and read from where the last one ended; another one from its beginning."""
    await client.generate(LLAMA, keep_alive=0)
    question = {"role": "user", "content": "Why is the sky blue? " * 40}
    first = await client.chat(LLAMA, [question])
    turns = [
        question,
        {"role": "assistant", "content": first.message.content},
        {"role": "user", "content": "And why red?"},
    ]
    second, again = await client.chat(LLAMA, turns), await client.chat(LLAMA, turns)
    other = await client.chat(LLAMA, [{"role": "user", "content": "Something else altogether. " * 40}])

    def read(answer: ollama.ChatResponse) -> int:
        return round((answer.prompt_eval_duration or 0) * 650 / 1e9)

    counts = [answer.prompt_eval_count or 0 for answer in (first, second, again, other)]
    assert (counts[0], 8, 1) == (read(first), read(second), read(again))  # 4 of the template, 4 words
    assert counts[1] == counts[2] > counts[0] + 8
    assert counts[3] - 6 == read(other)  # brackets without tools, and the template before the user's words


async def test_stream_and_whole_answer_say_the_same(client: ollama.AsyncClient) -> None:
    """The text depends on seed, model and prompt, not on how it is sent; it is labelled."""
    whole = (await client.chat(LLAMA, ASK)).message.content
    streamed = "".join([chunk.message.content or "" async for chunk in await client.chat(LLAMA, ASK, stream=True)])
    assert whole is not None
    assert whole.startswith("[simulated orin/llama3.2:3b] ")

    assert whole == streamed


async def test_a_text_is_continued_from_an_assistant_prefix(client: ollama.AsyncClient) -> None:
    """A last message of the assistant is gone on with, neither repeated nor labelled again."""
    whole = (await client.chat(LLAMA, ASK)).message.content or ""
    rest = (await client.chat(LLAMA, [*ASK, {"role": "assistant", "content": whole[:90]}])).message.content or ""

    assert whole == whole[:90] + rest


async def test_num_predict_ends_by_length(client: ollama.AsyncClient) -> None:
    """Five tokens, reason `length`."""
    answer = await client.chat(LLAMA, ASK, options={"num_predict": 5})

    assert (answer.eval_count, answer.done_reason) == (5, "length")


async def test_a_chunk_has_the_documented_fields(http: httpx.AsyncClient) -> None:
    """Names, types and content type of a stream are those of Ollama's api/types.go."""
    answer, chunks = await lines(http, "/api/chat", {"model": LLAMA, "messages": ASK})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert {key: type(value) for key, value in chunks[0].items()} == {
        "model": str,
        "created_at": str,
        "message": dict,
        "done": bool,
    }
    assert chunks[0]["message"].keys() == {"role", "content"}
    assert {key: type(value) for key, value in chunks[-1].items()} == {
        "model": str,
        "created_at": str,
        "message": dict,
        "done": bool,
        "done_reason": str,
        "total_duration": int,
        "load_duration": int,
        "prompt_eval_count": int,
        "prompt_eval_duration": int,
        "eval_count": int,
        "eval_duration": int,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", chunks[0]["created_at"])


async def test_generate_streams_responses_and_ends_with_a_context(http: httpx.AsyncClient) -> None:
    """`response` instead of `message`; the context of the last line continues the conversation."""
    _, chunks = await lines(http, "/api/generate", {"model": LLAMA, "prompt": "hi", "system": "be brief"})
    again = await http.post(
        "/api/generate", json={"model": LLAMA, "prompt": "hi", "context": chunks[-1]["context"], "stream": False}
    )
    assert all(isinstance(chunk["response"], str) for chunk in chunks)
    assert all(isinstance(number, int) for number in chunks[-1]["context"])
    assert again.headers["content-type"] == "application/json; charset=utf-8"

    assert again.json()["prompt_eval_count"] > chunks[-1]["prompt_eval_count"]


async def test_generate_through_the_package(client: ollama.AsyncClient) -> None:
    """The package parses the answer, a stop sequence included."""
    answer = await client.generate(LLAMA, "hi", options={"stop": ["simulated"]})

    assert (answer.response, answer.done_reason) == ("[", "stop")


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
async def test_an_empty_prompt_loads_and_keep_alive_zero_unloads(http: httpx.AsyncClient, path: str) -> None:
    """Both are answered by one object without counters, though a stream was not declined."""
    load = await http.post(path, json={"model": "tinyllama:1.1b"})
    there = [entry["name"] for entry in (await http.get("/api/ps")).json()["models"]]
    unload = await http.post(path, json={"model": "tinyllama:1.1b", "keep_alive": 0})
    left = [entry["name"] for entry in (await http.get("/api/ps")).json()["models"]]
    assert ("tinyllama:1.1b" in there, "tinyllama:1.1b" in left) == (True, False)

    assert [(answer.json()["done_reason"], answer.json()["done"]) for answer in (load, unload)] == [
        ("load", True),
        ("unload", True),
    ]


async def test_keep_alive_zero_unloads_after_the_answer(client: ollama.AsyncClient) -> None:
    """A request may ask that the model leaves when it is done."""
    await client.chat("tinyllama:1.1b", ASK, options={"num_predict": 1}, keep_alive=0)

    assert "tinyllama:1.1b" not in [model.name for model in (await client.ps()).models]


@pytest.mark.parametrize(
    ("keep_alive", "least", "most"),
    # Ten minutes pass in 12 s here; the least is more than the five that are the default.
    [("10m", timedelta(minutes=5), timedelta(minutes=11)), (-1, timedelta(days=3650), timedelta(days=400 * 365))],
)
async def test_ps_shows_when_a_model_leaves(
    client: ollama.AsyncClient, keep_alive: str | int, least: timedelta, most: timedelta
) -> None:
    """`expires_at` is a date with a zone; negative is for ever."""
    await client.chat(LLAMA, ASK, options={"num_predict": 1}, keep_alive=keep_alive)
    (model,) = [model for model in (await client.ps()).models if model.model == LLAMA]
    assert model.expires_at is not None
    left = model.expires_at - datetime.now(UTC)
    await client.chat(LLAMA, ASK, options={"num_predict": 1}, keep_alive="5m")
    assert (model.size_vram, model.context_length) == (model.size, 4096)

    assert least < left < most


async def test_a_tool_is_called_when_the_prompt_asks_for_it(http: httpx.AsyncClient) -> None:
    """One chunk carries the call, with an object as arguments and an identity."""
    asked = [{"role": "user", "content": "What is the weather in Zurich?"}]
    _, chunks = await lines(http, "/api/chat", {"model": LLAMA, "messages": asked, "tools": [WEATHER]})
    calls = [call for chunk in chunks for call in chunk["message"].get("tool_calls", [])]
    assert len(calls) == 1
    assert re.fullmatch(r"call_[a-z0-9]{8}", calls[0]["id"])
    assert (chunks[-1]["done_reason"], "".join(chunk["message"]["content"] for chunk in chunks)) == ("stop", "")

    assert calls[0]["function"] == {"index": 0, "name": "get_weather", "arguments": {"city": "Zurich"}}


@pytest.mark.parametrize(("model", "told"), [(LLAMA, '{"name"'), (QWEN, "")])
async def test_a_call_that_is_cut_off_is_no_call(http: httpx.AsyncClient, model: str, told: str) -> None:
    """As in Ollama: what has a tag is dropped; what has none may be text, and comes with the last line."""
    asked = [{"role": "user", "content": "What is the weather in Zurich?"}]
    fields = {"messages": asked, "tools": [WEATHER], "options": {"num_predict": 7}}
    _, chunks = await lines(http, "/api/chat", {"model": model, **fields})

    assert [] == [call for chunk in chunks for call in chunk["message"].get("tool_calls", [])]
    assert ([], "length", 7) == (
        [one for one in chunks[:-1] if one["message"]["content"]],
        chunks[-1]["done_reason"],
        chunks[-1]["eval_count"],
    )
    assert chunks[-1]["message"]["content"].startswith(told) if told else chunks[-1]["message"]["content"] == ""


async def test_a_tools_answer_is_talked_about(client: ollama.AsyncClient) -> None:
    """After the tool has answered, text follows; the package's own round trip of the call is understood."""
    asked: list[Any] = [{"role": "user", "content": "What is the weather in Zurich?"}]
    called = await client.chat(LLAMA, asked, tools=[WEATHER])
    answered = [*asked, called.message, {"role": "tool", "tool_name": "get_weather", "content": "22 degrees"}]
    final = await client.chat(LLAMA, answered, tools=[WEATHER])
    assert called.message.tool_calls is not None

    assert (final.message.tool_calls, bool(final.message.content)) == (None, True)


async def test_a_model_that_sees_takes_images(client: ollama.AsyncClient) -> None:
    """Base64 images are read, and cost prompt tokens."""
    seen = await client.chat("moondream", [{"role": "user", "content": "What is it?", "images": [PIXEL]}])

    assert (seen.prompt_eval_count or 0) > 768


async def test_thinking_comes_before_the_answer(http: httpx.AsyncClient) -> None:
    """A thinking model's thoughts are in their own field, and not in the text."""
    _, chunks = await lines(http, "/api/chat", {"model": "deepseek-r1:1.5b", "messages": ASK, "think": True})
    kinds = ["thinking" if "thinking" in chunk["message"] else "text" for chunk in chunks]

    thoughts = kinds.count("thinking")

    assert (True, ["thinking"] * thoughts + ["text"] * (len(kinds) - thoughts)) == (0 < thoughts < len(kinds), kinds)


@pytest.mark.parametrize(
    "wanted", ["json", {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}]
)
async def test_a_format_gives_valid_json(client: ollama.AsyncClient, wanted: Any) -> None:
    """Structured output parses as an object."""
    answer = await client.chat(LLAMA, ASK, format=wanted)

    assert isinstance(json.loads(answer.message.content or ""), dict)


async def test_embeddings_have_the_models_dimension(client: ollama.AsyncClient) -> None:
    """all-minilm gives 384 numbers a text, the same each time."""
    answer = await client.embed("all-minilm", ["sky", "sea"])
    again = await client.embed("all-minilm", "sky")
    assert [len(vector) for vector in answer.embeddings] == [384, 384]
    assert (answer.total_duration or 0) > 0
    assert (answer.prompt_eval_count or 0) > 0

    assert list(answer.embeddings[0]) == list(again.embeddings[0])


async def test_embeddings_can_be_shortened(client: ollama.AsyncClient) -> None:
    """`dimensions` keeps the first numbers."""
    assert len((await client.embed("all-minilm", "sky", dimensions=64)).embeddings[0]) == 64


async def test_the_legacy_embedding_endpoint_gives_one_vector(client: ollama.AsyncClient) -> None:
    """Older clients use it still."""
    assert len((await client.embeddings("all-minilm", "sky")).embedding) == 384


async def test_tags_list_the_models_with_all_their_facts(http: httpx.AsyncClient, client: ollama.AsyncClient) -> None:
    """Each entry has what Open WebUI, Zed and llm read: names, date, size, digest, details, capabilities."""
    entries = (await http.get("/api/tags")).json()["models"]
    parsed = (await client.list()).models
    assert {entry["name"] for entry in entries} >= {LLAMA, "tinyllama:1.1b", "all-minilm:latest", "moondream:latest"}
    assert len({entry["digest"] for entry in entries}) == len(entries)
    assert all(datetime.fromisoformat(entry["modified_at"]).tzinfo for entry in entries)
    assert all(
        {"parent_model", "format", "family", "families", "parameter_size", "quantization_level"}
        <= entry["details"].keys()
        for entry in entries
    )

    assert [entry["model"] for entry in entries] == [model.model for model in parsed]


async def test_show_tells_capabilities_and_context_length(client: ollama.AsyncClient) -> None:
    """`model_info` names the architecture, and its context length under that name."""
    shown = await client.show("moondream")
    info = shown.modelinfo or {}

    assert (
        shown.capabilities,
        info[f"{info['general.architecture']}.context_length"],
        bool(shown.template and shown.modelfile and shown.details),
    ) == (["completion", "vision"], 2048, True)


async def test_a_pull_streams_its_progress_and_installs_the_model(client: ollama.AsyncClient) -> None:
    """From the manifest to success, with growing counts; then the model is there, and can be deleted."""
    seen = [(p.status, p.completed or 0, p.total) async for p in await client.pull("qwen2.5:0.5b", stream=True)]
    installed = [model.model for model in (await client.list()).models]
    await client.delete("qwen2.5:0.5b")
    left = [model.model for model in (await client.list()).models]
    counts = [completed for status, completed, total in seen if total]
    assert (seen[0][0], seen[-1][0], counts) == ("pulling manifest", "success", sorted(counts))
    assert counts[-1] == seen[1][2] == 397_821_319

    assert ("qwen2.5:0.5b" in installed, "qwen2.5:0.5b" in left) == (True, False)


async def test_a_pull_without_stream_gives_the_last_line(client: ollama.AsyncClient) -> None:
    """A model that is there already is pulled at once."""
    assert (await client.pull(LLAMA)).status == "success"


async def test_root_and_version_answer_get_and_head(http: httpx.AsyncClient) -> None:
    """What clients probe first."""
    root, version = await http.get("/"), (await http.get("/api/version")).json()["version"]
    heads = [(await http.head(path)).status_code for path in ("/", "/api/version", "/api/tags")]
    assert heads == [200, 200, 200]
    assert re.match(r"\d+\.\d+\.\d+", version)

    assert root.text == "Ollama is running"


ERRORS: list[tuple[str, str, bytes, int, str]] = [
    ("POST", "/api/chat", b"", 400, "missing request body"),
    ("POST", "/api/chat", b"{", 400, "unexpected EOF"),
    ("POST", "/api/chat", b'{"messages":[]}', 400, "model is required"),
    ("POST", "/api/chat", b'{"model":"nope"}', 404, "model 'nope' not found"),
    ("POST", "/api/chat", b'{"model":"no pe"}', 400, "invalid model name"),
    ("POST", "/api/chat", b'{"model":"all-minilm"}', 400, '"all-minilm" does not support chat'),
    (
        "POST",
        "/api/chat",
        b'{"model":"tinyllama:1.1b","think":true}',
        400,
        '"tinyllama:1.1b" does not support thinking',
    ),
    (
        "POST",
        "/api/chat",
        b'{"model":"tinyllama:1.1b","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function"}]}',
        400,
        "registry.ollama.ai/library/tinyllama:1.1b does not support tools",
    ),
    (
        "POST",
        "/api/chat",
        b'{"model":"llama3.2:3b","messages":[{"role":"user","content":"x","images":["aGk="]}]}',
        500,
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
    ),
    (
        "POST",
        "/api/chat",
        b'{"model":"llama3.2:3b","messages":[{"role":"user"}],"options":{"num_predict":"x"}}',
        500,
        'option "num_predict" must be of type integer',
    ),
    ("POST", "/api/generate", b"{}", 404, "model '' not found"),
    ("POST", "/api/generate", b'{"model":"nope","prompt":"x"}', 404, "model 'nope' not found"),
    (
        "POST",
        "/api/generate",
        b'{"model":"llama3.2:3b","prompt":"x","suffix":"y"}',
        400,
        "registry.ollama.ai/library/llama3.2:3b does not support insert",
    ),
    (
        "POST",
        "/api/generate",
        b'{"model":"llama3.2:3b","prompt":"x","raw":true,"system":"y"}',
        400,
        "raw mode does not support template, system, or context",
    ),
    ("POST", "/api/embed", b'{"model":"nope","input":"x"}', 404, 'model "nope" not found, try pulling it first'),
    ("POST", "/api/embed", b'{"model":"all-minilm","input":3}', 400, "invalid input type"),
    (
        "POST",
        "/api/embed",
        b'{"model":"llama3.2:3b","input":"x"}',
        501,
        "This server does not support embeddings. Start it with `--embeddings`",
    ),
    ("POST", "/api/embeddings", b"{}", 400, "model is required"),
    ("POST", "/api/show", b"{}", 400, "model is required"),
    ("POST", "/api/show", b'{"name":"nope"}', 404, "model 'nope:latest' not found"),
    ("DELETE", "/api/delete", b'{"model":"nope"}', 404, "model 'nope' not found"),
]


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: f"{case[1]} {case[4][:40]}")
async def test_errors_have_ollamas_status_and_words(
    http: httpx.AsyncClient, case: tuple[str, str, bytes, int, str]
) -> None:
    """Clients match on these."""
    method, path, body, status, error = case
    answer = await http.request(method, path, content=body)

    assert (status, {"error": error}) == (answer.status_code, answer.json())


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [("GET", "/api/chat", 405, "405 method not allowed"), ("GET", "/nothing", 404, "404 page not found")],
)
async def test_unknown_routes_are_plain_text(
    http: httpx.AsyncClient, method: str, path: str, status: int, text: str
) -> None:
    """As Gin answers them."""
    answer = await http.request(method, path)

    assert (status, text) == (answer.status_code, answer.text)


async def test_the_package_raises_its_own_error(client: ollama.AsyncClient) -> None:
    """An unknown model arrives as ResponseError with status and text, streamed or not."""
    with pytest.raises(ollama.ResponseError) as caught:
        await client.chat("nope", ASK)

    assert (caught.value.status_code, caught.value.error) == (404, "model 'nope' not found")


async def test_an_unknown_pull_fails_within_its_stream(client: ollama.AsyncClient) -> None:
    """The stream has begun, so the error is its last line: the package raises it without a status."""
    with pytest.raises(ollama.ResponseError, match="pull model manifest: file does not exist"):
        assert [progress async for progress in await client.pull("nope", stream=True)]


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/embed", "/api/show", "/api/pull", "/sim/faults"])
@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe\x00",
        b"[" * 50_000,
        b'{"model":' + b"9" * 5000 + b"}",
        b'{"model":"nope","input":1e999,"options":{"num_ctx":1e999}}',
        b'{"model":"' + b"x" * 1_000_000 + b'"}',
        b'{"model":"\\ud800"}',
    ],
    ids=["bad utf-8", "deep nesting", "long number", "infinity", "long name", "lone surrogate"],
)
async def test_hostile_bodies_get_an_error_object(http: httpx.AsyncClient, path: str, body: bytes) -> None:
    """Whatever comes in, a typed error goes out, and the process lives."""
    answer = await http.post(path, content=body)

    assert (400 <= answer.status_code <= 404, list(answer.json())) == (True, ["error"])
