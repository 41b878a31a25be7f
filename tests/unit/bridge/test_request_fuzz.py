"""Whatever stands in a body, the readers of all APIs give a request that can be sent on, or refuse it; they never break."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from common import codec
from common.errors import BadRequest, RequestError
from dispatcher.bridge.anthropic import request as anthropic
from dispatcher.bridge.ollama import embed
from dispatcher.bridge.ollama import request as ollama
from dispatcher.bridge.openai import completions, embeddings, turns
from dispatcher.bridge.openai import request as openai
from dispatcher.bridge.openai.responses import request as responses

Mapped = Callable[[bytes], Any]


def ollama_chat(body: bytes) -> Any:
    asked = ollama.read(ollama.OllamaChat, body, ollama.CHAT_EXAMPLE)
    return ollama.to_chat(asked, ollama.chat_messages(asked) or [{"role": "user", "content": "x"}], job="j")


def ollama_generate(body: bytes) -> Any:
    asked = ollama.read(ollama.OllamaGenerate, body, ollama.GENERATE_EXAMPLE)
    return ollama.to_chat(asked, ollama.generate_messages(asked) or [{"role": "user", "content": "x"}], job="j")


def ollama_embed(body: bytes) -> Any:
    asked = ollama.read(embed.OllamaEmbed, body, embed.EXAMPLE)
    return embed.to_job(asked, embed.texts_of(asked) or ["x"], job="j")


READERS: dict[str, tuple[type[BaseModel], Mapped, str]] = {
    "chat": (openai.ChatCompletionRequest, lambda body: openai.to_chat(openai.read(body), job="j"), openai.EXAMPLE),
    "completions": (
        completions.CompletionRequest,
        lambda body: completions.to_chat(completions.read(body), job="j"),
        '{"model":"auto","prompt":"hi"}',
    ),
    "responses": (
        responses.ResponsesRequest,
        lambda body: responses.to_chat(responses.read(body), job="j"),
        '{"model":"auto","input":"hi"}',
    ),
    "embeddings": (
        embeddings.EmbeddingRequest,
        lambda body: embeddings.to_job(embeddings.read(body), job="j"),
        embeddings.EXAMPLE,
    ),
    "messages": (
        anthropic.MessagesRequest,
        lambda body: anthropic.to_chat(anthropic.read(body), job="j"),
        anthropic.EXAMPLE,
    ),
    "Ollama's chat": (ollama.OllamaChat, ollama_chat, ollama.CHAT_EXAMPLE),
    "Ollama's generate": (ollama.OllamaGenerate, ollama_generate, ollama.GENERATE_EXAMPLE),
    "Ollama's embed": (embed.OllamaEmbed, ollama_embed, embed.EXAMPLE),
}

WORDS = st.sampled_from(
    (
        "",
        "auto",
        "@",
        "auto@",
        "auto@a b",
        "user",
        "tool",
        "text",
        "image_url",
        "function",
        "json_schema",
        "\x00",
        "é" * 300,
        "0",
        "NaN",
    )
)
NUMBERS = st.sampled_from((0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 0.5, 1e308, -0.0))
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS)
NAMES = st.sampled_from(
    (
        "type",
        "role",
        "content",
        "text",
        "function",
        "name",
        "arguments",
        "parameters",
        "schema",
        "image_url",
        "url",
        "a",
    )
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40)
@given(data=st.data())
def test_any_field_may_hold_anything(name: str, data: st.DataObject) -> None:
    """Refused with the field's name, or made into a request that the bus carries."""
    model, mapped, example = READERS[name]
    fields = sorted(field.alias or known for known, field in model.model_fields.items())
    changed = data.draw(st.dictionaries(st.sampled_from(fields), VALUES, min_size=1, max_size=3))
    body = json.dumps({**json.loads(example), **changed}).encode()
    try:
        chat = mapped(body)
    except RequestError as error:
        assert error.message  # noqa: PT017  # either is right
    else:
        assert codec.encode_request(codec.plain(chat))


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=30)
@given(data=st.data())
def test_any_bytes_may_be_changed(name: str, data: st.DataObject) -> None:
    """Cut off, doubled, overwritten: a body that is broken is refused as such."""
    _, mapped, example = READERS[name]
    body = bytearray(example.encode())
    at, until = sorted(data.draw(st.tuples(st.integers(0, len(body)), st.integers(0, len(body)))))
    body[at:until] = data.draw(
        st.binary(max_size=6) | st.sampled_from((b"[" * 2000, b'"\\ud800"', b"\xef\xbb\xbf", b"\x00"))
    )
    try:
        chat = mapped(bytes(body))
    except RequestError as error:
        assert error.message  # noqa: PT017  # either is right
    else:
        assert codec.encode_request(codec.plain(chat))


@settings(max_examples=100)
@given(
    st.sampled_from(
        (
            "data:image/png;base64,",
            "data:;base64,",
            "data:image/svg+xml;base64,",
            "data:text/html,",
            "data:",
            "DATA:image/png;base64,",
            "http://10.0.0.1/",
            "file:///etc/passwd",
            "data:image/png;base64;base64,",
        )
    ),
    st.one_of(st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode()), st.text(max_size=20)),
)
def test_a_data_uri_is_an_image_or_refused(head: str, rest: str) -> None:
    """What is let through is base64 of something, and nothing else: no address, no file, no drawing that runs scripts."""
    try:
        given_on = turns.image(head + rest, "messages[0].content[1].image_url.url")
    except BadRequest as error:
        assert "messages[0].content[1].image_url.url" == error.details["param"]  # noqa: PT017  # either is right
    else:
        assert head in ("data:image/png;base64,", "data:;base64,")
        assert base64.b64decode(given_on, validate=True)
