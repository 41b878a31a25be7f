"""What a response looks like, as OpenAI has it; `reply` writes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants this one of Pythons before 3.12

from dispatcher.bridge.openai.responses.request import FlatTool, TextFormat
from dispatcher.bridge.openai.shapes import Receipt, ToldEnergy


class OutputText(TypedDict):
    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[Any]


class OutputMessage(TypedDict):
    """What the model says."""

    type: Literal["message"]
    id: str
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"]
    content: list[OutputText]


class OutputCall(TypedDict):
    """A function that the model wants called."""

    type: Literal["function_call"]
    id: str
    call_id: str
    status: Literal["completed"]
    name: str
    arguments: Annotated[str, Field(description="JSON")]


class IncompleteDetails(TypedDict):
    reason: Literal["max_output_tokens"]


class TextConfigTold(TypedDict):
    format: TextFormat


class InputTokens(TypedDict):
    cached_tokens: int
    cache_write_tokens: int


class OutputTokens(TypedDict):
    reasoning_tokens: int


class ResponseUsage(TypedDict):
    """Tokens, and what the answer took; of caches and of reasoning the devices tell nothing."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    output_tokens_details: OutputTokens
    total_tokens: int
    device: NotRequired[str]
    cost: NotRequired[float]
    energy: NotRequired[ToldEnergy]


class ResponseTold(TypedDict):
    """A response that is over; most fields say again what was asked for."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["completed", "incomplete"]
    background: Literal[False]
    error: None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: None
    metadata: dict[str, Any]
    model: str
    output: list[OutputMessage | OutputCall]
    parallel_tool_calls: bool
    previous_response_id: None
    prompt_cache_key: None
    reasoning: None
    safety_identifier: str | None
    service_tier: str
    store: Literal[False]
    temperature: float
    frequency_penalty: float
    presence_penalty: float
    text: TextConfigTold
    tool_choice: str
    tools: list[FlatTool]
    top_logprobs: int
    top_p: float
    truncation: Literal["disabled"]
    usage: ResponseUsage
    user: str | None
    x_drover: Receipt
