"""Ollama's two ways to ask for embeddings, and their mapping to a job; it knows neither HTTP nor how many jobs the texts take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from common import codec
from common.errors import BadRequest
from common.messages import ChatRequest, Priority
from common.vectors import MOST_DIMENSIONS
from dispatcher.bridge.ollama.request import ModelName, named
from dispatcher.bridge.openai.embeddings import MOST_TEXTS
from dispatcher.bridge.openai.request import split_model
from dispatcher.bridge.reading import Body

EXAMPLE = '{"model":"nomic-embed-text","input":["hi","hello"]}'
LEGACY_EXAMPLE = '{"model":"nomic-embed-text","prompt":"hi"}'


class Embeds(Body):
    """What both have in common; `options` and `keep_alive` are ignored."""

    model: ModelName | None = Field(
        None,
        description="a model that embeds; `auto` is refused, since embeddings of different models can't be compared",
    )


class OllamaEmbed(Embeds):
    """What `POST /api/embed` takes."""

    input: str | Annotated[list[str], Field(max_length=MOST_TEXTS, fail_fast=True)] | None = None
    truncate: bool | None = Field(None, description="only false refuses a text that is longer than the model's context")
    dimensions: Annotated[int, Field(ge=0, le=MOST_DIMENSIONS)] | None = Field(
        None, description="fewer than the model has, where it can do with fewer; 0 is all"
    )


class OllamaEmbeddings(Embeds):
    """What `POST /api/embeddings` takes."""

    prompt: str | None = None


def texts_of(asked: OllamaEmbed) -> list[str]:
    """Give the texts; none for a request that only loads. Raises `BadRequest`."""
    texts = [asked.input] if isinstance(asked.input, str) else asked.input or []
    if texts == [""]:
        return []
    for index, text in enumerate(texts):
        if not text:
            raise BadRequest(f"input.{index} is empty: leave it out, or say something", param=f"input.{index}")
    return texts


def to_job(asked: Embeds, texts: Sequence[str], *, job: str, priority: Priority | None = None) -> ChatRequest:
    """Map a request to a job, with the first of its texts. Raises `BadRequest`."""
    model, device = split_model(named(asked.model))
    wanted = asked if isinstance(asked, OllamaEmbed) else OllamaEmbed()
    return codec.build(
        ChatRequest,
        {
            "inputs": texts[:1],
            "model": model,
            "device": device,
            "dimensions": wanted.dimensions or None,
            "job": job,
            "priority": priority or Priority.NORMAL,
            **({} if wanted.truncate is None else {"truncate": wanted.truncate}),
        },
    )
