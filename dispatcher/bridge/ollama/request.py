"""Ollama's requests as values, and their mapping to ours; it knows neither HTTP nor the bus.

The models below are also the published schema (`/openapi.json`). Fields that they don't name are ignored, as clients send many;
but not those that mean something on NATS and would be obeyed there, see `ELSEWHERE`.

`keep_alive` is read for one thing only: whether a request without a prompt asks to unload. How long a model stays in memory is the
fleet's business: Zed asks for ever, which on a board with 8 GB would keep every other model out until somebody restarts it.
`think` is taken and changes nothing: what a model thinks is not sent over the bus, so no model is listed as one that can.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field

from common import codec
from common.errors import BadRequest, UnsupportedByModel
from common.messages import ChatRequest, Priority
from dispatcher.bridge import reading
from dispatcher.bridge.ollama import turns
from dispatcher.bridge.ollama.context import MOST_NUMBER, MOST_NUMBERS, recall
from dispatcher.bridge.ollama.options import OllamaOptions, to_options
from dispatcher.bridge.openai.request import FunctionSpec, split_model
from dispatcher.bridge.reading import Body, read_as

CHAT_EXAMPLE = '{"model":"auto","messages":[{"role":"user","content":"hi"}]}'
GENERATE_EXAMPLE = '{"model":"auto","prompt":"hi"}'
SHOW_EXAMPLE = '{"model":"auto"}'


class OllamaTool(Body):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    type: Literal["function"] = "function"
    function: FunctionSpec


ModelName = Annotated[str, Field(max_length=200)]


class OllamaRun(Body):
    """What both ways to ask have in common."""

    model: ModelName | None = Field(
        None,
        description="`auto`, `auto:fast`, `auto:eco` and `auto:local` leave the choice to the fleet; a model's name (`:latest` may "
        "be left out); `model@device` asks for one device",
        examples=["auto", "llama3.2:3b", "auto@nano"],
    )
    stream: bool | None = Field(None, description="only false gives one object; otherwise lines come as the text grows")
    format: Literal["", "json"] | dict[str, Any] | None = Field(None, description="`json`, or a JSON schema")
    options: OllamaOptions | None = None
    keep_alive: float | str | None = Field(
        None, description="ignored: the fleet manages its memory itself; 0 without a prompt is answered as an unloading"
    )
    think: bool | str | None = Field(None, description="ignored: answers come without what the model thought")
    logprobs: bool | None = Field(None, description="only false: the devices don't give them")

    @property
    def streams(self) -> bool:
        return self.stream is not False

    @property
    def unloads(self) -> bool:
        """Tell whether it is not to stay in memory at all."""
        return self.keep_alive is not None and bool(_ZERO.fullmatch(str(self.keep_alive).strip()))


_ZERO = re.compile(r"[+-]?(?:(?:0+\.?0*|\.0+)(?:ns|us|µs|μs|ms|s|m|h)?)+")


class OllamaChat(OllamaRun):
    """What `POST /api/chat` takes. Without messages it only asks for the model to be loaded."""

    # Of a list only the first wrong item is reported: a megabyte of them would take seconds to describe.
    messages: Annotated[list[turns.OllamaMessage], Field(max_length=1000, fail_fast=True)] | None = None
    tools: Annotated[list[OllamaTool], Field(max_length=128)] | None = None


Numbers = Annotated[list[Annotated[int, Field(ge=0, le=MOST_NUMBER)]], Field(max_length=MOST_NUMBERS, fail_fast=True)]


class OllamaGenerate(OllamaRun):
    """What `POST /api/generate` takes. Without a prompt it only asks for the model to be loaded."""

    prompt: str | None = None
    system: str | None = None
    images: turns.Images | None = None
    context: Numbers | None = Field(
        None, description="that of the last answer, as it came: the conversation goes on behind it"
    )
    raw: bool | None = Field(None, description="only false: each device writes its model's own template")
    suffix: str | None = Field(None, description="only empty: the fleet does not fill in the middle")
    template: str | None = Field(None, description="only empty, as with raw")


class OllamaShow(Body):
    """What `POST /api/show` takes."""

    model: ModelName | None = None
    name: ModelName | None = Field(None, description="an older name of model")


ELSEWHERE: Mapping[str, str] = {
    **reading.ELSEWHERE,
    "priority": "send the header X-Drover-Priority",
    "strategy": "send the header X-Drover-Strategy",
    "max_cost_usd": "send the header X-Drover-Max-Cost-USD",
    "cache": "send the header X-Drover-Cache",
}

M = TypeVar("M", bound=Body)


def read(kind: type[M], body: bytes, example: str) -> M:
    """Read a request's body. Raises `BadRequest` that names every wrong field, or says that the body is no JSON object."""
    return read_as(kind, body, example=example, elsewhere=ELSEWHERE)


def named(model: str | None) -> str:
    """Give the name. Raises `BadRequest` where there is none."""
    if not model:
        raise BadRequest('model is required: send "auto", or a name that GET /api/tags lists', param="model")
    return model


def chat_messages(asked: OllamaChat) -> tuple[dict[str, Any], ...]:
    """Give the messages of a chat; none for a request that only loads. Raises `BadRequest`."""
    return turns.to_messages(asked.messages) if asked.messages else ()


def generate_messages(asked: OllamaGenerate) -> tuple[dict[str, Any], ...]:
    """Give the conversation that a prompt goes on with; none for a request that only loads. Raises `BadRequest` and
    `UnsupportedByModel`."""
    _refuse_raw(asked)
    if not asked.prompt:
        return ()
    before = recalled(asked)
    if asked.system:
        before = [{"role": "system", "content": asked.system}, *(one for one in before if one["role"] != "system")]
    return (*before, turns.spoken("user", asked.prompt, asked.images or (), "images"))


def recalled(asked: OllamaGenerate) -> list[dict[str, Any]]:
    """Give the turns of a request's context. Raises `BadRequest`."""
    return recall(asked.context) if asked.context else []


def to_chat(
    asked: OllamaRun,
    messages: Sequence[Mapping[str, Any]],
    *,
    job: str,
    priority: Priority | None = None,
    most_context: int | None = None,
) -> ChatRequest:
    """Map a request to ours; `most_context` is as for `to_options`. Raises `BadRequest` and `UnsupportedByModel`, with the field in
    `param`."""
    if asked.logprobs:
        raise UnsupportedByModel("logprobs: the devices give no probabilities; leave it out", param="logprobs")
    model, device = split_model(named(asked.model))
    tools = asked.tools or [] if isinstance(asked, OllamaChat) else []
    return codec.build(
        ChatRequest,
        {
            "messages": tuple(messages),
            "model": model,
            "device": device,
            "stream": True,
            "hold": not asked.streams,  # a whole answer shows nothing before its end, so a failed attempt costs only time
            "job": job,
            "options": to_options(asked.options, most_context),
            "tools": tuple(tool.model_dump(exclude_none=True) for tool in tools),
            "format": asked.format or None,
            "priority": priority or Priority.NORMAL,
        },
    )


def _refuse_raw(asked: OllamaGenerate) -> None:
    """Refuse what asks for the very text that a model reads: an answer to another text would look right, and be wrong."""
    why = "each device writes the template of the model that it runs"
    if asked.raw:
        raise UnsupportedByModel(f"raw: {why}; leave it out, and send `system` and `prompt`", param="raw")
    if asked.template:
        raise UnsupportedByModel(f"template: {why}; leave it out, or put what it says into `system`", param="template")
    if asked.suffix:
        raise UnsupportedByModel(
            "suffix: the fleet does not fill in the middle; ask a device's own Ollama for that", param="suffix"
        )
