"""Our values in OpenAI's terms, and its chunks in ours."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from agents.backends import BackendText
from agents.backends.offers import Offer
from agents.backends.openai_wire import Answer, chat_to_wire
from common.errors import BackendError, BadRequest, FleetError, GarbledReply
from common.frames import Finish
from common.messages import Dispatch, EngineTimings, Message, Options, Role, ToolCall, Usage
from common.openai_api import Price
from common.prompts import text_tokens

OFFER = Offer(name="m", prices=Price(1.0, 2.0, 0.5))


def sent(*turns: Message, limit_name: str = "max_tokens", **fields: Any) -> dict[str, Any]:
    job = Dispatch(job="j", attempt=1, dispatcher="d", model="m", messages=turns, **fields)
    return chat_to_wire(job, limit_name)


def test_what_is_absent_stays_absent() -> None:
    """The model's own defaults hold."""
    assert sent(Message(role=Role.USER, content="hi")) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_options_go_under_openai_s_names() -> None:
    """The largest number of tokens has two, of which OpenAI's newer models know one, and everybody else the other."""
    options = Options(max_tokens=5, temperature=0.0, top_p=0.5, seed=7, stop=("x",), presence_penalty=1.0)
    wire = sent(options=options, limit_name="max_completion_tokens")

    assert wire == {
        "model": "m",
        "messages": [],
        "max_completion_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["x"],
        "presence_penalty": 1.0,
    }


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, None),
        ("json", {"type": "json_object"}),
        ({"type": "object"}, {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}),
    ],
)
def test_the_form_of_the_answer(wanted: Any, expected: Any) -> None:
    """Any JSON, or a schema."""
    assert sent(format=wanted).get("response_format") == expected


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n", "png"),
        (b"GIF89a", "gif"),
        (b"RIFF....", "webp"),
        (b"??", "jpeg"),
    ],
)
def test_an_image_is_a_data_uri(head: bytes, kind: str) -> None:
    """Its kind is told by its first bytes; the text comes before it."""
    image = base64.b64encode(head).decode()
    [turn] = sent(Message(role=Role.USER, content="What is it?", images=(image,)))["messages"]

    assert turn["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{image}"}},
    ]


def test_an_image_that_is_none_is_refused() -> None:
    """A stranger's text must not become an address that the provider fetches."""
    with pytest.raises(BadRequest, match="not base64"):
        sent(Message(role=Role.USER, images=("http://example.com/x.png",)))


def test_results_find_their_calls() -> None:
    """By the id where there is one, else by the name, else in order: OpenAI refuses a result that answers no call."""
    calls = (
        ToolCall(name="time", arguments={"zone": "UTC"}),
        ToolCall(name="look", id="call_x"),
        ToolCall(name="time"),
        ToolCall(name="roll"),
    )
    turns = sent(
        Message(role=Role.ASSISTANT, tool_calls=calls),
        Message(role=Role.TOOL, content="a cat", tool_call_id="call_x"),
        Message(role=Role.TOOL, content="noon", tool_name="time"),
        Message(role=Role.TOOL, content="one", tool_name="time"),
        Message(role=Role.TOOL, content="six"),
    )["messages"]

    assert turns[0]["content"] is None
    assert turns[0]["tool_calls"][0] == {
        "id": "call_0_0",
        "type": "function",
        "function": {"name": "time", "arguments": '{"zone":"UTC"}'},
    }
    assert [(turn["content"], turn["tool_call_id"]) for turn in turns[1:]] == [
        ("a cat", "call_x"),
        ("noon", "call_0_0"),
        ("one", "call_0_2"),
        ("six", "call_0_3"),
    ]


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}


def heard(*chunks: dict[str, Any]) -> Answer:
    """An answer whose chunks come a second apart, the first one a second after the request."""
    answer = Answer("cloud", sent_s=0.0)
    for second, one in enumerate(chunks, 1):
        answer.hear(one, float(second))
    return answer


USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "prompt_tokens_details": {"cached_tokens": 400}}


