"""Whatever a model says stays one event, or one line, and comes back to the letter, however it is read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import errors, frames
from common.messages import ToolCall
from dispatcher.bridge.anthropic.dialect import MessageDialect
from dispatcher.bridge.native.chat import NativeDialect
from dispatcher.bridge.ollama.dialects import ChatLines, GenerateLines
from dispatcher.bridge.openai.chat import ChatDialect
from dispatcher.bridge.openai.completions import CompletionDialect
from dispatcher.bridge.openai.embeddings import EmbeddingDialect
from dispatcher.bridge.openai.responses.dialect import ResponseDialect
from dispatcher.bridge.openai.responses.reply import Writer
from dispatcher.bridge.openai.responses.request import read
from dispatcher.bridge.smart.routes import SmartDialect
from dispatcher.bridge.speech import as_asked
from dispatcher.bridge.sse import event

NASTY = (  # what ends lines, what events look like, and what JSON escapes
    "\n", "\r", "\r\n", "\n\n", "\x00", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85",
    "\u2028", "\u2029", "\ufeff", "\x7f", "\U0001f600",
    "data: [DONE]", "data: {}", "\ndata: x\n\n", "event: error\n", "id: 7\n", ": ping", "retry: 1\n",
    '"', "\\", "\\u2028", "\\ud800", "{", "}", "]}",
)  # fmt: skip
SAID = (
    st.lists(
        st.one_of(st.sampled_from(NASTY), st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)),
        min_size=1,
        max_size=6,
    )
    .map("".join)
    .filter(bool)
)

Split = Callable[[str], list[str]]
SPLITS: dict[str, Split] = {
    "as the standard has it": lambda text: re.split(r"\r\n|\n|\r", text),
    "as Python has it": lambda text: [*text.splitlines(), *([""] if text.endswith("\n") else [])],
}


def events(body: bytes, split: Split) -> list[tuple[str, str]]:
    """Read events strictly: a name and data, nothing else, each ended by an empty line."""
    found: list[tuple[str, str]] = []
    name, data = "", []
    for line in split(body.decode()):
        field, _, value = line.partition(": ")
        match field:
            case "event":
                name = value
            case "data":
                data.append(value)
            case "":
                if data:
                    found.append((name, "\n".join(data)))
                name, data = "", []
            case _:
                raise AssertionError(f"{line!r} is no line of an event")
    assert (name, data) == ("", []), "the last event has no end"
    return found


def chat_text(chunk: dict[str, Any]) -> str:
    return str(chunk["choices"][0]["delta"].get("content", "")) if chunk["choices"] else ""


def responding() -> ResponseDialect:
    asked = read(b'{"model":"auto","input":"hi"}')
    return ResponseDialect(Writer(job="j", created=1, asked=asked), lambda: 1.0)


EVENTS: dict[str, tuple[Callable[[], Any], Callable[[dict[str, Any]], str]]] = {
    "OpenAI's chat": (lambda: ChatDialect(job="j", created=1, include_usage=True), chat_text),
    "OpenAI's completions": (
        lambda: CompletionDialect(job="j", created=1),
        lambda chunk: str(chunk["choices"][0]["text"]) if chunk["choices"] else "",
    ),
    "OpenAI's responses": (
        responding,
        lambda told: str(told["delta"]) if told["type"] == "response.output_text.delta" else "",
    ),
    "Anthropic's messages": (
        lambda: MessageDialect(job="j", prompt_tokens=3),
        lambda told: str(told.get("delta", {}).get("text", "")),
    ),
}
LINES: dict[str, tuple[Callable[[], Any], Callable[[dict[str, Any]], str]]] = {
    "Ollama's chat": (
        lambda: ChatLines(job="j", now=lambda: 1.0),
        lambda line: str(line.get("message", {}).get("content", "")),
    ),
    "Ollama's generate": (
        lambda: GenerateLines(job="j", now=lambda: 1.0, asked=[{"role": "user", "content": "hi"}]),
        lambda line: str(line.get("response", "")),
    ),
}


def answer(dialect: Any, said: Iterable[str]) -> bytes:
    """A whole stream, with signs of life, and a call whose arguments are as nasty as the text."""
    words = list(said)
    call = ToolCall(name="f", arguments={word: word for word in words})
    pieces = [dialect.still("m", {"job": "j", "reason": words[0]}) + dialect.text("m", word) for word in words]
    return b"".join([dialect.begin("m"), *pieces, dialect.end("m", frames.End(tool_calls=(call,)))])


@pytest.mark.parametrize("way", SPLITS)
@pytest.mark.parametrize("name", EVENTS)
@settings(max_examples=25)
@given(said=st.lists(SAID, min_size=1, max_size=4))
def test_events_hold_what_was_said(name: str, way: str, said: list[str]) -> None:
    """One event for each piece, however lines are split; the pieces are the text; nothing that was said is an event, or an end."""
    make, text_of = EVENTS[name]
    found = events(answer(make(), said), SPLITS[way])
    read = [json.loads(data) for _, data in found if data != "[DONE]"]

    assert said == [text for one in read if (text := text_of(one))]
    assert [data for _, data in found[:-1] if data == "[DONE]"] == []


@pytest.mark.parametrize("way", SPLITS)
@pytest.mark.parametrize("name", LINES)
@settings(max_examples=25)
@given(said=st.lists(SAID, min_size=1, max_size=4))
def test_lines_hold_what_was_said(name: str, way: str, said: list[str]) -> None:
    """One object to a line, none of them blank, however lines are split; and the pieces are the text."""
    make, text_of = LINES[name]
    *found, last = SPLITS[way](answer(make(), said).decode())
    read = [json.loads(line) for line in found]

    assert ("", said) == (last, [text for one in read if (text := text_of(one))])


@pytest.mark.parametrize("name", [*EVENTS, *LINES])
@settings(max_examples=30)
@given(said=SAID)
def test_an_error_is_one_event_too(name: str, said: str) -> None:
    """Its message may quote anything."""
    make, _ = (EVENTS | LINES)[name]
    body: bytes = make().broken(errors.BadRequest(said, param=said), None)
    found = (
        [data for _, data in events(body, SPLITS["as Python has it"]) if data != "[DONE]"]
        if name in EVENTS
        else body.decode().splitlines()
    )

    assert 1 == len(found)
    assert any(said in text for text in texts(json.loads(found[0])))


def texts(value: Any) -> list[str]:
    """All texts in a value."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in texts(part)]


