"""An Anthropic request as a value, and its mapping to a chat; it knows neither HTTP nor the bus."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from common import codec
from common.errors import BadRequest, UnsupportedByModel
from common.messages import ChatRequest, Priority, conversation
from common.prompts import prompt_tokens
from dispatcher.bridge.anthropic.turns import Blocks, MessageTurn, to_messages
from dispatcher.bridge.openai.request import named_user, sampling, split_model
from dispatcher.bridge.reading import Body, read_as

Json = dict[str, Any]

EXAMPLE = '{"model":"auto","max_tokens":256,"messages":[{"role":"user","content":"hi"}]}'


class Tool(Body):
    """A tool that the model may use; the bridge has none of its own."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class ToolChoice(Body):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class Metadata(Body):
    user_id: str | None = None


class OutputFormat(Body):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, populate_by_name=True)

    type: Literal["json_schema"]
    # pydantic's BaseModel has a method `schema`, hence the other name inside.
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(Body):
    format: OutputFormat | None = None


class CountTokensRequest(Body):
    """What `POST /v1/messages/count_tokens` takes."""

    model: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="`auto` lets the fleet choose; a model's name; `model@device` asks for one device",
        examples=["auto", "llama3.2:3b"],
    )
    messages: Annotated[list[MessageTurn], Field(min_length=1, max_length=1000, fail_fast=True)]
    system: Blocks | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = Field(
        None, description="`auto` or `none`; `any` and `tool` are refused, since the devices' engines can't be forced"
    )


class MessagesRequest(CountTokensRequest):
    """What `POST /v1/messages` takes."""

    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)]
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stop_sequences: Annotated[list[str], Field(max_length=16)] | None = None
    metadata: Metadata | None = None
    output_config: OutputConfig | None = None


def read(body: bytes) -> MessagesRequest:
    """Read a request's body. Raises `BadRequest`."""
    return read_as(MessagesRequest, body, example=EXAMPLE)


def read_count(body: bytes) -> CountTokensRequest:
    """Read what is to be counted. Raises `BadRequest`."""
    return read_as(CountTokensRequest, body, example=EXAMPLE)


def to_chat(asked: MessagesRequest, *, job: str, priority: Priority | None = None) -> ChatRequest:
    """Map a request to a chat. Raises `BadRequest` and `UnsupportedByModel`, with the field in `param`."""
    config = asked.output_config
    return codec.build(
        ChatRequest,
        {
            **_shared(asked),
            "stream": True,
            "hold": not asked.stream,
            "job": job,
            "options": sampling(
                max_tokens=asked.max_tokens,
                temperature=asked.temperature,
                top_p=asked.top_p,
                stop=asked.stop_sequences,
            ),
            "format": None if config is None or config.format is None else config.format.schema_,
            "priority": priority or Priority.NORMAL,
            "user": named_user(asked.metadata.user_id if asked.metadata is not None else None),
        },
    )


def estimated_tokens(asked: CountTokensRequest) -> int:
    """Estimate the tokens of a request, on the safe side. Raises `BadRequest` and `UnsupportedByModel`."""
    return chat_tokens(codec.build(ChatRequest, _shared(asked)))


def chat_tokens(chat: ChatRequest) -> int:
    """Estimate the tokens of a chat, on the safe side."""
    return prompt_tokens(conversation(chat), chat.tools)


def _shared(asked: CountTokensRequest) -> Json:
    model, device = split_model(asked.model)
    return {
        "messages": to_messages(asked.messages, asked.system),
        "model": model,
        "device": device,
        "tools": _tools(asked),
    }


def _tools(asked: CountTokensRequest) -> tuple[Json, ...]:
    """The tools to offer, in the form that the devices know. A backend has no choice of tools: `none` offers nothing."""
    choice = asked.tool_choice
    if choice is not None and choice.type in ("any", "tool"):
        wanted = choice.type if choice.name is None else f"{choice.type} {choice.name}"
        raise UnsupportedByModel(
            f"tool_choice {wanted!r}: the devices' engines can't be forced to use a "
            'tool; send {"type":"auto"} or {"type":"none"}, or ask for the form of the answer with output_config.format',
            param="tool_choice",
        )
    if choice is not None and choice.type == "none":
        return ()
    return tuple(_tool(tool, f"tools.{index}") for index, tool in enumerate(asked.tools or []))


def _tool(tool: Tool, where: str) -> Json:
    if tool.type not in (None, "custom"):
        what = "the bridge has no tools of its own: offer yours with an input_schema, and run them yourself"
        raise UnsupportedByModel(f"{where}.type is {tool.type[:40]!r}: {what}", param=f"{where}.type")
    if tool.input_schema is None:
        raise BadRequest(f"{where}.input_schema is missing", param=f"{where}.input_schema")
    function: Json = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}
