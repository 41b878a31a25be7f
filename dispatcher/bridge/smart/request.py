"""What the simple router takes, as values; it knows no HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants this one of Pythons before 3.12

from common import codec
from common.errors import BadRequest
from common.messages import AUTO, ChatRequest, require_key
from dispatcher.bridge.openai.request import split_model
from dispatcher.bridge.openai.shapes import Receipt
from dispatcher.bridge.reading import Body

EXAMPLE = '{"prompt":"Why is the sky blue?","temperature":0.2}'

MOST_PROMPT = 500_000

KEY_HEADER = "x-openai-api-key"


class RouteRequest(Body):
    """What `POST /route` takes."""

    prompt: Annotated[str, Field(min_length=1, max_length=MOST_PROMPT)]
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    model: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        AUTO, description="`auto` has the router choose; else a model, or `model@device`"
    )
    openai_api_key: str | None = Field(
        None,
        description="what paid models are asked with, in place of the fleet's own key; the header X-OpenAI-API-Key means the same",
        json_schema_extra={"format": "password"},
    )
    api_key: str | None = Field(
        None, description="another name of openai_api_key", json_schema_extra={"format": "password"}
    )


class RouteForm(RouteRequest):
    """What `POST /route/with-file` takes, as a form."""

    file: str | None = Field(
        None, description="an image, or a PDF", json_schema_extra={"type": "string", "format": "binary"}
    )


class RouteAnswer(TypedDict):
    """What both answer."""

    response: Annotated[str, Field(description="the text")]
    selected_model: Annotated[str, Field(description="the model that answered")]
    file_processed: Annotated[bool | None, Field(description="whether the file was read; null where none came")]
    file_processing_error: Annotated[
        str | None, Field(description="why it was not: then the text is the answer without it")
    ]
    x_drover: Receipt


def to_chat(asked: RouteRequest, *, job: str, key: str | None) -> ChatRequest:
    """Map a request to ours; `key` came in a header. Raises `BadRequest`, which quotes no key."""
    model, device = split_model(asked.model)
    options = {} if asked.temperature is None else {"temperature": asked.temperature}
    fields = {"messages": [{"role": "user", "content": asked.prompt}], "model": model, "device": device}
    chat = {**fields, "job": job, "stream": True, "hold": True, "options": options}
    return codec.build(ChatRequest, {**chat, "provider_key": _key(asked, key)})


def _key(asked: RouteRequest, in_header: str | None) -> str | None:
    """Give the one key. Raises `BadRequest` where there are two."""
    given = {"openai_api_key": asked.openai_api_key, "api_key": asked.api_key, KEY_HEADER: in_header}
    found = {name: key.strip() for name, key in given.items() if key and key.strip()}
    if len(set(found.values())) > 1:
        raise BadRequest("two different keys for the provider are given: send one", param=next(iter(found)))
    name, key = next(iter(found.items()), (KEY_HEADER, None))
    try:
        return None if key is None else require_key(key)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}", param=name) from None
