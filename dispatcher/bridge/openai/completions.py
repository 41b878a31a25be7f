"""OpenAI's older completions, a text that goes on, as a request and a dialect; a chat in which one user says one thing.

The devices answer the prompt as a conversation's first message, with their model's own template around it: a bare continuation
is nothing that a fleet of chat models has.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from common import codec, frames
from common.energy import Energy
from common.errors import BadRequest, FleetError, UnsupportedByModel
from common.messages import AUTO, ChatRequest, Priority
from dispatcher.bridge.openai import reply
from dispatcher.bridge.openai.request import StreamOptions, named_user, sampling, split_model
from dispatcher.bridge.reading import Body, in_brackets, read_as
from dispatcher.bridge.speech import BY_HEADER
from dispatcher.bridge.sse import DONE, EVENTS, event
from dispatcher.bridge.surfaces import OPENAI

Json = dict[str, Any]

EXAMPLE = '{"model":"auto","prompt":"Say hi"}'


class CompletionRequest(Body):
    """What `POST /v1/completions` takes."""

    prompt: str | Annotated[list[str], Field(max_length=2048, fail_fast=True)] | list[int] | list[list[int]] = Field(
        description="a text, or a list of one; lists of token numbers are refused: each model has its own"
    )
    model: Annotated[str, Field(min_length=1, max_length=200)] = AUTO
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    echo: bool | None = Field(None, description="give the prompt before its answer")
    suffix: str | None = Field(None, description="only empty: the devices don't fill in the middle")
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="as long as the model likes, if it is left out; OpenAI's own default is 16"
    )
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    n: int | None = Field(None, description="only 1")
    best_of: int | None = Field(None, description="only 1")
    logprobs: int | None = Field(None, description="not taken: the devices don't give them")
    user: str | None = None


def read(body: bytes) -> CompletionRequest:
    """Read a request's body. Raises `BadRequest`."""
    return read_as(CompletionRequest, body, example=EXAMPLE, spelt=in_brackets)


def prompt_of(asked: CompletionRequest) -> str:
    """Give the one prompt. Raises `BadRequest` and `UnsupportedByModel`."""
    given = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
    texts = [one for one in given if isinstance(one, str)]
    if len(texts) < len(given):
        raise UnsupportedByModel("prompt has token numbers, and each model has its own: send text", param="prompt")
    if len(texts) != 1:
        raise BadRequest(f"prompt has {len(texts)} texts: send one request for each", param="prompt")
    if not texts[0].strip():
        raise BadRequest("prompt is empty: write what is to be answered", param="prompt")
    return texts[0]


def to_chat(asked: CompletionRequest, *, job: str, priority: Priority | None = None) -> ChatRequest:
    """Map a request to a chat. Raises `BadRequest` and `UnsupportedByModel`, with the field in `param`."""
    _refuse_unsupported(asked)
    model, device = split_model(asked.model)
    return codec.build(
        ChatRequest,
        {
            "messages": ({"role": "user", "content": prompt_of(asked)},),
            "model": model,
            "device": device,
            "stream": True,
            "hold": not asked.stream,
            "job": job,
            "options": sampling(
                max_tokens=asked.max_tokens,
                temperature=asked.temperature,
                top_p=asked.top_p,
                seed=asked.seed,
                stop=asked.stop,
                frequency_penalty=asked.frequency_penalty,
                presence_penalty=asked.presence_penalty,
            ),
            "priority": priority or Priority.NORMAL,
            "user": named_user(asked.user),
        },
    )


def _refuse_unsupported(asked: CompletionRequest) -> None:
    for field, count in (("n", asked.n), ("best_of", asked.best_of)):
        if count not in (None, 1):
            raise BadRequest(f"{field}={count}: one answer per request; send the request {count} times", param=field)
    if asked.logprobs is not None:
        raise UnsupportedByModel("logprobs: the devices give no probabilities; leave it out", param="logprobs")
    if asked.suffix:
        raise UnsupportedByModel(
            "suffix: the devices answer, and don't fill in the middle; leave it out", param="suffix"
        )


class CompletionDialect:
    """Writes one completion. `created` is in seconds since 1970; `echo` is the prompt, where it is to be given back."""

    surface = OPENAI
    called: Mapping[str, str] = MappingProxyType({**BY_HEADER, "messages": "prompt"})
    media_type = EVENTS

    def __init__(self, *, job: str, created: int, include_usage: bool = False, echo: str = "") -> None:
        self._job = job
        self._created = created
        self._include_usage = include_usage
        self._echo = echo

    def begin(self, model: str) -> bytes:
        return self._event(model, self._echo) if self._echo else b""

    def text(self, model: str, text: str) -> bytes:
        return self._event(model, text)

    def still(self, model: str, standing: Json) -> bytes:
        return self._event(model, "", x_drover=standing)

    def end(self, model: str, end: frames.End) -> bytes:
        finish = self._event(model, "", str(end.finish), x_drover=reply.receipt(self._job, end))
        if not self._include_usage:
            return finish + DONE
        counts = {**self._body(model, []), "usage": reply.usage_of(end)}
        return finish + event(codec.encode(counts)) + DONE

    def broken(self, error: FleetError, taken: Energy | None) -> bytes:
        return event(codec.encode(self.surface.error(error, self._job, taken))) + DONE

    def whole(self, model: str, text: str, end: frames.End) -> Json:
        return {
            **self._body(model, [_choice(self._echo + text, str(end.finish))]),
            "usage": reply.usage_of(end),
            "x_drover": reply.receipt(self._job, end),
        }

    def _event(self, model: str, text: str, finish: str | None = None, **more: Json) -> bytes:
        chunk = {**self._body(model, [_choice(text, finish)]), **more}
        if self._include_usage:
            chunk["usage"] = None
        return event(codec.encode(chunk))

    def _body(self, model: str, choices: list[Json]) -> Json:
        return {
            "id": f"cmpl-{self._job}",
            "object": "text_completion",
            "created": self._created,
            "model": model,
            "choices": choices,
        }


def _choice(text: str, finish: str | None) -> Json:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
