"""Ollama's requests as values, and their mapping to ours."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from common.errors import FleetError
from common.messages import ChatRequest, Options, Priority, ToolCall
from dispatcher.bridge.ollama import embed, request

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
HI = [{"role": "user", "content": "hi"}]


def chat(most_context: int | None = None, **fields: Any) -> ChatRequest:
    body = json.dumps({"model": "llama3.2", "messages": HI, **fields}).encode()
    asked = request.read(request.OllamaChat, body, request.CHAT_EXAMPLE)
    return request.to_chat(asked, request.chat_messages(asked), job="j1", most_context=most_context)


def generate(**fields: Any) -> ChatRequest:
    body = json.dumps({"model": "llama3.2", "prompt": "hi", **fields}).encode()
    asked = request.read(request.OllamaGenerate, body, request.GENERATE_EXAMPLE)
    return request.to_chat(asked, request.generate_messages(asked), job="j1")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"num_predict": 5}, Options(max_tokens=5)),
        ({"num_predict": 5.0}, Options(max_tokens=5)),
        ({"num_predict": -1}, Options()),
        ({"num_predict": -2}, Options()),
        ({"num_predict": 0}, Options()),
        ({"num_predict": 1e12}, Options(max_tokens=1_000_000)),
        ({"num_ctx": 8192}, Options(context_tokens=8192)),
        ({"num_ctx": 1}, Options(context_tokens=128)),
        ({"temperature": 0}, Options(temperature=0.0)),
        ({"temperature": 9}, Options(temperature=5.0)),
        ({"temperature": -1}, Options(temperature=0.0)),
        ({"top_p": 0}, Options(top_p=1e-6)),
        ({"top_p": 0.5}, Options(top_p=0.5)),
        ({"seed": 42}, Options(seed=42)),
        ({"seed": -1}, Options()),
        ({"seed": 1e300}, Options(seed=2**63 - 1)),
        ({"stop": ["END", ""]}, Options(stop=("END",))),
        ({"stop": "END"}, Options(stop=("END",))),
        ({"stop": None}, Options()),
        ({"frequency_penalty": 3, "presence_penalty": -3}, Options(frequency_penalty=2.0, presence_penalty=-2.0)),
        ({"top_k": 40, "mirostat": 1, "num_gpu": 99, "no_such": []}, Options()),
        (None, Options()),
    ],
    ids=str,
)
def test_options(given: Any, expected: Options) -> None:
    """Each has its place; what is out of bounds becomes the nearest that is not, and what is unknown is left out."""
    assert expected == chat(options=given).options


@pytest.mark.parametrize(("most", "expected"), [(None, 16_384), (4096, 4096), (100_000, 16_384)])
def test_more_context_than_any_device_has_is_the_most_that_one_has(most: int | None, expected: int) -> None:
    """Zed wishes 16,384 tokens of every Llama, and means room, not a condition."""
    assert expected == chat(most, options={"num_ctx": 16_384}).options.context_tokens


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, None), ("", None), ("json", "json"), ({"type": "object"}, {"type": "object"})],
    ids=str,
)
def test_the_format(given: Any, expected: Any) -> None:
    """`json`, a schema, or nothing."""
    assert expected == chat(format=given).format


@pytest.mark.parametrize(
    ("given", "stream", "hold"), [(None, True, False), (True, True, False), (False, False, True)], ids=str
)
def test_a_stream_is_the_default(given: bool | None, stream: bool, hold: bool) -> None:
    """Other than at OpenAI's; a whole answer is held, so that it can move until its end."""
    asked = request.read(request.OllamaChat, json.dumps({"model": "m", "stream": given}).encode(), "")

    assert (stream, hold) == (asked.streams, chat(stream=given).hold)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("auto:fast", ("auto:fast", None)),
        ("llama3.2@nano", ("llama3.2", "nano")),
        ("auto:latest", ("auto:latest", None)),
    ],
)
def test_names_go_on_as_they_are(name: str, expected: tuple[str, str | None]) -> None:
    """What a virtual name means is read where it is dispatched; a device stands behind the last `@`."""
    asked = chat(model=name)

    assert expected == (asked.model, asked.device)


