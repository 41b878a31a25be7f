"""What Ollama's answers look like; `lines` and `catalogue` write them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants this one of Pythons before 3.12

from dispatcher.bridge.openai.shapes import Receipt


class OllamaFunction(TypedDict):
    index: int
    name: str
    arguments: dict[str, Any]


class OllamaCall(TypedDict):
    """A function that the model wants called."""

    function: OllamaFunction


class OllamaSaid(TypedDict):
    role: Literal["assistant"]
    content: str
    tool_calls: NotRequired[list[OllamaCall]]


class IdleNote(TypedDict):
    note: str


class _Ended(TypedDict):
    """What an answer ends with; durations are in nanoseconds. One that only loads or unloads a model counts nothing."""

    model: str
    created_at: str
    done: Literal[True]
    done_reason: Literal["stop", "length", "load", "unload"]
    total_duration: NotRequired[int]
    load_duration: NotRequired[int]
    prompt_eval_count: NotRequired[int]
    prompt_eval_duration: NotRequired[int]
    eval_count: NotRequired[int]
    eval_duration: NotRequired[int]
    x_drover: Receipt | IdleNote


class OllamaChatTold(_Ended):
    """A whole answer."""

    message: OllamaSaid


class OllamaGenerated(_Ended):
    """A whole text; `context` is the conversation so far, for the next request."""

    response: str
    context: NotRequired[list[int]]


class OllamaEmbedded(TypedDict):
    """Embeddings, in the order of their texts; for no text there is nothing else."""

    model: str | None
    embeddings: list[list[float]]
    total_duration: NotRequired[int]
    load_duration: NotRequired[int]
    prompt_eval_count: NotRequired[int]
    x_drover: NotRequired[Receipt]


class OllamaEmbedding(TypedDict):
    """One embedding; for no text it is empty."""

    embedding: list[float]
    x_drover: NotRequired[Receipt]


class OllamaDetails(TypedDict):
    parent_model: str
    format: Literal["gguf", "remote", "virtual"]
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class OllamaFacts(TypedDict):
    devices: list[str]
    description: NotRequired[str]


class OllamaTag(TypedDict):
    """A model of the list."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: OllamaDetails
    capabilities: list[str]
    x_drover: OllamaFacts


class OllamaTags(TypedDict):
    models: list[OllamaTag]


class OllamaModel(TypedDict):
    """All about one model."""

    license: str
    modelfile: str
    parameters: str
    template: str
    details: OllamaDetails
    model_info: Annotated[dict[str, str | int], Field(description="its family stands before the names of some")]
    capabilities: list[str]
    modified_at: str
    x_drover: OllamaFacts


class LoadedOn(TypedDict):
    loaded_on: list[str]


class OllamaProcess(TypedDict):
    """A model that is in memory."""

    name: str
    model: str
    size: int
    digest: str
    details: OllamaDetails
    expires_at: str
    size_vram: int
    context_length: int
    x_drover: LoadedOn


class OllamaProcesses(TypedDict):
    models: list[OllamaProcess]


class OllamaVersion(TypedDict):
    version: str
