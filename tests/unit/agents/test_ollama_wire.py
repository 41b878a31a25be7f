"""Our values in Ollama's words, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.backends import ollama_wire as wire
from common.errors import BadRequest
from common.frames import Finish
from common.messages import Dispatch, EngineTimings, Message, ModelInfo, Options, Role, ToolCall, Usage


def test_options_take_ollamas_names() -> None:
    """They are called otherwise there; the context is the one that was chosen, which is not always the one asked for."""
    options = Options(
        max_tokens=10,
        context_tokens=4096,
        temperature=0.0,
        top_p=0.9,
        seed=7,
        stop=("END",),
        frequency_penalty=0.5,
        presence_penalty=-0.5,
    )

    assert wire.options_to_wire(options, 8192) == {
        "num_predict": 10,
        "num_ctx": 8192,
        "temperature": 0.0,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["END"],
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
    }


def test_absent_options_are_left_to_the_model() -> None:
    """Another num_ctx makes Ollama load the model anew, so nothing is sent that was not asked for."""
    assert wire.options_to_wire(Options(), None) == {}


def test_an_image_never_becomes_a_file_name(tmp_path: Path) -> None:
    """The package would open a string that names a file; bytes can't name one."""
    secret = tmp_path / "aaaa"
    secret.write_text("secret")

    turn = wire.turn_to_wire(Message(role=Role.USER, content="look", images=("aaaa",)))

    assert turn["images"] == [b"\x69\xa6\x9a"]


def test_an_image_that_is_no_base64_is_refused() -> None:
    """The message says what to send."""
    with pytest.raises(BadRequest, match="not base64"):
        wire.turn_to_wire(Message(role=Role.USER, images=("/etc/passwd",)))


def test_a_conversation_keeps_its_tool_calls() -> None:
    """The call and its result both reach the model."""
    turns = (
        Message(role=Role.ASSISTANT, tool_calls=(ToolCall(name="f", arguments={"a": 1}, id="c1"),)),
        Message(role=Role.TOOL, content="2", tool_name="f", tool_call_id="c1"),
    )

    assert [wire.turn_to_wire(turn) for turn in turns] == [
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "tool", "content": "2", "tool_name": "f"},
    ]


@pytest.mark.parametrize(("text", "expected"), [("5m", "5m"), ("0", 0.0), ("-1", -1.0), ("90", 90.0)])
def test_bare_seconds_are_sent_as_numbers(text: str, expected: object) -> None:
    """Ollama reads "-1" as a duration without a unit, and refuses it."""
    assert wire.keep_alive_to_wire(text) == expected


def test_a_chat_carries_format_and_keep_alive() -> None:
    """A JSON schema is passed on as it is."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    dispatch = Dispatch(job="j", attempt=1, dispatcher="d", model="m", messages=(), format=schema)

    chat = wire.chat_to_wire(dispatch, "10m", None)

    assert (chat["format"], chat["keep_alive"]) == (schema, "10m")


@pytest.mark.parametrize(
    ("reason", "calls", "expected"),
    [
        ("stop", (), Finish.STOP),
        ("length", (), Finish.LENGTH),
        (None, (), Finish.STOP),
        ("stop", (ToolCall(name="f"),), Finish.TOOL_CALLS),
    ],
)
def test_the_finish_reason(reason: str | None, calls: tuple[ToolCall, ...], expected: Finish) -> None:
    """Ollama says "stop" for tool calls, too."""
    assert wire.finish_of(reason, calls) is expected


def test_absent_counters_are_zero_and_absent_times_unknown() -> None:
    """Ollama leaves out what is zero; nanoseconds become seconds."""
    assert wire.usage_of(None, 5) == Usage(prompt_tokens=0, completion_tokens=5)
    assert wire.timings_of(None, 1_500_000_000, 0) == EngineTimings(load_s=None, prefill_s=1.5, decode_s=0.0)


LISTED: dict[str, Any] = {
    "model": "llama3.2:3b",
    "digest": "abc",
    "size": 2_000_000_000,
    "details": {"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
}


def test_a_model_is_joined_from_three_answers() -> None:
    """Tags give the disk, ps the memory, show the abilities."""
    expires = datetime(2026, 11, 20, tzinfo=UTC)
    loaded = {"size": 3_000_000_000, "size_vram": 2_500_000_000, "expires_at": expires}
    shown = {
        "capabilities": ["completion", "tools"],
        "modelinfo": {
            "general.architecture": "llama",
            "general.parameter_count": 3_212_749_888,
            "llama.context_length": 131_072,
        },
    }

    assert wire.model_of(LISTED, loaded, shown) == ModelInfo(
        name="llama3.2:3b",
        size_bytes=2_000_000_000,
        loaded=True,
        memory_bytes=3_000_000_000,
        gpu_bytes=2_500_000_000,
        expires_unix_s=expires.timestamp(),
        parameters_b=3.213,
        context_tokens=131_072,
        quantization="Q4_K_M",
        family="llama",
        digest="abc",
        capabilities=("completion", "tools"),
    )


def test_a_model_that_nothing_is_shown_of() -> None:
    """Older versions show no abilities; the parameters are then read from their label."""
    model = wire.model_of(LISTED, None, {})

    assert (model.loaded, model.parameters_b, model.context_tokens, model.capabilities) == (False, 3.2, None, ())


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("494.03M", 0.494),
        ("7B", 7.0),
        ("22.7 M", 0.023),
        ("1T", 1000.0),
        ("", None),
        ("?", None),
        ("..B", None),
        ("1.2.3B", None),
    ],
)
def test_parameter_labels(label: str, expected: float | None) -> None:
    """As Ollama writes them."""
    model = wire.model_of({"model": "m", "details": {"parameter_size": label}}, None, {})

    assert model.parameters_b == expected


@pytest.mark.parametrize("odd", [{"model": "m" * 201}, {"size": -1}, {"model": ""}, {"details": {"family": ["llama"]}}])
def test_a_model_that_no_heartbeat_can_carry_is_refused(odd: dict[str, Any]) -> None:
    """Inside a heartbeat it would cost the device: dispatchers refuse the whole."""
    with pytest.raises(BadRequest):
        wire.model_of({**LISTED, **odd}, None, {})
