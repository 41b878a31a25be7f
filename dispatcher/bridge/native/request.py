"""A chat as it travels on NATS, read from a body: the models are the published schema; what is right, `ChatRequest` says itself."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from common import codec
from common.errors import BadRequest
from common.labels import seen
from common.messages import AUTO, ChatRequest
from dispatcher.bridge.files.desk import Attached
from dispatcher.bridge.openai.request import MOST_COST_USD, MOST_STRATEGY, split_model, strategy_name
from dispatcher.bridge.reading import Body

EXAMPLE = '{"prompt":"Why is the sky blue?"}'

MOST_FILES = 4
"""Each is looked at in a process of its own, one after the other, while whoever asked waits."""

IN_NATIVE: Mapping[str, str] = {
    "provider_key": "send the header X-Drover-Provider-Key",
    "allow_models": "a key says what it is for (`drover keys change`)",
    "allow_devices": "a key says what it is for (`drover keys change`)",
    "keep_s": "send the header Idempotency-Key",
    "resends": "send the header Idempotency-Key",
    "resume": "send the header Idempotency-Key, and the same request again",
    "inputs": "texts are embedded at /v1/embeddings",
    "hold": "leave stream out",
}
"""What a request on NATS may hold, and has no place in a body over HTTP."""


class _Closed(Body):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class NativeCall(_Closed):
    """A function that the model wanted called."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    arguments: dict[str, Any] = Field(default_factory=dict)
    id: str | None = None


class NativeMessage(_Closed):
    """One turn. `images` are base64 without a data-URI head."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    images: Annotated[list[str], Field(max_length=16)] = Field(default_factory=list)
    tool_calls: Annotated[list[NativeCall], Field(max_length=64)] = Field(default_factory=list)
    tool_name: str | None = None
    tool_call_id: str | None = None


class NativeOptions(_Closed):
    """How the text is sampled; what is absent is left to the device."""

    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[list[str], Field(max_length=16)] = Field(default_factory=list)
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    context_tokens: Annotated[int, Field(ge=128, le=10_000_000)] | None = None


class NativeJobRequest(_Closed):
    """What `POST /api/v1/jobs` takes: a chat as on NATS."""

    prompt: str | None = Field(None, description="short for one message of a user; else `messages`")
    messages: Annotated[list[NativeMessage], Field(max_length=1000, fail_fast=True)] = Field(default_factory=list)
    model: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        AUTO,
        description="`auto` lets the fleet choose; `model@device` asks for one device",
        examples=["auto", "auto:eco"],
    )
    device: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="the only device that may answer"
    )
    job: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")] | None = Field(
        None, description="the job's id: the same id again is the same job, and runs once; a header wins"
    )
    options: NativeOptions = NativeOptions()
    tools: Annotated[list[dict[str, Any]], Field(max_length=128)] = Field(default_factory=list)
    format: Literal["json"] | dict[str, Any] | None = Field(None, description="`json`, or a schema of JSON")
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] | None = Field(None, description="seconds in all")
    deadline_ms: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        None, description="until when, in milliseconds since 1970"
    )
    priority: Literal["interactive", "normal", "batch"] | None = Field(
        None, description="while jobs wait for devices; a header wins"
    )
    strategy: Annotated[str, Field(max_length=MOST_STRATEGY)] | None = Field(
        None, description="how the device is chosen", examples=["hybrid", "energy:eco"]
    )
    max_cost_usd: Annotated[float, Field(ge=0, le=MOST_COST_USD, allow_inf_nan=False)] | None = Field(
        None, description="keeps it from models that may cost more"
    )
    cache: Literal["off", "refresh", "exact", "semantic"] | None = Field(
        None, description="which answers that were given before will do"
    )
    local: bool = Field(default=False, description="keeps it from models that run elsewhere")
    user: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="on whose behalf you ask"
    )


class NativeFile(_Closed):
    """A file that comes with the question: a PDF, or an image. What it is called is shown to the model."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    data: Annotated[str, Field(min_length=1, description="base64 without a data-URI head")]


class NativeChatRequest(NativeJobRequest):
    """What `POST /api/v1/chat` takes: a chat as on NATS, and the conversation that it belongs to."""

    stream: bool = Field(default=False, description="answer with the frames of NATS as server-sent events")
    conversation_id: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="the conversation that this belongs to, or `new`: what was said in it before stands in front, and what is said "
        "now is kept",
    )
    files: Annotated[list[NativeFile], Field(max_length=MOST_FILES)] = Field(
        default_factory=list,
        description="PDFs and images that stand before the last message; a PDF's text is kept with it",
    )
    files_of: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="a turn of the conversation whose PDFs belong to this question too, which asks it another way",
    )


def to_chat(asked: NativeJobRequest, *, job: str, stream: bool) -> ChatRequest:
    """Give the request as it travels. Raises `BadRequest`."""
    wire = asked.model_dump(
        exclude_unset=True, exclude={"conversation_id", "stream", "job", "files", "files_of"}, exclude_none=True
    )
    model, pinned = split_model(asked.model)
    if pinned is not None:
        wire |= {"model": model, "device": asked.device or pinned}
    if asked.strategy is not None:
        wire["strategy"] = strategy_name(asked.strategy)
    return codec.build(ChatRequest, {**wire, "job": job, "stream": True, "hold": not stream})


def attached(asked: NativeChatRequest) -> tuple[Attached, ...]:
    """Give the files that came with a chat. Raises `BadRequest` for what is no base64."""
    return tuple(_file(one, f"files.{number}.data") for number, one in enumerate(asked.files))


def _file(file: NativeFile, where: str) -> Attached:
    try:
        return Attached(name=seen(file.name) or "file", data=base64.b64decode(file.data, validate=True))
    except (binascii.Error, ValueError):
        raise BadRequest(
            f"{where} of {file.name[:80]!r} is no base64: send its bytes so, without a head", param=where
        ) from None
