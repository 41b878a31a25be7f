"""OpenAI's embeddings as a request and a dialect; it knows neither HTTP nor how many jobs the texts take."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from common import codec, energy, frames, vectors
from common.errors import BadRequest, UnsupportedByModel
from common.messages import ChatRequest, Priority
from common.vectors import MOST_DIMENSIONS
from dispatcher.bridge.openai import reply
from dispatcher.bridge.openai.request import named_user, split_model
from dispatcher.bridge.reading import Body, in_brackets, read_as
from dispatcher.bridge.speech import BY_HEADER, WholeOnly
from dispatcher.bridge.surfaces import OPENAI

Json = dict[str, Any]

EXAMPLE = '{"model":"nomic-embed-text","input":["hi","hello"]}'

MOST_TEXTS = 2048
"""As many as OpenAI takes."""


class EmbeddingRequest(Body):
    """What `POST /v1/embeddings` takes."""

    input: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=MOST_TEXTS, fail_fast=True)]
        | list[int]
        | list[list[int]]
    ) = Field(description="a text or some; lists of token numbers are refused: each model has its own")
    model: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="a model that embeds; `auto` is refused, since embeddings of different models can't be compared"
    )
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="`base64` is little-endian float32, and what OpenAI's packages ask for by themselves"
    )
    dimensions: Annotated[int, Field(ge=1, le=MOST_DIMENSIONS)] | None = Field(
        None, description="fewer than the model has, where it can do with fewer"
    )
    user: str | None = None


def read(body: bytes) -> EmbeddingRequest:
    """Read a request's body. Raises `BadRequest`."""
    return read_as(EmbeddingRequest, body, example=EXAMPLE, spelt=in_brackets)


def texts_of(asked: EmbeddingRequest) -> list[str]:
    """Give the texts. Raises `BadRequest` and `UnsupportedByModel`."""
    given = [asked.input] if isinstance(asked.input, str) else asked.input
    texts = [one for one in given if isinstance(one, str)]
    if len(texts) < len(given):
        raise UnsupportedByModel("input has token numbers, and each model has its own: send text", param="input")
    for index, text in enumerate(texts):
        if not text:
            where = "input" if isinstance(asked.input, str) else f"input[{index}]"
            raise BadRequest(f"{where} is empty: leave it out, or say something", param=where)
    if not texts:
        raise BadRequest("input is empty: send a text, or some", param="input")
    return texts


def to_job(asked: EmbeddingRequest, *, job: str, priority: Priority | None = None) -> ChatRequest:
    """Map a request to a job, with the first of its texts. Raises `BadRequest` and `UnsupportedByModel`."""
    model, device = split_model(asked.model)
    return codec.build(
        ChatRequest,
        {
            "inputs": texts_of(asked)[:1],
            "model": model,
            "device": device,
            "dimensions": asked.dimensions,
            "job": job,
            "priority": priority or Priority.NORMAL,
            "user": named_user(asked.user),
        },
    )


class EmbeddingDialect(WholeOnly):
    """Writes embeddings, `packed` as base64 or as numbers."""

    surface = OPENAI
    called: Mapping[str, str] = MappingProxyType({**BY_HEADER, "inputs": "input"})

    def __init__(self, *, job: str, packed: bool) -> None:
        self._job = job
        self._packed = packed

    def whole(self, model: str, text: str, end: frames.End) -> Json:  # noqa: ARG002
        found = [
            {"object": "embedding", "index": index, "embedding": one if self._packed else vectors.shown(one)}
            for index, one in enumerate(end.embeddings)
        ]
        usage: Json = {"prompt_tokens": end.usage.prompt_tokens, "total_tokens": end.usage.total_tokens}
        if end.energy is not None:
            usage["energy"] = energy.to_wire(end.energy)
        return {
            "object": "list",
            "data": found,
            "model": model,
            "usage": usage,
            "x_drover": reply.receipt(self._job, end),
        }