@settings(max_examples=60)
@given(said=SAID, number=st.integers(0, 2**63))
def test_an_event_has_its_number_and_its_name(said: str, number: int) -> None:
    """As those of durable jobs have, with a text of any kind."""
    body = event(json.dumps({"text": said}, ensure_ascii=False).encode(), number=number, name="done")
    first, second, third, *rest = body.decode().splitlines()

    assert (f"id: {number}", "event: done", [""]) == (first, second, rest)
    assert {"text": said} == json.loads(third.removeprefix("data: "))


@pytest.mark.parametrize(
    ("dialect", "ours", "theirs"),
    [
        (ChatDialect, "images", "messages"),
        (ChatDialect, "messages", "messages"),
        (ChatDialect, "provider_key", "x-drover-provider-key"),
        (CompletionDialect, "messages", "prompt"),
        (ResponseDialect, "messages", "input"),
        (ResponseDialect, "device", "model"),
        (EmbeddingDialect, "inputs", "input"),
        (MessageDialect, "images", "messages"),
        (MessageDialect, "strategy", "x-drover-strategy"),
        (ChatLines, "max_cost_usd", "x-drover-max-cost-usd"),
        (GenerateLines, "messages", "prompt"),
        (NativeDialect, "provider_key", "x-drover-provider-key"),
        (SmartDialect, "images", "file"),
    ],
)
def test_what_a_job_failed_with_names_the_field_that_was_sent(dialect: Any, ours: str, theirs: str) -> None:
    """The fleet has names of its own for what a body or a header says; the rest of the error stays."""
    failed = errors.ContextTooLong("too long", param=ours, estimated_tokens=9)
    told = as_asked(failed, dialect.called)

    assert (type(failed), "too long", {"param": theirs, "estimated_tokens": 9}, ours) == (
        type(told),
        told.message,
        told.details,
        failed.details["param"],
    )
