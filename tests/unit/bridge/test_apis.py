"""Requests of the APIs beside the chat's as jobs, and their fields that are refused; no socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.errors import FleetError
from common.messages import ChatRequest, Priority
from dispatcher.bridge.anthropic import request as messages
from dispatcher.bridge.openai import completions, embeddings, request
from dispatcher.bridge.openai.responses import request as responses
from dispatcher.bridge.reading import ELSEWHERE

PNG = "iVBORw0KGgo="
HI: Any = [{"role": "user", "content": "hi"}]
CALL: Any = {"type": "function_call", "name": "f", "arguments": "{}"}


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def response(**fields: Any) -> ChatRequest:
    return responses.to_chat(responses.read(body(**{"input": "hi", **fields})), job="j1")


def completion(**fields: Any) -> ChatRequest:
    return completions.to_chat(completions.read(body(**{"prompt": "hi", **fields})), job="j1")


def message(**fields: Any) -> ChatRequest:
    read = messages.read(body(**{"model": "auto", "max_tokens": 9, "messages": HI, **fields}))
    return messages.to_chat(read, job="j1")


def embedding(**fields: Any) -> ChatRequest:
    return embeddings.to_job(embeddings.read(body(**{"model": "m", "input": "hi", **fields})), job="j1")


def said(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def image(media_type: str, data: str = PNG) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def refused(build: Any, **fields: Any) -> tuple[str, Any]:
    with pytest.raises(FleetError) as caught:
        build(**fields)
    return caught.value.code, caught.value.details.get("param")


@pytest.mark.parametrize(
    ("build", "fields", "expected"),
    [
        (response, {"truncation": "auto"}, ("unsupported", "truncation")),
        (response, {"prompt": {"id": "pmpt_1"}}, ("unsupported", "prompt")),
        (response, {"tool_choice": {"type": "function", "name": "f"}}, ("unsupported", "tool_choice")),
        (response, {"tools": [{"type": "function"}]}, ("bad_request", "tools[0].name")),
        (response, {"text": {"format": {"type": "json_schema"}}}, ("bad_request", "text.format.schema")),
        (response, {"input": []}, ("bad_request", "input")),
        (response, {"input": " "}, ("bad_request", "input")),
        (
            response,
            {"input": [{"role": "user", "content": " "}], "instructions": "x"},
            ("bad_request", "input[0].content"),
        ),
        (response, {"input": [CALL, CALL, {"role": "user", "content": " "}]}, ("bad_request", "input[2].content")),
        (
            response,
            {"input": [*HI, {"role": "user", "content": [{"text": "x"}]}]},
            ("bad_request", "input[1].content[0].type"),
        ),
        (response, {"input": [{"type": "sound"}]}, ("unsupported", "input[0].type")),
        (response, {"tools": [{"type": "web_search"}]}, ("unsupported", "tools[0].type")),
        (response, {"input": [{"type": "item_reference", "id": "x"}]}, ("unsupported", "input[0].type")),
        (response, {"input": [{"role": "critic", "content": "x"}]}, ("bad_request", "input[0].role")),
        (response, {"input": [{"type": "function_call", "arguments": "{}"}]}, ("bad_request", "input[0].name")),
        (
            response,
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            ("unsupported", "input[0].content[0].type"),
        ),
        (
            response,
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://10.0.0.1/x.png"}]}]},
            ("bad_request", "input[0].content[0].image_url"),
        ),
        (completion, {"stop": ["a", 5]}, ("bad_request", "stop[1]")),
        (completion, {"suffix": "}"}, ("unsupported", "suffix")),
        (completion, {"logprobs": 0}, ("unsupported", "logprobs")),
        (completion, {"best_of": 2}, ("bad_request", "best_of")),
        (completion, {"n": 2}, ("bad_request", "n")),
        (completion, {"prompt": ["a", "b"]}, ("bad_request", "prompt")),
        (completion, {"prompt": [1, 2]}, ("unsupported", "prompt")),
        (completion, {"prompt": ""}, ("bad_request", "prompt")),
        (message, {"tool_choice": {"type": "any"}}, ("unsupported", "tool_choice")),
        (message, {"tools": [{"type": "web_search_20260318", "name": "web_search"}]}, ("unsupported", "tools.0.type")),
        (message, {"tools": [{"name": "f"}]}, ("bad_request", "tools.0.input_schema")),
        (message, {"messages": [{"role": "user", "content": ""}]}, ("bad_request", "messages.0.content")),
        (
            message,
            {"messages": [{"role": "user", "content": [{"type": "document"}]}]},
            ("unsupported", "messages.0.content.0.type"),
        ),
        (
            message,
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}
                ]
            },
            ("unsupported", "messages.0.content.0.source.type"),
        ),
        (message, {"messages": [said({"type": "text"})]}, ("unsupported", "messages.0.content.0.text")),
        (message, {"messages": [said({"type": "text", "text": 5})]}, ("bad_request", "messages.0.content.0.text")),
        (message, {"messages": [said(image("image/tiff"))]}, ("bad_request", "messages.0.content.0.source.media_type")),
        (message, {"messages": [said(image("image/png", "?"))]}, ("bad_request", "messages.0.content.0.source.data")),
        (message, {"messages": [said(*[image("image/png", PNG)] * 17)]}, ("bad_request", "messages.0.content")),
        (
            message,
            {"system": [{"type": "text", "text": "x"}, image("image/png", PNG)]},
            ("unsupported", "system.1.type"),
        ),
        (embedding, {"input": ["a", 5]}, ("bad_request", "input[1]")),
        (embedding, {"encoding_format": "hex"}, ("bad_request", "encoding_format")),
        (embedding, {"dimensions": 0}, ("bad_request", "dimensions")),
    ],
)
def test_what_is_refused(build: Any, fields: dict[str, Any], expected: tuple[str, str]) -> None:
    """Typed, with the field as its sender knows it."""
    assert refused(build, **fields) == expected


@pytest.mark.parametrize("field", sorted(ELSEWHERE))
@pytest.mark.parametrize("build", [response, completion, message, embedding])
def test_what_means_something_elsewhere_is_not_ignored(build: Any, field: str) -> None:
    """A limit or a pin in the body of any API is refused by its name."""
    assert refused(build, **{field: "x"}) == ("bad_request", field)


@pytest.mark.parametrize("field", ["functions", "function_call"])
def test_functions_of_old_are_not_ignored(field: str) -> None:
    """Who offers them in a chat must not wonder why none is called."""
    with pytest.raises(FleetError, match="newer name"):
        request.read(body(messages=HI, **{field: "auto"}))


def test_a_chat_takes_what_newer_clients_send() -> None:
    """The newest tiers, an effort, keys of caches: what means something is taken, the rest is ignored."""
    read = request.read(
        body(
            messages=[{"role": "developer", "content": "be short"}, *HI],
            service_tier="fast",
            reasoning_effort="ultra",
            prompt_cache_key="k",
            parallel_tool_calls=False,
            max_completion_tokens=5,
            max_tokens=9,
        )
    )
    chat = request.to_chat(read, job="j1")

    assert (chat.priority, chat.options.max_tokens, chat.messages[0].role) == (Priority.INTERACTIVE, 5, "system")


def test_a_response_has_images_and_a_schema() -> None:
    """Parts become text and images of one turn; the schema is the form of the answer; thoughts are left out."""
    schema = {"type": "object"}
    parts = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
    ]
    chat = response(
        model="m@nano",
        input=[{"type": "reasoning", "summary": []}, {"type": "message", "role": "user", "content": parts}],
        text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}},
        service_tier="flex",
    )

    assert (
        [(one.content, one.images) for one in chat.messages],
        (chat.model, chat.device, chat.format, chat.priority),
    ) == ([("What is it?", (PNG,))], ("m", "nano", schema, Priority.BATCH))


def test_calls_of_one_answer_are_one_turn() -> None:
    """Text and calls are items of their own there; what each gave has the name of its function."""
    chat = response(
        input=[
            *HI,
            {"role": "assistant", "content": [{"type": "output_text", "text": "Both."}]},
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"x":1}'},
            {"type": "function_call", "call_id": "b", "name": "g", "arguments": ""},
            {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "2"}]},
            {"type": "function_call_output", "call_id": "a", "output": "1"},
        ]
    )

    assert (
        [(one.role, one.content, one.tool_name) for one in chat.messages],
        [(one.name, one.arguments, one.id) for one in chat.messages[1].tool_calls],
    ) == (
        [("user", "hi", None), ("assistant", "Both.", None), ("tool", "2", "g"), ("tool", "1", "f")],
        [("f", {"x": 1}, "a"), ("g", {}, "b")],
    )


def test_a_message_turn_with_results_and_words_is_both() -> None:
    """What tools gave comes first, with a word for what failed; then what the user says, with images."""
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    turns = [
        *HI,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "…", "signature": "s"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "no such x", "is_error": True},
                {"type": "image", "source": source},
                {"type": "text", "text": "and this?"},
            ],
        },
    ]
    chat = message(messages=turns)

    assert [(one.role, one.content, one.images, one.tool_name) for one in chat.messages] == [
        ("user", "hi", (), None),
        ("assistant", "", (), None),
        ("tool", "Error: no such x", (), "f"),
        ("user", "and this?", (PNG,), None),
    ]


def test_a_message_has_no_tools_when_none_may_be_used() -> None:
    """A backend has no such choice: `none` offers nothing; a schema is the form of the answer."""
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    output = {"format": {"type": "json_schema", "schema": {"type": "array"}}}
    chat = message(tools=tools, tool_choice={"type": "none"}, output_config=output)

    assert (chat.tools, chat.format) == ((), {"type": "array"})


def test_of_what_may_be_two_things_only_the_wrong_part_is_told() -> None:
    """A list with one wrong item is not told to be no text as well: that would name the half of the path, first."""
    with pytest.raises(FleetError) as caught:
        response(input=[{"role": "user", "content": [{"type": "input_text", "text": 5}]}])

    assert caught.value.message == "input[0].content[0].text: Input should be a valid string (got 5)"