def test_a_conversation_with_calls() -> None:
    """Arguments are objects; a result is its call's by name, by id, or by the order."""
    turns = [
        {"role": "System", "content": "be brief"},
        {"role": "user", "content": "what is this?", "images": [PNG]},
        {
            "role": "assistant",
            "content": None,
            "thinking": "hm",
            "tool_calls": [
                {"id": "c1", "function": {"name": "look", "arguments": {"at": 1}}},
                {"type": "function", "function": {"index": 1, "name": "smell"}},
            ],
        },
        {"role": "tool", "content": "red", "tool_call_id": "c1"},
        {"role": "tool", "content": "sweet"},
        {"role": "tool", "content": "round", "tool_name": "feel"},
    ]
    messages = chat(messages=turns).messages

    assert ["system", "user", "assistant", "tool", "tool", "tool"] == [one.role for one in messages]
    assert (PNG,) == messages[1].images
    assert (ToolCall(name="look", arguments={"at": 1}, id="c1"), ToolCall(name="smell")) == messages[2].tool_calls
    assert ["look", "smell", "feel"] == [one.tool_name for one in messages[3:]]


def test_tools_are_offered_as_they_came() -> None:
    """The type may be left out; what stands in the schema is not ours to change."""
    function = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}

    assert ({"type": "function", "function": function},) == chat(tools=[{"function": function}]).tools


def test_a_prompt_is_a_conversation() -> None:
    """System text, prompt and images are two messages."""
    asked = generate(system="be brief", images=[PNG])

    assert [("system", "be brief", ()), ("user", "hi", (PNG,))] == [
        (one.role, one.content, one.images) for one in asked.messages
    ]


def test_keep_alive_and_think_change_nothing() -> None:
    """Zed's -1 would keep a model in memory for ever; what a model thinks is not sent over the bus."""
    assert chat() == chat(keep_alive=-1, think=True) == chat(keep_alive="24h", think="high")


@pytest.mark.parametrize(
    ("keep_alive", "unloads"),
    [
        (0, True),
        (0.0, True),
        ("0", True),
        ("0s", True),
        ("0h0m", True),
        (-1, False),
        ("5m", False),
        (None, False),
        ("", False),
    ],
    ids=str,
)
def test_nothing_is_kept(keep_alive: Any, unloads: bool) -> None:
    """Only 0, however it is written, asks to unload."""
    body = json.dumps({"model": "m", "keep_alive": keep_alive}).encode()

    assert unloads is request.read(request.OllamaChat, body, "").unloads