def test_an_answer_with_its_price() -> None:
    """600 fresh tokens at 1, 400 cached at 0.5 and 500 at 2 dollars per million; the first text came at 2 s, the last at 3 s."""
    answer = heard(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk(finish="stop"),
        {"choices": [], "usage": USAGE},
    )
    done = answer.done()

    assert (done.finish, done.usage) == (Finish.STOP, Usage(prompt_tokens=1000, completion_tokens=500))
    assert answer.usd(OFFER, 7) == (pytest.approx(0.0018), False)
    assert done.engine == EngineTimings(prefill_s=2.0, decode_s=1.0)


WORDS = "word " * 100


@pytest.mark.parametrize(
    "delta",
    [
        {"content": WORDS},
        {"reasoning_content": WORDS},
        {"reasoning": WORDS},
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "", "arguments": WORDS}}]},
    ],
)
def test_what_a_provider_does_not_count_is_estimated(delta: dict[str, Any]) -> None:
    """Text, thoughts and the arguments of calls are paid for alike, behind the prompt's 1,000 tokens at 1 dollar per million."""
    answer = heard(chunk(delta))

    assert answer.usd(OFFER, 1000) == (pytest.approx((1000 + text_tokens(WORDS) * 2) / 1e6), True)


def test_thinking_is_work_without_text() -> None:
    """What some providers send of a model's thoughts is not shown, and counts as a sign of life."""
    answer = Answer("cloud", sent_s=0.0)

    assert answer.hear(chunk({"reasoning_content": "hm"}), 1.0) == BackendText("")


def test_a_refusal_is_an_answer() -> None:
    """A model that declines a schema says so in a field of its own."""
    answer = Answer("cloud", sent_s=0.0)

    assert answer.hear(chunk({"refusal": "I can't."}), 1.0) == BackendText("I can't.")


def test_tool_calls_are_put_together() -> None:
    """Their pieces come bit by bit, and those of two calls mixed; no arguments at all are an empty object."""
    pieces = [
        {"index": 1, "id": "b", "function": {"name": "roll", "arguments": ""}},
        {"index": 0, "id": "a", "function": {"name": "time", "arguments": '{"zo'}},
        {"index": 0, "function": {"arguments": 'ne":"UTC"}'}},
    ]
    answer = heard(*(chunk({"tool_calls": [piece]}) for piece in pieces), chunk(finish="tool_calls"))
    done = answer.done()

    assert done.finish is Finish.TOOL_CALLS
    assert done.tool_calls == (
        ToolCall(name="time", arguments={"zone": "UTC"}, id="a"),
        ToolCall(name="roll", id="b"),
    )


@pytest.mark.parametrize("place", [{}, {"index": 0}])
def test_a_new_id_begins_a_new_call(place: dict[str, int]) -> None:
    """Some servers number no call, or each one 0."""
    pieces = [
        {**place, "id": "a", "function": {"name": "time", "arguments": "{"}},
        {**place, "function": {"arguments": "}"}},
        {**place, "id": "b", "function": {"name": "roll", "arguments": "{}"}},
    ]
    answer = heard(*(chunk({"tool_calls": [piece]}) for piece in pieces), chunk(finish="tool_calls"))

    assert answer.done().tool_calls == (ToolCall(name="time", id="a"), ToolCall(name="roll", id="b"))


def test_a_text_that_was_cut_off_is_told_so() -> None:
    """Also when a call was begun."""
    assert heard(chunk(finish="length")).done().finish is Finish.LENGTH


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], BackendError),
        ([chunk({"content": "Ha"})], BackendError),
        ([chunk({"content": "Ha"}), chunk(finish="content_filter")], BadRequest),
        ([chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{bro"}}]}, "stop")], GarbledReply),
        ([chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "[1]"}}]}, "stop")], GarbledReply),
        ([chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, "stop")], GarbledReply),
        ([chunk({"tool_calls": [{"index": n, "function": {"name": "f"}} for n in range(65)]}, "stop")], GarbledReply),
    ],
)
def test_an_answer_that_is_none(chunks: list[dict[str, Any]], expected: type[FleetError]) -> None:
    """Broken off, filtered, or with calls that can't be read: a typed error, never half an answer for a whole one."""
    with pytest.raises(FleetError) as caught:
        heard(*chunks).done()

    assert type(caught.value) is expected
