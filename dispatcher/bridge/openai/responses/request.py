"""A request for a response as a value, and its mapping to a chat; it knows neither HTTP nor the bus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from common import codec
from common.errors import BadRequest, UnsupportedByModel
from common.messages import AUTO, ChatRequest, Priority
from dispatcher.bridge.openai.request import TIERS, named_user, sampling, split_model, unforced
from dispatcher.bridge.openai.responses.items import InputItem, to_messages
from dispatcher.bridge.reading import Body, in_brackets, read_as

Json = dict[str, Any]

EXAMPLE = '{"model":"auto","input":"hi"}'


class NamedChoice(Body):
    type: str
    name: str | None = None


class FlatTool(Body):
    """A function that the model may call, with its fields beside its type."""

    type: str
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class TextFormat(Body):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, populate_by_name=True)

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    # pydantic's BaseModel has a method `schema`, hence the other name inside.
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class TextConfig(Body):
    format: TextFormat | None = None


class ResponsesRequest(Body):
    """What `POST /v1/responses` takes."""

    input: str | Annotated[list[InputItem], Field(min_length=1, max_length=1000, fail_fast=True)] = Field(
        description="a text, or items of type message, function_call and function_call_output: the whole conversation"
    )
    model: Annotated[str, Field(min_length=1, max_length=200)] = AUTO
    instructions: str | None = Field(None, description="what a system message says")
    stream: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    tools: Annotated[list[FlatTool], Field(max_length=128)] | None = None
    tool_choice: str | NamedChoice | None = Field(
        None, description="`auto` or `none`; the devices can't be forced to call"
    )
    text: TextConfig | None = None
    service_tier: str | None = Field(None, description="`priority` counts as interactive, `flex` as batch")
    metadata: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    store: bool | None = Field(None, description="ignored: nothing is kept, and the answer says so")
    previous_response_id: str | None = Field(None, description="refused: nothing is kept")
    conversation: Any = Field(None, description="refused: nothing is kept")
    prompt: Any = Field(None, description="refused: there are no templates")
    background: bool | None = Field(None, description="refused: /api/v1/jobs runs what nobody waits for")
    truncation: Literal["auto", "disabled"] | None = Field(None, description="only disabled")
    user: str | None = None
    safety_identifier: str | None = None


STATELESS: Mapping[str, str] = {
    "previous_response_id": "nothing is kept of earlier responses: send the whole conversation as input",
    "conversation": "nothing is kept of conversations here: send the whole one as input",
    "prompt": "there are no templates here: send the text as instructions and input",
}


def read(body: bytes) -> ResponsesRequest:
    """Read a request's body. Raises `BadRequest`."""
    return read_as(ResponsesRequest, body, example=EXAMPLE, spelt=in_brackets)


def to_chat(asked: ResponsesRequest, *, job: str, priority: Priority | None = None) -> ChatRequest:
    """Map a request to a chat. Raises `BadRequest` and `UnsupportedByModel`, with the field in `param`."""
    _refuse_unsupported(asked)
    model, device = split_model(asked.model)
    return codec.build(
        ChatRequest,
        {
            "messages": to_messages(asked.input, asked.instructions),
            "model": model,
            "device": device,
            "stream": True,
            "hold": not asked.stream,
            "job": job,
            "options": sampling(
                max_tokens=asked.max_output_tokens,
                temperature=asked.temperature,
                top_p=asked.top_p,
                frequency_penalty=asked.frequency_penalty,
                presence_penalty=asked.presence_penalty,
            ),
            "tools": _tools(asked),
            "format": _format(asked.text),
            "priority": priority or TIERS.get(asked.service_tier or "", Priority.NORMAL),
            "user": named_user(asked.safety_identifier, asked.user),
        },
    )


def _refuse_unsupported(asked: ResponsesRequest) -> None:
    for field, why in STATELESS.items():
        if getattr(asked, field) is not None:
            raise UnsupportedByModel(f"{field}: {why}", param=field)
    if asked.background:
        raise UnsupportedByModel("background: POST /api/v1/jobs takes what nobody waits for", param="background")
    if asked.truncation == "auto":
        what = "truncation auto: no conversation is cut behind your back; shorten it, or leave the field out"
        raise UnsupportedByModel(what, param="truncation")
    if asked.tool_choice not in (None, "auto", "none"):
        choice = asked.tool_choice
        named = f"{choice.type} {choice.name or ''}".strip() if isinstance(choice, NamedChoice) else choice
        raise UnsupportedByModel(unforced(repr(named), "text.format"), param="tool_choice")


def _tools(asked: ResponsesRequest) -> tuple[Json, ...]:
    """The tools to offer, in the form that the devices know."""
    if asked.tool_choice == "none":
        return ()
    return tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(asked.tools or []))


def _tool(tool: FlatTool, where: str) -> Json:
    if tool.type != "function":
        what = "the bridge has no tools of its own: offer functions, and run them yourself"
        raise UnsupportedByModel(f"{where}.type is {tool.type[:40]!r}: {what}", param=f"{where}.type")
    if tool.name is None:
        raise BadRequest(f"{where}.name is missing", param=f"{where}.name")
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": {key: value for key, value in function.items() if value is not None}}


def _format(text: TextConfig | None) -> Literal["json"] | Json | None:
    wanted = text.format if text is not None else None
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return "json"
    if wanted.schema_ is None:
        raise BadRequest('text.format of type "json_schema" needs a schema', param="text.format.schema")
    return wanted.schema_