@pytest.mark.parametrize("kind", [request.OllamaChat, request.OllamaGenerate])
def test_without_a_word_it_is_no_chat(kind: Any) -> None:
    """No messages, and no prompt, ask to load a model."""
    asked = request.read(kind, b'{"model":"m","messages":[],"prompt":""}', "")
    messages = (
        request.chat_messages(asked) if isinstance(asked, request.OllamaChat) else request.generate_messages(asked)
    )

    assert () == messages


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"messages": [{"role": "user", "content": " "}]}, "bad_request", "messages"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "bad_request", "messages.0.role"),
        ({"messages": [{"role": "user", "content": "x", "images": ["?"]}]}, "bad_request", "messages.0.images.0"),
        ({"messages": [{"role": "user", "content": "x", "images": [""]}]}, "bad_request", "messages.0.images.0"),
        ({"messages": [{"role": "user", "content": "x", "images": ["http://a/b.png"]}]}, "bad_request", "messages.0.images.0"),
        ({"options": {"temperature": "hot"}}, "bad_request", "options.temperature"),
        ({"options": {"num_predict": True}}, "bad_request", "options.num_predict"),
        ({"options": {"stop": [1]}}, "bad_request", "options.stop.0"),
        ({"format": "yaml"}, "bad_request", "format"),
        ({"logprobs": True}, "unsupported", "logprobs"),
        ({"model": "a@"}, "bad_request", "model"),
        ({"timeout_s": 3}, "bad_request", "timeout_s"),
        ({"priority": "batch"}, "bad_request", "priority"),
        ({"stream": "yes"}, "bad_request", "stream"),
    ],
    ids=str,
)  # fmt: skip
def test_a_chat_is_refused_by_name(fields: dict[str, Any], code: str, param: str) -> None:
    """The refusal names the field as its sender knows it."""
    with pytest.raises(FleetError) as caught:
        chat(**fields)

    assert (code, param) == (caught.value.code, caught.value.details["param"])


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"raw": True}, "unsupported", "raw"),
        ({"suffix": "}"}, "unsupported", "suffix"),
        ({"template": "{{ .Prompt }}"}, "unsupported", "template"),
        ({"images": ["?"]}, "bad_request", "images.0"),
        ({"context": [1, 2, 3]}, "bad_request", "context"),
        ({"context": [-1]}, "bad_request", "context.0"),
        ({"context": [70_000]}, "bad_request", "context.0"),
        ({"context": "abc"}, "bad_request", "context"),
        ({"context": [0] * 131_073}, "bad_request", "context"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_prompt_is_refused_by_name(fields: dict[str, Any], code: str, param: str) -> None:
    """What can't be done is not left out in silence; a foreign context would be another conversation."""
    with pytest.raises(FleetError) as caught:
        generate(**fields)

    assert (code, param) == (caught.value.code, caught.value.details["param"])


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"", "not a JSON object"), (b"[]", "not a JSON object"), (b"{x", "not JSON"), (b"\x80", "not a JSON")],
)
def test_a_body_that_is_none(body: bytes, said: str) -> None:
    """The refusal shows one that is."""
    with pytest.raises(FleetError, match=said) as caught:
        request.read(request.OllamaChat, body, request.CHAT_EXAMPLE)

    assert request.CHAT_EXAMPLE in caught.value.message


def test_a_request_names_its_model() -> None:
    """As at Ollama."""
    with pytest.raises(FleetError, match="model is required"):
        request.named("")


def test_a_priority_is_the_headers_word() -> None:
    """The body has none."""
    asked = request.read(request.OllamaChat, json.dumps({"model": "m", "messages": HI}).encode(), "")
    sent = request.to_chat(asked, request.chat_messages(asked), job="j1", priority=Priority.BATCH)

    assert Priority.BATCH is sent.priority


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"input": "hi"}, ["hi"]),
        ({"input": ["hi", "ho"], "truncate": None, "keep_alive": -1, "options": {}}, ["hi", "ho"]),
        ({"input": ""}, []),
        ({"input": [""]}, []),
        ({"input": []}, []),
        ({}, []),
    ],
    ids=str,
)
def test_texts_to_embed(body: Any, texts: list[str]) -> None:
    """One or many; none asks to load the model."""
    assert texts == embed.texts_of(request.read(embed.OllamaEmbed, json.dumps(body).encode(), embed.EXAMPLE))


def test_embedding_is_a_job() -> None:
    """With the device that is named, and the length that is wanted; 0 is all of it."""
    asked = embed.OllamaEmbed(model="nomic@nano", input="hi", truncate=False, dimensions=64)
    older = embed.to_job(embed.OllamaEmbeddings(model="nomic", prompt="hi"), ["hi"], job="j1")
    job = embed.to_job(asked, ["hi"], job="j1", priority=Priority.BATCH)

    assert ("nomic", "nano", ("hi",), 64, False, Priority.BATCH) == (
        job.model,
        job.device,
        job.inputs,
        job.dimensions,
        job.truncate,
        job.priority,
    )
    assert (None, None) == (older.dimensions, older.truncate)
    assert embed.to_job(asked.model_copy(update={"dimensions": 0}), ["hi"], job="j").dimensions is None


def test_an_empty_text_is_refused_by_its_place() -> None:
    """Among others it would have an embedding that says nothing."""
    with pytest.raises(FleetError) as caught:
        embed.texts_of(embed.OllamaEmbed(model="m", input=["hi", ""]))

    assert "input.1" == caught.value.details["param"]
