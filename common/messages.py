"""What travels on the bus: requests, dispatches, heartbeats, replies; it knows neither encodings nor subjects.

Bounds stand beside the fields (annotated-types), and `codec.build` enforces them for whatever comes from outside. Every number
has two, so that none overflows further down; every sequence fails at its first wrong item, since describing a megabyte of
them takes seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import (
    AllowInfNan,
    BeforeValidator,
    ConfigDict,
    FailFast,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from common.codec import require_writable
from common.errors import BadRequest
from common.vectors import MOST_DIMENSIONS, MOST_INPUTS

AUTO = "auto"
"""The model name that leaves the choice to the dispatcher."""

CHAT, EMBED = "chat", "embed"
"""The kinds of jobs: one is answered with text, and one with an embedding for each of its inputs."""

Name = Annotated[str, MinLen(1), MaxLen(200)]
Token = Annotated[str, MinLen(1), MaxLen(64)]

Whole = Annotated[int, Ge(-(2**63)), Le(2**63 - 1)]
"""What both encodings, and whoever reads them in another language, take for an integer."""
MOST_COUNT = 2**63 - 1
Count = Annotated[int, Ge(0), Le(MOST_COUNT)]
Number = Annotated[float, AllowInfNan(allow_inf_nan=False), Ge(-1e15), Le(1e15)]
"""A measurement. Seconds, degrees and rates stay far below the bound, and what is computed from them stays finite."""
Price = Annotated[float, AllowInfNan(allow_inf_nan=False), Ge(0), Le(1e6)]
"""An amount of US dollars."""
Texts = Annotated[tuple[str, ...], FailFast()]
MOST_PATTERNS = 100
Patterns = Annotated[tuple[Name, ...], FailFast(), MaxLen(MOST_PATTERNS)]
"""Names with wildcards, as in `qwen2.5*`: one that fits is enough, and with none given all fit."""

MOST_W = 5000.0
"""No device draws more: what says so is not believed."""


def _or_unknown(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


OrUnknown = WrapValidator(_or_unknown)
"""What can be no figure is none: a sensor that has failed takes nobody out of the fleet, and misleads neither routing nor views."""
Watts = Annotated[Annotated[Number, Ge(0), Le(MOST_W)] | None, OrUnknown]
Celsius = Annotated[Annotated[Number, Ge(-100), Le(250)] | None, OrUnknown]
Percent = Annotated[Annotated[Number, Ge(0), Le(100)] | None, OrUnknown]


def require_key(value: Any) -> str:
    """Refuse what can be no key before anything else looks at it. Whatever is wrong, nobody is shown it: it may be nearly a key."""
    if not isinstance(value, str) or not 1 <= len(value) <= MOST_KEY_CHARS or not _KEY.fullmatch(value):
        raise ValueError(f"a key is 1 to {MOST_KEY_CHARS} printable ASCII characters without spaces")
    return value


MOST_KEY_CHARS = 256
_KEY = re.compile("[!-~]+")
ProviderKey = Annotated[str, BeforeValidator(require_key)]
"""A secret. Fields of this type are left out of every repr, and no refusal quotes them."""


def _few(value: Any) -> Any:
    """Refuse a large mapping before its entries are looked at: pydantic would describe each wrong one first."""
    if isinstance(value, dict) and len(value) > 1000:
        raise ValueError(f"at most 1000 entries are taken, not {len(value)}")
    return value


Few = BeforeValidator(_few)


def _few_inputs(value: Any) -> Any:
    """Say what to do with more texts than one job takes."""
    if isinstance(value, list | tuple) and len(value) > MOST_INPUTS:
        raise ValueError(
            f"one job embeds at most {MOST_INPUTS} texts, not {len(value)}: send several jobs, as Drover.embed does"
        )
    return value


Inputs = Annotated[tuple[str, ...], BeforeValidator(_few_inputs)]
Dimensions = Annotated[int, Ge(1), Le(MOST_DIMENSIONS)]
Document = Annotated[dict[str, Any], BeforeValidator(require_writable)]
"""An object whose fields are not ours to know: a schema, arguments."""


MOST_IMAGES = 16
"""Of one turn."""


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Priority(StrEnum):
    """How urgent a job is, while jobs wait for devices."""

    INTERACTIVE = "interactive"  # somebody looks at the screen
    NORMAL = "normal"
    BATCH = "batch"  # whenever there is room


class CacheWish(StrEnum):
    """What a request wants of answers that were given before; its fleet may allow less."""

    OFF = "off"  # neither to get one, nor to have its own kept
    REFRESH = "refresh"  # not to get one; its own is kept
    EXACT = "exact"  # one that was given to the very same request
    SEMANTIC = "semantic"  # one that was given to a question that means the same


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A function that the model wants called; `arguments` is an object, as Ollama has it."""

    name: Name
    arguments: Document = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation. `images` are base64 without a data-URI head."""

    role: Role
    content: str = ""
    images: Annotated[Texts, MaxLen(MOST_IMAGES)] = ()
    tool_calls: Annotated[tuple[ToolCall, ...], FailFast(), MaxLen(64)] = ()
    tool_name: str | None = None
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the text is sampled; what is absent is left to the backend's default. A field of another name is refused.

    `context_tokens` is the least context that the model gets; it gets more when prompt and answer need more.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    max_tokens: Annotated[int, Ge(1), Le(1_000_000)] | None = None
    temperature: Annotated[Number, Ge(0), Le(5)] | None = None
    top_p: Annotated[Number, Gt(0), Le(1)] | None = None
    seed: Whole | None = None
    stop: Annotated[Texts, MaxLen(16)] = ()
    frequency_penalty: Annotated[Number, Ge(-2), Le(2)] | None = None
    presence_penalty: Annotated[Number, Ge(-2), Le(2)] | None = None
    context_tokens: Annotated[int, Ge(128), Le(10_000_000)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A job as a producer sends it. `prompt` is short for one user message; one of the two is required, or else `inputs`: texts
    that are embedded, each by itself, in as many `dimensions` as asked where the model can do with fewer. `truncate` false refuses
    a text that is longer than the model's context, which is cut otherwise. Of `options` such a job heeds `context_tokens` alone.

    `stream` asks for frames instead of one reply. `hold` asks for frames whose text comes only when it is complete: nothing
    is visible before, so the job can move to another device at any moment.
    `deadline_ms` is absolute, milliseconds since 1970 UTC; `timeout_s` is the same said relatively. A field of another name is
    refused: a limit that is misspelt, or not put into `options`, must not be ignored in silence.

    The same `job` sent again by the same tenant is the same job: who sends it joins the running answer, or gets the finished one
    again. `keep_s` is how long it runs on when nobody listens any more, for one who comes back. `resends` tells how often it was
    sent before: 0 promises that no dispatcher can know the id, and absent says nothing. `resume` is the text that the producer has
    already; a dispatcher that does not know the job goes on behind it. `strategy` names how the device is chosen, such as `hybrid`
    or `energy:eco`; absent leaves it to the fleet's owner. `max_cost_usd` keeps the job from models that may cost more.
    `provider_key` is what a paid model is asked with, in place of the fleet's own key: whoever sends it pays. `cache` says which
    answers given before will do; absent leaves it to the fleet's owner. `user` is on whose behalf the tenant asks: what one user
    was answered is given to no other. `local` keeps it from models that run elsewhere. `allow_models` and `allow_devices` are what
    the job may use, by full names, besides what its tenant may: the door writes there what a key is for, so they never allow more.
    Who sends the same job again must send the same.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    prompt: str | None = None
    messages: Annotated[tuple[Message, ...], FailFast(), MaxLen(1000)] = ()
    model: Name = AUTO
    stream: bool = False
    hold: bool = False
    job: Token | None = None
    options: Options = Options()
    tools: Annotated[tuple[Document, ...], FailFast(), MaxLen(128)] = ()
    format: Literal["json"] | Document | None = None
    timeout_s: Annotated[Number, Gt(0), Le(86_400)] | None = None
    deadline_ms: Count | None = None
    device: Token | None = None
    keep_s: Annotated[Number, Ge(0), Le(60)] = 0.0
    resends: Count | None = None
    resume: Annotated[str, MaxLen(500_000)] = ""
    priority: Priority = Priority.NORMAL
    strategy: Annotated[str, MaxLen(64)] | None = None
    max_cost_usd: Annotated[Number, Ge(0)] | None = None
    provider_key: ProviderKey | None = field(default=None, repr=False)
    cache: CacheWish | None = None
    local: bool = False
    user: Annotated[str, MinLen(1), MaxLen(256)] | None = None
    allow_models: Patterns = ()
    allow_devices: Patterns = ()
    inputs: Inputs | None = None
    dimensions: Dimensions | None = None
    truncate: bool | None = None

    @property
    def kind(self) -> str:
        """What is asked for: the second token of the subject that it is sent to."""
        return CHAT if self.inputs is None else EMBED


def reading(request: ChatRequest, kind: str) -> tuple[Message, ...]:
    """Give what a model is to read: a conversation, or each text that is to be embedded as a message of its own. Raises
    `BadRequest`, also for a request of another kind."""
    if kind != EMBED:
        return conversation(request)
    return tuple(Message(role=Role.USER, content=text) for text in embeddable(request))


def embeddable(request: ChatRequest) -> tuple[str, ...]:
    """Give the texts that are to be embedded. Raises `BadRequest` when there is none, or for what only an answer can have."""
    if not request.inputs:
        raise BadRequest(
            f'inputs is missing or empty: send {{"model":"nomic-embed-text","inputs":["hi"]}}, {MOST_INPUTS} texts at most',
            param="inputs",
        )
    for name in ("prompt", "messages", "tools", "format", "resume"):
        if getattr(request, name):
            raise BadRequest(f"{name} belongs to chats, and inputs are embedded: send one of them", param=name)
    empty = next((number for number, text in enumerate(request.inputs) if not text), None)
    if empty is not None:
        raise BadRequest(f"inputs.{empty} is empty: leave it out, or say something", param=f"inputs.{empty}")
    return request.inputs


def conversation(request: ChatRequest) -> tuple[Message, ...]:
    """Give the messages of a request. Raises `BadRequest` when there is nothing to answer, or a choice to make."""
    for name in ("inputs", "dimensions", "truncate"):
        if getattr(request, name) is not None:
            raise BadRequest(
                f"{name} belongs to embeddings: send it, with inputs and no prompt, to llm.v1.embed.<tenant>",
                param=name,
            )
    if request.prompt is not None and request.messages:
        raise BadRequest("both prompt and messages are given: send one of them", param="prompt")
    messages = request.messages
    if request.prompt is not None:
        messages = (Message(role=Role.USER, content=request.prompt),)
    if not messages:
        raise BadRequest(
            'prompt is missing: send {"prompt":"hi"} or {"messages":[{"role":"user","content":"hi"}]}', param="prompt"
        )
    if not any(message.content.strip() or message.images or message.tool_calls for message in messages):
        raise BadRequest("the prompt is empty: say something", param="prompt")
    return messages


def split_target(model: str) -> tuple[str, str | None]:
    """Split `model@device` into the model and the device that it is pinned to; the last `@` counts."""
    name, at, device = model.rpartition("@")
    return (name or AUTO, device) if at else (model, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """One attempt at a job, as the dispatcher hands it to one device.

    `deadline_ms` is absolute by the dispatcher's clock, and `sent_ms` is what that clock showed when this was sent: their
    difference is the time that is left, also on a device whose own clock is an hour off. `logprobs` asks for how sure the model was
    of each token, where the backend tells. `provider_key` comes with attempts on remote models only. With `inputs` there are no
    messages: an agent that does not know of them has nothing to answer.
    """

    job: Token
    attempt: Annotated[Count, Ge(1)]
    dispatcher: Token
    model: Name
    messages: Annotated[tuple[Message, ...], FailFast(), MaxLen(1001)]  # one more than asked: an answer to be continued
    stream: bool = False
    options: Options = Options()
    tools: Annotated[tuple[Document, ...], FailFast(), MaxLen(128)] = ()
    format: Literal["json"] | Document | None = None
    logprobs: bool = False
    deadline_ms: Count | None = None
    sent_ms: Count | None = None
    provider_key: ProviderKey | None = field(default=None, repr=False)
    inputs: Inputs | None = None
    dimensions: Dimensions | None = None
    truncate: bool | None = None


class DeviceState(StrEnum):
    """What an agent says of itself."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAULTY = "faulty"  # the backend does not answer
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model that a device has on disk, and whether it is in memory now.

    `context_tokens` is what the model was trained for, `most_context_tokens` what the device's memory allows besides, and
    `loaded_context_tokens` what it is in memory with. Prices are in US dollars per million tokens; a model without them costs
    nothing but energy, or nobody said what.
    """

    name: Name
    size_bytes: Count = 0
    loaded: bool = False
    memory_bytes: Count = 0
    gpu_bytes: Count = 0
    expires_unix_s: Number | None = None
    parameters_b: Number | None = None
    context_tokens: Count | None = None
    loaded_context_tokens: Count | None = None
    most_context_tokens: Count | None = None
    quantization: str | None = None
    family: str | None = None
    digest: str | None = None
    capabilities: Annotated[Texts, MaxLen(100)] = ()
    input_usd_per_mtok: Price | None = None
    output_usd_per_mtok: Price | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a device measured of itself with one model: moving averages over its finished jobs."""

    jobs: Count = 0
    prefill_tps: Number | None = None
    decode_tps: Number | None = None
    load_s: Number | None = None
    first_token_s: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What an agent says every `interval_s`, on the connection that carries its work.

    `jobs_by_dispatcher` counts the running jobs by the dispatcher that sent them: a dispatcher knows its own share exactly
    and needs to hear only of the others'. `continues` says that the backend goes on with a conversation that ends in the
    assistant's own unfinished words, `embeds` that the agent takes texts to embed, `remote` that the models run elsewhere: for
    money, and on no power of the device; `needs_key` that it has no key of its own for them, and serves only who brings one.
    `closed_s` is for how long it takes nothing new, though it works, where it knows: a provider's rate limit is used up. `idle_w`
    and `busy_w` are what the device draws without and with a job, `watts` what it draws now; `watts_source` names the reader, and
    `watts_measured` tells that it is a sensor.

    `site` is where the device stands, for caps that several share. `throttling` says in words why it is slower than it could be
    now, `warnings` what its owner should look at: they cost it no job. `gpu` is whether it has one that models should run on.
    Watts, degrees and percent that can be none are read as absent.
    """

    device: Token
    boot: Token
    seq: Count
    interval_s: Annotated[Number, Gt(0), Le(300)] = 1.0
    state: DeviceState = DeviceState.READY
    reason: str | None = None
    slots: Annotated[int, Ge(0), Le(10_000)] = 1
    in_flight: Count = 0
    closed_s: Number | None = None
    jobs_by_dispatcher: Annotated[dict[str, Count], Few] = field(default_factory=dict)
    models: Annotated[tuple[ModelInfo, ...], FailFast(), MaxLen(1000)] = ()
    speeds: Annotated[dict[str, Speed], Few] = field(default_factory=dict)
    topics: Annotated[Texts, MaxLen(32)] = ()
    memory_total_bytes: Count | None = None
    memory_available_bytes: Count | None = None
    temperature_c: Celsius = None
    throttled: bool | None = None
    idle_w: Watts = None
    busy_w: Watts = None
    watts: Watts = None
    watts_measured: bool | None = None
    watts_source: Annotated[str, MaxLen(64)] | None = None
    site: Token | None = None
    throttling: Annotated[Texts, MaxLen(16)] = ()
    warnings: Annotated[Texts, MaxLen(16)] = ()
    power_mode: Annotated[str, MaxLen(64)] | None = None
    gpu: bool | None = None
    disk_total_bytes: Count | None = None
    disk_free_bytes: Count | None = None
    battery_percent: Percent = None
    on_battery: bool | None = None
    backend: str = "ollama"
    backend_version: str | None = None
    simulated: bool = False
    continues: bool = False
    embeds: bool = False
    remote: bool = False
    needs_key: bool = False
    agent_version: str = ""
    uptime_s: Number = 0.0
    done: Count = 0
    failed: Count = 0
    refused: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens, as the backend counted them."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTimings:
    """What the backend itself spent, in seconds; absent where it does not say."""

    load_s: Number | None = None
    prefill_s: Number | None = None
    decode_s: Number | None = None
