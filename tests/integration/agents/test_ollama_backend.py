"""The Ollama backend against a server that answers what it is told, and shows what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from agents.backends import Backend, BackendDone, BackendText, Bill, Piece, Version
from agents.backends.ollama import open_ollama
from agents.settings import OllamaSection
from agents.telemetry import Readings
from common.errors import BackendError, FleetError, GarbledReply
from common.frames import Finish
from common.messages import Dispatch, Message, Role, ToolCall, Usage

DONE = '{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","eval_count":2}\n'


class Scripted:
    """A server that speaks just enough HTTP: one answer per path, and a record of the bodies that came."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {"/api/chat": (200, DONE)}
        self.asked: list[tuple[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        self.asked.append((path, json.loads(body) if body else None))
        status, text = self.answers.get(path, (404, "404 page not found"))
        answer = text.encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n".encode() + answer
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def scripted() -> AsyncIterator[tuple[Scripted, Backend]]:
    script = Scripted()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        section = OllamaSection.model_validate({"host": f"127.0.0.1:{port}", "keep_alive": "-1"})
        async with open_ollama(section, Readings, slots=1) as backend:
            yield script, backend


def dispatch(*turns: Message, tools: tuple[dict[str, Any], ...] = ()) -> Dispatch:
    return Dispatch(job="j", attempt=1, dispatcher="d", model="m", messages=turns, tools=tools)


async def pieces(backend: Backend, job: Dispatch) -> list[Piece]:
    return [piece async for piece in backend.chat(job, Bill())]


async def test_a_tool_schema_arrives_whole() -> None:
    """Nested properties, bounds and defaults, which the package's own type would drop."""
    schema: Mapping[str, Any] = {
        "type": "function",
        "function": {
            "name": "book",
            "description": "Book a table",
            "parameters": {
                "type": "object",
                "additionalProperties": False,
                "$defs": {"day": {"type": "string", "enum": ["mon", "tue"]}},
                "properties": {
                    "day": {"$ref": "#/$defs/day"},
                    "guests": {"type": "integer", "minimum": 1, "default": 2},
                    "who": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
                },
                "required": ["day"],
            },
        },
    }
    async with scripted() as (script, backend):
        await pieces(backend, dispatch(Message(role=Role.USER, content="book"), tools=(dict(schema),)))

        assert script.asked[0][1]["tools"] == [schema]


async def test_a_conversation_arrives_as_it_was_sent() -> None:
    """Roles, tool calls and results, images as base64; and keep_alive with each request, as a number."""
    turns = (
        Message(role=Role.SYSTEM, content="Be brief."),
        Message(role=Role.USER, content="What is it?", images=("aGk=",)),
        Message(role=Role.ASSISTANT, tool_calls=(ToolCall(name="look", arguments={"deep": {"er": [1]}}),)),
        Message(role=Role.TOOL, content="a cat", tool_name="look"),
    )
    async with scripted() as (script, backend):
        await pieces(backend, dispatch(*turns))

        sent = script.asked[0][1]
        assert (sent["stream"], sent["keep_alive"], sent["options"]) == (True, -1.0, {"num_ctx": 4096})
        assert sent["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is it?", "images": ["aGk="]},
            {"role": "assistant", "tool_calls": [{"function": {"name": "look", "arguments": {"deep": {"er": [1]}}}}]},
            {"role": "tool", "content": "a cat", "tool_name": "look"},
        ]


async def test_how_sure_the_model_was_is_told_when_it_is_asked_for() -> None:
    """The request asks Ollama for log-probabilities, and what it says of each token ends up with the end; else nothing is asked."""
    line = '{"model":"m","message":{"role":"assistant","content":"hi"},"done":false,"logprobs":[{"token":"hi","logprob":-0.5}]}\n'
    async with scripted() as (script, backend):
        script.answers["/api/chat"] = 200, line + line + DONE
        turn = Message(role=Role.USER, content="hi")
        sure = (await pieces(backend, replace(dispatch(turn), logprobs=True)))[-1]
        await pieces(backend, dispatch(turn))

    assert isinstance(sure, BackendDone)
    assert ((-0.5, -0.5), [True, None]) == (sure.logprobs, [body.get("logprobs") for _, body in script.asked])


async def test_thinking_is_work_without_text() -> None:
    """The thoughts are not shown; that the model is at work is."""
    thought = '{"message":{"role":"assistant","content":"","thinking":"hm"},"done":false}\n'
    said = '{"message":{"role":"assistant","content":"Yes"},"done":false}\n'
    async with scripted() as (script, backend):
        script.answers["/api/chat"] = (200, thought + said + DONE)

        heard = await pieces(backend, dispatch())

        assert heard == [BackendText(""), BackendText("Yes"), BackendDone(usage=Usage(completion_tokens=2))]


async def test_tool_calls_are_gathered_over_the_stream() -> None:
    """They may come in any chunk, and they decide why the answer ended."""
    calls = [
        json.dumps(
            {
                "message": {"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": {}}}]},
                "done": False,
            }
        )
        for name in ("a", "b")
    ]
    async with scripted() as (script, backend):
        script.answers["/api/chat"] = (200, "\n".join([*calls, DONE]))

        last = (await pieces(backend, dispatch()))[-1]

        assert last == BackendDone(
            finish=Finish.TOOL_CALLS,
            usage=Usage(completion_tokens=2),
            tool_calls=(ToolCall(name="a"), ToolCall(name="b")),
        )


