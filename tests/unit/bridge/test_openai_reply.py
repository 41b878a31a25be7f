"""Answers and errors as OpenAI writes them."""

from __future__ import annotations

from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from common import frames
from common.errors import QueueFull
from common.messages import ToolCall, Usage
from dispatcher.bridge.openai import reply

ROUTE = {
    "job": "j1",
    "device": "nano",
    "model": "m:1b",
    "reason": "hybrid",
    "score": 0.8,
    "terms": {"health": 1.0},
    "attempts": [],
    "timings": {"total_s": 1.0},
    "simulated": True,
    "secret": "stays",
}
CALL = ToolCall(name="weather", arguments={"city": "Graz"})
END = frames.End(tokens=2, usage=Usage(prompt_tokens=3, completion_tokens=2), route=ROUTE)


def a_stream(*, include_usage: bool = False, calls: tuple[ToolCall, ...] = ()) -> list[dict[str, Any]]:
    chunks = reply.Chunks(job="j1", created=5, include_usage=include_usage)
    end = frames.End(tokens=2, usage=END.usage, route=ROUTE, tool_calls=calls)
    said = [chunks.role("auto"), chunks.keep_alive("auto", {"phase": "load"}), chunks.text("m:1b", "hi")]
    said += [chunks.tool_calls("m:1b", calls)] if calls else []
    said.append(chunks.finish("m:1b", end))
    return [*said, chunks.usage("m:1b", end)] if include_usage else said


def test_every_chunk_is_one_that_the_openai_package_knows() -> None:
    """Each chunk passes the package's own type, in full strictness of its fields."""
    for chunk in a_stream(include_usage=True, calls=(CALL,)):
        assert ChatCompletionChunk.model_validate(chunk).object == "chat.completion.chunk"


def test_id_and_time_are_the_same_in_all_chunks() -> None:
    """One id and one time for the whole stream."""
    assert {(chunk["id"], chunk["created"]) for chunk in a_stream(include_usage=True)} == {("chatcmpl-j1", 5)}


def test_the_role_stands_in_the_first_chunk_only() -> None:
    """Clients concatenate deltas: a second role would double it."""
    with_role = ["role" in chunk["choices"][0]["delta"] for chunk in a_stream()]

    assert with_role == [True, False, False, False]


def test_the_finish_has_a_chunk_of_its_own() -> None:
    """The last choice says why the text ended, and nothing else."""
    *before, last = [chunk["choices"][0] for chunk in a_stream()]

    assert ([one["finish_reason"] for one in before], last["finish_reason"], last["delta"]) == ([None] * 3, "stop", {})


def test_usage_comes_only_when_asked_for() -> None:
    """Unasked there is no `usage` at all; asked for, it is null until a chunk without choices has it."""
    asked = a_stream(include_usage=True)

    assert (
        [chunk for chunk in a_stream() if "usage" in chunk],
        [chunk["usage"] for chunk in asked],
        asked[-1]["choices"],
    ) == (
        [],
        [None, None, None, None, {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "device": "nano"}],
        [],
    )


def test_every_chunk_has_choices() -> None:
    """The strictest readers refuse a chunk without the field."""
    assert all("choices" in chunk for chunk in a_stream(include_usage=True))


def test_a_streamed_call_has_an_index_and_its_arguments_as_text() -> None:
    """The object of ours is a JSON text at OpenAI."""
    delta = a_stream(calls=(CALL,))[3]["choices"][0]["delta"]

    assert delta["tool_calls"] == [
        {
            "index": 0,
            "id": "call_j1_0",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city":"Graz"}'},
        }
    ]


def test_calls_override_only_an_ordinary_end() -> None:
    """A text that was cut off stays cut off, also with calls in it."""
    ends = [frames.End(finish=finish, tool_calls=(CALL,)) for finish in (frames.Finish.STOP, frames.Finish.LENGTH)]

    assert [reply.finish_reason(end) for end in ends] == ["tool_calls", "length"]


def test_a_whole_answer_is_one_that_the_openai_package_knows() -> None:
    """Text, usage and our account survive the package's own type."""
    answer = ChatCompletion.model_validate(reply.completion("j1", 5, "m:1b", "hi", END))

    assert (answer.choices[0].message.content, answer.usage and answer.usage.total_tokens, answer.model_extra) == (
        "hi",
        5,
        {"x_drover": {key: value for key, value in ROUTE.items() if key != "secret"}},
    )


def test_a_whole_answer_of_calls_alone_has_no_text() -> None:
    """`content` is null when the model only calls."""
    body = reply.completion("j1", 5, "m", "", frames.End(tool_calls=(CALL,)))
    choice = body["choices"][0]

    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")


def test_an_error_says_what_kind_and_when_to_come_back() -> None:
    """The four fields of OpenAI, the job, and the wait where it is known."""
    error = QueueFull("1000 jobs wait", retry_after_s=2.5, param="x")

    assert reply.error_body(error, "rate_limit_error", job="j1") == {
        "error": {
            "message": "1000 jobs wait",
            "type": "rate_limit_error",
            "param": "x",
            "code": "queue_full",
            "job": "j1",
            "retry_after_s": 2.5,
        }
    }


def test_standing_tells_place_and_phase() -> None:
    """What is known so far, and nothing that is not."""
    note = frames.RouteNote("j1", "nano", "m", "why", 2)
    silent = frames.KeepAlive(frames.Phase.QUEUE, position=3)

    assert [reply.standing("j1", None, None), reply.standing("j1", note, silent)] == [
        {"job": "j1"},
        {"job": "j1", "device": "nano", "model": "m", "reason": "why", "attempt": 2, "phase": "queue", "position": 3},
    ]
