"""What OpenAI's answers look like, and our account that travels with all APIs' answers; `reply` and the dialects write them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict  # pydantic wants these of Pythons before 3.12

from common.conversations import GivenFile
from common.energy import Energy
from common.frames import Finish
from common.records import TermsEntry
from dispatcher.bridge.schemas import Together


class EnergyRatios(TypedDict):
    """What an answer has taken of its devices, and what follows from that."""

    watt_hours: float
    joules_per_token: NotRequired[float]


ToldEnergy = TypeAliasType("ToldEnergy", Annotated[EnergyRatios | Energy, Together()])


class AttemptTold(TypedDict):
    """One attempt on a device; `s` is how long it took, and `beside` that it ran at the same time as another one."""

    device: str
    model: str
    outcome: str
    s: float
    beside: NotRequired[bool]
    detail: NotRequired[str]
    cost_usd: NotRequired[float]
    joules: NotRequired[float]


class Timings(TypedDict, total=False):
    """Where the time went, in seconds since the job came; `decode_tps` is tokens per second."""

    queue_s: float
    accept_s: float
    load_s: float
    prefill_s: float
    first_token_s: float
    total_s: float
    decode_tps: float


class CacheTold(TypedDict):
    """What the cache did; all but `outcome` and `why` is of hits."""

    outcome: str
    why: NotRequired[str]
    kind: NotRequired[str]
    id: NotRequired[str]
    similarity: NotRequired[float]
    chance: NotRequired[float]
    age_s: NotRequired[float]
    source: NotRequired[dict[str, str]]
    saved: NotRequired[dict[str, Any]]
    shadow: NotRequired[dict[str, Any]]


class Tier(TypedDict):
    """A model of a cascade."""

    device: str
    model: str
    predicted_energy_j: float | None
    s: NotRequired[float]
    usage: NotRequired[TokenCounts]


class CascadeTold(TypedDict):
    """How a small model's answer was judged, and whether a large one's was given in its place."""

    given: str
    escalated: bool
    score: float
    threshold: float
    by: str
    why: str
    faults: dict[str, float]
    weak: Tier
    strong: NotRequired[Tier]
    instead: NotRequired[str]


class ConversationTold(TypedDict):
    """The conversation that a chat belongs to: how many messages its model was told, how many did not fit, what PDFs came with it,
    and whether what was said now is kept."""

    id: str
    told: int
    left_out: int
    summarised: NotRequired[bool]
    files: NotRequired[list[GivenFile]]
    turn: NotRequired[str]
    kept: NotRequired[bool]
    why: NotRequired[str]


class Receipt(TypedDict):
    """Where a job ran, why, and what it took."""

    job: str
    device: NotRequired[str]
    model: NotRequired[str]
    reason: NotRequired[str]
    strategy: NotRequired[str]
    score: NotRequired[float]
    terms: NotRequired[TermsEntry]
    weights: NotRequired[dict[str, float]]
    attempts: NotRequired[list[AttemptTold]]
    timings: NotRequired[Timings]
    cost_usd: NotRequired[float]
    cost_estimated: NotRequired[bool]
    saved_usd: NotRequired[float]
    saved_against: NotRequired[str]
    features: NotRequired[
        Annotated[dict[str, Any], Field(description="what was read off the request; strategies add theirs")]
    ]
    cascade: NotRequired[CascadeTold]
    energy: NotRequired[ToldEnergy]
    simulated: NotRequired[bool]
    replayed: NotRequired[bool]
    cache: NotRequired[CacheTold]
    conversation: NotRequired[ConversationTold]


class TokenCounts(TypedDict):
    """Tokens, as the device's engine counted them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ToldUsage(TokenCounts):
    """Tokens, and what the answer took."""

    device: NotRequired[str]
    cost: NotRequired[Annotated[float, Field(description="in US dollars")]]
    energy: NotRequired[ToldEnergy]


class FunctionCalled(TypedDict):
    name: str
    arguments: Annotated[str, Field(description="JSON")]


class ToolCallTold(TypedDict):
    """A function that the model wants called."""

    id: str
    type: Literal["function"]
    function: FunctionCalled


class AssistantMessage(TypedDict):
    role: Literal["assistant"]
    content: str | None
    tool_calls: NotRequired[list[ToolCallTold]]


class ChatChoice(TypedDict):
    index: int
    message: AssistantMessage
    logprobs: None
    finish_reason: Finish


class ChatCompletion(TypedDict):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ToldUsage
    x_drover: Receipt


class TextChoice(TypedDict):
    index: int
    text: str
    logprobs: None
    finish_reason: Finish


class TextCompletion(TypedDict):
    """A whole answer of the older API."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: ToldUsage
    x_drover: Receipt


class EmbeddingTold(TypedDict):
    object: Literal["embedding"]
    index: int
    embedding: Annotated[list[float] | str, Field(description="numbers, or as base64 what is asked for so")]


class EmbeddingUsage(TypedDict):
    prompt_tokens: int
    total_tokens: int
    energy: NotRequired[ToldEnergy]


class EmbeddingList(TypedDict):
    """Embeddings, in the order of their texts."""

    object: Literal["list"]
    data: list[EmbeddingTold]
    model: str
    usage: EmbeddingUsage
    x_drover: Receipt


class ModelFacts(TypedDict, total=False):
    """What is known of a model: where it is, and what it can; of a virtual one, what it stands for."""

    description: str
    devices: list[str]
    loaded_on: list[str]
    parameters_b: float
    context_tokens: int
    capabilities: list[str]
    input_usd_per_mtok: float
    output_usd_per_mtok: float


class ModelTold(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    x_drover: ModelFacts


class ModelsList(TypedDict):
    object: Literal["list"]
    data: list[ModelTold]


class AnthropicModel(TypedDict):
    """A model as Anthropic has it."""

    type: Literal["model"]
    id: str
    display_name: str
    created_at: str
    lifecycle: str
    max_input_tokens: int | None
    x_drover: ModelFacts


class AnthropicModels(TypedDict):
    data: list[AnthropicModel]
    has_more: bool
    first_id: str
    last_id: str


ModelList = TypeAliasType("ModelList", ModelsList | AnthropicModels)
"""The second to who says that it is a client of Anthropic's."""

OneModel = TypeAliasType("OneModel", ModelTold | AnthropicModel)
