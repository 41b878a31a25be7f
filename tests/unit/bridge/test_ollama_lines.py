"""Answers as Ollama writes them, read by the rules of its strictest clients."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import errors, frames, vectors
from common.energy import Energy
from common.messages import EngineTimings, ToolCall, Usage
from dispatcher.bridge.ollama import lines
from dispatcher.bridge.ollama.context import recall
from dispatcher.bridge.ollama.dialects import ChatLines, EmbedLines, GenerateLines
from tests import ollama_readers as readers

NOW_S = 1_795_000_000.5
USAGE = Usage(prompt_tokens=7, completion_tokens=3)
ENGINE = EngineTimings(load_s=0.5, prefill_s=0.25, decode_s=1.5)
CALL = ToolCall(name="weather", arguments={"city": "Accra"}, id="c1")


def chatting() -> ChatLines:
    return ChatLines(job="j1", now=lambda: NOW_S)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (
            frames.End(usage=USAGE, engine=ENGINE, route={"timings": {"total_s": 3.0, "first_token_s": 1.0}}),
            (3_000_000_000, 500_000_000, 7, 250_000_000, 3, 1_500_000_000),
        ),
        # The account alone: 1.0 s until the first token, and 2.0 s of text.
        (
            frames.End(usage=USAGE, route={"timings": {"total_s": 3.0, "first_token_s": 1.0}}),
            (3_000_000_000, 1, 7, 1_000_000_000, 3, 2_000_000_000),
        ),
        # All at once, from the cache: 3 tokens in 1 ms, not in 1 ns.
        (
            frames.End(usage=USAGE, route={"timings": {"total_s": 0.001, "first_token_s": 0.001}}),
            (1_000_000, 1, 7, 1_000_000, 3, 1_000_000),
        ),
        # The engine alone: 0.5 + 0.25 + 1.5.
        (frames.End(usage=USAGE, engine=ENGINE), (2_250_000_000, 500_000_000, 7, 250_000_000, 3, 1_500_000_000)),
        (frames.End(), (1, 1, 1, 1, 1, 1)),
        (frames.End(route={"timings": "soon"}), (1, 1, 1, 1, 1, 1)),
        (frames.End(route={"timings": {"total_s": None, "first_token_s": -3}}), (1, 1, 1, 1, 1, 1)),
    ],
)
def test_counters(end: frames.End, expected: tuple[int, ...]) -> None:
    """Whole nanoseconds, none of them 0, from the engine where it tells, else from the account."""
    assert expected == tuple(lines.counters(end).values())


@settings(max_examples=100)
@given(st.text(st.characters(codec="utf-8")))
def test_a_line_is_one_line_whatever_it_says(text: str) -> None:
    """Also for httpx, which splits where Python does, at characters that JSON lets through."""
    (line,) = readers.lines(chatting().text("m", text + "\x85\u2028\u2029\v\f\x1c\r\n"))

    assert text + "\x85\u2028\u2029\v\f\x1c\r\n" == line["message"]["content"]


@pytest.mark.parametrize("finish", list(frames.Finish))
def test_a_chat_stream(finish: frames.Finish) -> None:
    """Text, a sign of life, calls on a line of their own, and the counters; each for the strictest reader."""
    dialect = chatting()
    end = frames.End(finish=finish, usage=USAGE, tool_calls=(CALL,))
    written = [dialect.begin("m"), dialect.text("m", "Hel"), dialect.still("m", {"job": "j1"}), dialect.end("m", end)]
    read = readers.lines(b"".join(written))
    for line in read:
        readers.chat_line(line)

    assert [False, False, False, True] == [line["done"] for line in read]
    assert ("length" if finish is frames.Finish.LENGTH else "stop") == read[-1]["done_reason"]
    assert [{"function": {"index": 0, "name": "weather", "arguments": {"city": "Accra"}}}] == read[2]["message"][
        "tool_calls"
    ]
    assert "tool_calls" not in read[3]["message"]


def test_a_whole_chat() -> None:
    """Text, calls and counters in one object."""
    body = chatting().whole("m", "Hello", frames.End(usage=USAGE, tool_calls=(CALL,)))
    readers.chat_line(body)

    assert ("Hello", 1, True) == (body["message"]["content"], len(body["message"]["tool_calls"]), body["done"])


def test_a_generated_text_is_remembered() -> None:
    """The context of stream and whole answer is the conversation with the answer behind it."""
    asked = ({"role": "system", "content": "be brief"}, {"role": "user", "content": "hi", "images": ("x",)})
    dialect = GenerateLines(job="j1", now=lambda: NOW_S, asked=asked)
    end = frames.End(usage=USAGE)
    read = readers.lines(
        dialect.text("m", "Hel") + dialect.still("m", {}) + dialect.text("m", "lo") + dialect.end("m", end)
    )
    whole = GenerateLines(job="j1", now=lambda: NOW_S, asked=asked).whole("m", "Hello", end)
    for line in [*read, whole]:
        readers.generate_line(line)

    assert "Hello" == "".join(line["response"] for line in read) == whole["response"]
    assert read[-1]["context"] == whole["context"]
    assert [("system", "be brief"), ("user", "hi"), ("assistant", "Hello")] == [
        (one["role"], one["content"]) for one in recall(whole["context"])
    ]


def test_an_error_in_the_stream_is_a_line() -> None:
    """A text, as clients show it; programs find the code beside it, and what it took."""
    taken = Energy(joules=2.0)
    (line,) = readers.lines(chatting().broken(errors.DeviceLost("nano is gone", retry_after_s=3.0), taken))

    assert ("nano is gone", "device_lost", "j1", 3.0, 2.0) == (
        line["error"],
        line["x_drover"]["code"],
        line["x_drover"]["job"],
        line["x_drover"]["retry_after_s"],
        line["x_drover"]["energy"]["joules"],
    )


@pytest.mark.parametrize("reason", ["load", "unload"])
def test_a_request_without_a_word_has_one_line(reason: str) -> None:
    """It says that nothing was done, and why."""
    body: dict[str, Any] = {**lines.chat("m", NOW_S), **lines.idle(reason)}
    readers.chat_line(body)

    assert (True, reason) == (body["done"], body["done_reason"])


@pytest.mark.parametrize("unix_s", [0.0, NOW_S, 1e15, -5.0])
def test_every_date_can_be_read(unix_s: float) -> None:
    """Six digits and an offset, also of a model that stays for ever."""
    assert datetime.fromisoformat(lines.date(unix_s)).tzinfo is not None
    assert json.loads(json.dumps(lines.date(unix_s))).endswith("+00:00")


@pytest.mark.parametrize(
    ("legacy", "expected"),
    [
        (True, {"embedding": [0.5, -2.0]}),
        (
            False,
            {
                "model": "m",
                "embeddings": [[0.5, -2.0]],
                "total_duration": 1,
                "load_duration": 1,
                "prompt_eval_count": 7,
            },
        ),
    ],
)
def test_embeddings(legacy: bool, expected: dict[str, Any]) -> None:
    """The older API has one vector, and the newer one a list with counters."""
    end = frames.End(usage=USAGE, embeddings=(vectors.pack((0.5, -2.0)),))
    body = EmbedLines(job="j1", legacy=legacy).whole("m", "", end)

    assert {**expected, "x_drover": {"job": "j1"}} == body
