"""An OpenAI chat request as a value, and its mapping to ours; it knows neither HTTP nor the bus.

The models below are also the published schema (`/openapi.json`). Fields that they don't name are ignored, as clients send many;
but not those that mean something elsewhere and would be obeyed there, see `IN_CHAT`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from common import codec
from common.errors import BadRequest, UnsupportedByModel
from common.messages import AUTO, ChatRequest, Priority, split_target
from common.subjects import is_token
from common.trials import MOST_WEIGHT
from dispatcher.bridge.callers import MOST_USER
from dispatcher.bridge.openai import turns
from dispatcher.bridge.reading import ELSEWHERE, Body, in_brackets, read_as

MOST_STRATEGY = 64
MOST_COST_USD = 1e6


class StreamOptions(Body):
    include_usage: bool | None = Field(
        None, description="one more chunk before [DONE], with the token counts and no choices"
    )


class FunctionSpec(Body):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolSpec(Body):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    type: Literal["function"]
    function: FunctionSpec


class NamedFunction(Body):
    name: str


class NamedTool(Body):
    type: Literal["function"]
    function: NamedFunction


class JsonSchema(Body):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, populate_by_name=True)

    name: str | None = None
    # pydantic's BaseModel has a method `schema`, hence the other name inside.
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatCompletionRequest(Body):
    """What `POST /v1/chat/completions` takes."""

    # Of a list only the first wrong item is reported: a megabyte of them would take seconds to describe.
    messages: Annotated[list[turns.Turn], Field(min_length=1, max_length=1000, fail_fast=True)]
    model: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        AUTO,
        description="`auto` lets the fleet choose; a model's name (`:latest` may be left out); `model@device` asks for one device",
        examples=["auto", "llama3.2:3b", "auto@nano"],
    )
    stream: bool | None = Field(None, description="answer in server-sent events as the text grows")
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="the newer name of max_tokens; it wins"
    )
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    n: int | None = Field(None, description="only 1: send the request again for another answer")
    logprobs: bool | None = Field(None, description="only false: the devices don't give them")
    tools: Annotated[list[ToolSpec], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = Field(
        None,
        description="`auto`, or `none`, which offers no tools; `required` and a named function are refused, since the devices' "
        "engines can't be forced to call one",
    )
    response_format: ResponseFormat | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = Field(
        None,
        description="while jobs wait for devices: `priority` and `fast` count as interactive, `flex` as batch; "
        "the header X-Drover-Priority wins",
    )
    strategy: Annotated[str, Field(max_length=MOST_STRATEGY)] | None = Field(
        None,
        description="Drover's own: how the device is chosen; the header X-Drover-Strategy means the same, and must not differ",
        examples=["hybrid", "token:500", "energy:eco"],
    )
    max_cost_usd: Annotated[float, Field(ge=0, le=MOST_COST_USD, allow_inf_nan=False)] | None = Field(
        None,
        description="Drover's own: keeps the job from models that may cost more; the header X-Drover-Max-Cost-USD means "
        "the same, and must not differ",
    )
    cache: Literal["off", "refresh", "exact", "semantic"] | None = Field(
        None,
        description="Drover's own: which answers that were given before will do: `off` none, nor is this one kept; `refresh` none; "
        "`exact` one to the very same request; `semantic` one to a question that means the same, where its owner turned that on. "
        "The header X-Drover-Cache means "
        "the same, and must not differ; a header Cache-Control can forbid more, and allows nothing",
    )
    user: str | None = Field(
        None, description="on whose behalf you ask: what one user was answered is given to no other from the cache"
    )
    safety_identifier: str | None = Field(None, description="the newer name of user")
    conversation_id: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="Drover's own: the conversation that this belongs to, or `new`: what was said in it before stands in front of "
        "`messages`, which holds only what is new, and what is said now is kept. The header X-Drover-Conversation means the same, "
        "and must not differ",
    )


class WeightsToTry(Body):
    """Weights of the three terms of the hybrid score; what counts is how they are to each other."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    tokens: Annotated[float, Field(ge=0, le=MOST_WEIGHT, allow_inf_nan=False)]
    topic: Annotated[float, Field(ge=0, le=MOST_WEIGHT, allow_inf_nan=False)]
    health: Annotated[float, Field(ge=0, le=MOST_WEIGHT, allow_inf_nan=False)]


class ExplainRequest(ChatCompletionRequest):
    """What `POST /v1/route/explain` takes: a chat that is not run."""

    weights: WeightsToTry | None = Field(
        None, description="weights to be tried in place of those that hold; only here, where nothing is run"
    )


TIERS: Mapping[str, Priority] = {"priority": Priority.INTERACTIVE, "fast": Priority.INTERACTIVE, "flex": Priority.BATCH}
"""OpenAI's names for how urgent a request is; all others mean an ordinary one."""

IN_EXPLAINED: Mapping[str, str] = {
    **ELSEWHERE,
    "functions": "send tools, their newer name",
    "function_call": "send tool_choice, its newer name",
}
"""And what was taken long ago: who offers functions must not wonder why none is called."""

IN_CHAT: Mapping[str, str] = {**IN_EXPLAINED, "weights": "they are tried at /v1/route/explain, where nothing is run"}