HALF = '{"message":{"role":"assistant","content":"Ha"},"done":false}\n'


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (200, HALF, BackendError),
        (200, "", BackendError),
        (200, HALF + '{"error":"boom"}\n', BackendError),
        (200, HALF + "{broken\n", GarbledReply),
        (200, HALF + "[1]\n", GarbledReply),
        (200, HALF + "7\n", GarbledReply),
        (200, '{"done":false}\n', GarbledReply),
        (200, HALF + '{"error":{"nested":1}}\n', GarbledReply),
        (200, "<html>hello</html>", GarbledReply),
        (500, "[1]", GarbledReply),
        (500, "<html>oops</html>", BackendError),
        (404, "404 page not found", BackendError),
    ],
)
async def test_a_broken_answer_is_a_typed_error(status: int, text: str, expected: type[FleetError]) -> None:
    """Whatever a server sends, nothing of the package's leaves the backend."""
    async with scripted() as (script, backend):
        script.answers["/api/chat"] = (status, text)

        with pytest.raises(FleetError) as caught:
            await pieces(backend, dispatch())

        assert type(caught.value) is expected


TAGS = '{"models":[{"model":"b:1","digest":"d1","size":5},{"model":"a:1","digest":"d2","size":6}]}'


async def test_a_model_that_can_t_be_shown_is_listed_all_the_same() -> None:
    """It may have been deleted meanwhile; the others are none the worse for it. The order is always the same."""
    async with scripted() as (script, backend):
        script.answers |= {"/api/tags": (200, TAGS), "/api/ps": (200, '{"models":[{"model":"b:1"}]}')}
        script.answers["/api/show"] = (404, '{"error":"model not found"}')

        models = await backend.models()

        assert [(model.name, model.loaded, model.size_bytes) for model in models] == [
            ("a:1", False, 6),
            ("b:1", True, 5),
        ]


async def test_an_odd_model_is_left_out_and_logged_once() -> None:
    """The device is none the worse for it: its other models are there."""
    long, label = "x" * 300, '"details":{"parameter_size":"..B"}'
    tags = f'{{"models":[{{"model":"{long}","size":5}},{{"model":"odd:1",{label}}},{{"model":"good:1"}}]}}'
    show = '{"model_info":{"general.architecture":"llama"},"capabilities":["completion"]}'
    async with scripted() as (script, backend):
        script.answers |= {"/api/tags": (200, tags), "/api/ps": (200, '{"models":[]}'), "/api/show": (200, show)}
        with capture_logs() as lines:
            seen = [[model.name for model in await backend.models()] for _ in range(2)]

        assert seen == [["good:1", "odd:1"]] * 2
        assert [(line["event"], line["model"]) for line in lines] == [("model.unreadable", long[:200])]


async def test_a_model_is_shown_once() -> None:
    """What `/api/show` says can't change under the same digest."""
    async with scripted() as (script, backend):
        script.answers |= {"/api/tags": (200, TAGS), "/api/ps": (200, '{"models":[]}')}
        script.answers["/api/show"] = (200, '{"model_info":{},"capabilities":["completion"]}')
        for _ in range(3):
            models = await backend.models()

        assert [path for path, _ in script.asked].count("/api/show") == 2
        assert {model.capabilities for model in models} == {("completion",)}


@pytest.mark.parametrize("answer", [(200, "<html>"), (200, "[]"), (200, '{"models":7}'), (500, "oops")])
async def test_an_odd_answer_to_a_question_is_a_typed_error(answer: tuple[int, str]) -> None:
    """Something that is no Ollama makes the device faulty, and nothing worse."""
    async with scripted() as (script, backend):
        script.answers["/api/tags"] = answer

        with pytest.raises(FleetError):
            await backend.models()

        assert script.asked[0][0] == "/api/tags"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, '{"version":"0.12.3"}'), Version("0.12.3")),
        ((200, '{"version":"0.33.0-simulated"}'), Version("0.33.0-simulated", simulated=True)),
        ((401, "unauthorized"), Version("unknown")),
    ],
)
async def test_the_version_tells_a_simulator(answer: tuple[int, str], expected: Version) -> None:
    """A server that keeps it to itself is taken for real."""
    async with scripted() as (script, backend):
        script.answers["/api/version"] = answer

        assert await backend.version() == expected
