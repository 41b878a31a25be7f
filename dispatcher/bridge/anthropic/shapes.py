"""What Anthropic's answers look like; the dialect and the routes write them."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # pydantic wants this one of Pythons before 3.12

from dispatcher.bridge.openai.shapes import Receipt, ToldEnergy


class TextBlock(TypedDict):
    type: Literal["text"]
    text: str


class ToolUseBlock(TypedDict):
    """A tool that the model wants used."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class MessageUsage(TypedDict):
    input_tokens: int
    output_tokens: int
    energy: NotRequired[ToldEnergy]


class MessageTold(TypedDict):
    """A whole answer."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[TextBlock | ToolUseBlock]
    stop_reason: Literal["end_turn", "max_tokens", "tool_use"]
    stop_sequence: None
    usage: MessageUsage
    x_drover: Receipt


class EstimateNote(TypedDict):
    estimated: Literal[True]
    note: str


class TokenEstimate(TypedDict):
    input_tokens: int
    x_drover: EstimateNote