LEAST_TOP_P = 1e-6
"""OpenAI allows top_p 0, "the likeliest token only"; backends want more than nothing, and this much means the same."""


def read(body: bytes) -> ChatCompletionRequest:
    """Read a request's body. Raises `BadRequest` that names every wrong field, or says that the body is no JSON object."""
    return read_as(ChatCompletionRequest, body, example=EXAMPLE, elsewhere=IN_CHAT, spelt=in_brackets)


def read_explained(body: bytes) -> ExplainRequest:
    """Read the body of a chat that is not to be run. Raises as `read`."""
    return read_as(ExplainRequest, body, example=EXAMPLE, elsewhere=IN_EXPLAINED, spelt=in_brackets)


EXAMPLE = '{"model":"auto","messages":[{"role":"user","content":"hi"}]}'


def to_chat(request: ChatCompletionRequest, *, job: str, priority: Priority | None = None) -> ChatRequest:
    """Map a request to ours; a `priority` wins over the body's tier. Raises `BadRequest` and `UnsupportedByModel`, with the
    field in `param`."""
    _refuse_unsupported(request)
    model, device = split_model(request.model)
    return codec.build(
        ChatRequest,
        {
            "messages": turns.to_messages(request.messages),
            "model": model,
            "device": device,
            "stream": True,
            "hold": not request.stream,  # a whole answer shows nothing before its end, so a failed attempt costs only time
            "job": job,
            "options": _options(request),
            "tools": _tools(request),
            "format": _format(request.response_format),
            "priority": priority or TIERS.get(request.service_tier or "", Priority.NORMAL),
            "strategy": None if request.strategy is None else strategy_name(request.strategy),
            "max_cost_usd": request.max_cost_usd,
            "cache": request.cache,
            "user": named_user(request.safety_identifier, request.user),
        },
    )


def named_user(*names: str | None) -> str | None:
    """Name the one for whom it is asked. Two names that differ are a third one: then neither alone is the same user."""
    named = list(dict.fromkeys(name for name in names if name is not None))
    if not named or (len(named) == 1 and 1 <= len(named[0]) <= MOST_USER):
        return named[0] if named else None
    return f"sha256:{hashlib.sha256(codec.encode({'user': named})).hexdigest()}"


def strategy_name(given: str) -> str | None:
    """Give a strategy as it is known, whatever its case; what stands behind a colon may be the owner's word, and stays. None for
    an empty one."""
    name, colon, variant = given.strip().partition(":")
    return f"{name.lower()}{colon}{variant}" or None


def split_model(name: str) -> tuple[str, str | None]:
    """Split `model@device`. Raises `BadRequest` when what stands behind the `@` can't name a device."""
    model, device = split_target(name)
    if device is not None and not is_token(device):
        raise BadRequest(
            f"model {name!r} asks for the device {device!r}, which is no name: write model@device", param="model"
        )
    return model, device


def _refuse_unsupported(request: ChatCompletionRequest) -> None:
    if request.n not in (None, 1):
        raise BadRequest(f"n={request.n}: one answer per request; send the request {request.n} times", param="n")
    if request.logprobs:
        raise UnsupportedByModel("logprobs: the devices give no probabilities; leave it out", param="logprobs")
    if request.tool_choice not in (None, "auto", "none"):
        choice = request.tool_choice
        asked = f"the function {choice.function.name!r}" if isinstance(choice, NamedTool) else repr(choice)
        raise UnsupportedByModel(unforced(asked), param="tool_choice")


def unforced(asked: str, instead: str = "response_format") -> str:
    """Say why a call can't be forced: an engine without `tool_choice` would take the request, and answer in prose."""
    return (
        f"tool_choice {asked}: the devices' engines can't be forced to call a function; "
        'use "auto" (the model decides) or "none" (no tools), or ask for the form of the answer with ' + instead
    )


def _options(request: ChatCompletionRequest) -> dict[str, Any]:
    return sampling(
        max_tokens=request.max_completion_tokens or request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        stop=request.stop,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
    )


def sampling(*, top_p: float | None = None, stop: str | Sequence[str] | None = None, **given: Any) -> dict[str, Any]:
    """Give the options of a chat; what is absent is left to the device."""
    stops = [stop] if isinstance(stop, str) else stop or []
    options = {
        **given,
        "top_p": None if top_p is None else max(top_p, LEAST_TOP_P),
        "stop": tuple(text for text in stops if text),
    }
    return {key: value for key, value in options.items() if value is not None}


def _tools(request: ChatCompletionRequest) -> tuple[dict[str, Any], ...]:
    """The tools to offer. A backend has no `tool_choice`: `none` offers nothing."""
    if request.tool_choice == "none":
        return ()
    return tuple(tool.model_dump(exclude_none=True) for tool in request.tools or [])


def _format(wanted: ResponseFormat | None) -> Literal["json"] | dict[str, Any] | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return "json"
    if wanted.json_schema is None:
        raise BadRequest(
            'response_format of type "json_schema" needs json_schema.schema', param="response_format.json_schema"
        )
    return wanted.json_schema.schema_
