"""What Drover's own API answers, beside what is written as its dataclass has it; the routes write it."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict  # pydantic wants these of Pythons before 3.12

from common import conversations, history, key_requests, latency, votes
from common.conversations import Conversation, Turn
from common.durable import Note, Stage
from common.durable_backlog import Backlog
from common.frames import Finish
from common.keys import Budget, Grant
from common.ledger import By, EnergyRow
from common.messages import CacheWish, EngineTimings, Heartbeat, ModelInfo, Priority, Speed, ToolCall
from common.records import JobEntry
from common.running import RunningJob
from dispatcher.bridge.cards import SAID
from dispatcher.bridge.openai.shapes import Receipt, TokenCounts
from dispatcher.bridge.schemas import Together
from dispatcher.experiments.manifest import Kind, Manifest

# -- chat ----------------------------------------------------------------------------------------------------------------------


class NativeAnswer(TypedDict):
    """A whole answer."""

    job: str
    text: str
    model: str
    finish: Finish
    usage: TokenCounts
    engine: NotRequired[EngineTimings]
    tool_calls: NotRequired[list[ToolCall]]
    cost_usd: NotRequired[float]
    x_drover: Receipt


# -- the fleet -----------------------------------------------------------------------------------------------------------------

OF_ONE_DEVICE = ("loaded", "memory_bytes", "gpu_bytes", "expires_unix_s", "loaded_context_tokens")
"""What a device says of a model that is so on this one alone."""


class ImageLimits(TypedDict):
    """Of images: `per_request` counts those of earlier turns too."""

    types: list[str]
    pixels: int
    per_message: int
    per_request: int


class DocumentLimits(TypedDict):
    """Of PDFs, which come as `files` of `POST /api/v1/chat`, or by `POST /route/with-file`: what is behind `pages` and `characters`
    is left out. Of one without text `page_images` of its pages are shown."""

    types: list[str]
    per_message: int
    pages: int
    characters: int
    page_images: int


class ConversationLimits(TypedDict):
    """Of a conversation that is kept."""

    turns: int
    turn_characters: int


class StrategyTold(TypedDict):
    """A way to choose; `example` is there where it takes a variant behind a colon."""

    name: str
    description: str
    example: NotRequired[str]


class VirtualModel(TypedDict):
    """A name that stands for a choice."""

    name: str
    virtual: Literal[True]
    description: str


class LimitsTold(TypedDict):
    """What may be sent: `body_bytes` of a body without files, `upload_bytes` of one with files; and of what it says, images made
    smaller, `message_bytes` on the way to a device."""

    body_bytes: int
    upload_bytes: int
    message_bytes: int
    images: ImageLimits
    documents: DocumentLimits
    conversation: ConversationLimits
    models: list[VirtualModel]
    strategies: list[StrategyTold]
    priorities: list[Priority]
    cache: list[CacheWish]


class _ModelPlaces(TypedDict):
    """A model, and where it is."""

    name: str
    devices: list[str]
    loaded_on: list[str]


FleetModel = TypeAliasType("FleetModel", Annotated[_ModelPlaces | ModelInfo, Together(without=OF_ONE_DEVICE)])


class FleetModels(TypedDict):
    models: list[VirtualModel | FleetModel]


class ModelOnDevice(TypedDict):
    """A model on a device's disk, and whether it is in memory: until when, how much of it the GPU has, and with which context."""

    name: str
    loaded: bool
    memory_bytes: int
    gpu_bytes: int
    expires_unix_s: NotRequired[float]
    loaded_context_tokens: NotRequired[int]


class _DeviceStanding(TypedDict):
    """A device as its last heartbeat says, which came at `seen_unix_s`; `state` is its own word while it is alive."""

    name: str
    state: str
    liveness: str
    seen_unix_s: float
    free_slots: int
    models: list[ModelOnDevice]
    speeds: dict[str, Speed]


FleetDevice = TypeAliasType("FleetDevice", Annotated[_DeviceStanding | Heartbeat, Together(only=SAID)])


class FleetDevices(TypedDict):
    devices: list[FleetDevice]


class DeviceOrdered(TypedDict):
    """How a device stands after an order."""

    name: str
    state: str


class ModelOrdered(TypedDict):
    """How a model stands on a device after an order to load it: `loading` where it was not there in time, and goes on.
    Heartbeats, and so `GET /api/v1/devices`, tell when it is."""

    name: str
    model: str
    state: Literal["loaded", "loading"]
    seconds: float


# -- jobs ----------------------------------------------------------------------------------------------------------------------


class JobSubmitted(TypedDict):
    """A job that is in the queue; `known` tells that it was there already."""

    id: str
    object: Literal["job"]
    state: Stage
    known: bool
    url: str


class _JobNamed(TypedDict):
    """How far a durable job is; at its end it has the `answer` or the `error`, and how it went as soon as the ledger knows it."""

    id: str
    object: Literal["job"]
    record: NotRequired[JobEntry]


DurableJob = TypeAliasType("DurableJob", Annotated[_JobNamed | Note, Together(without=("job", "fingerprint"))])


class EndedJob(TypedDict):
    """How a job went that is over and was not durable: its words are not kept."""

    id: str
    object: Literal["job"]
    state: str
    record: JobEntry


JobTold = TypeAliasType("JobTold", DurableJob | EndedJob)


class JobPage(TypedDict):
    """Jobs, newest first; `more` tells that some are left out, and `next` is the `before` to go on with."""

    jobs: list[JobEntry]
    more: bool
    next: NotRequired[str]


class RunningJobs(TypedDict):
    """Jobs that wait or run now; `more` tells that some are left out. `running` and `waiting` count those of the whole fleet, and
    `silent` names dispatchers that did not answer. A durable job is among them as soon as a dispatcher has taken it; `durable`
    tells of those that none has taken yet, whosever they are, where that is known."""

    jobs: list[RunningJob]
    more: bool
    running: int
    waiting: int
    silent: list[str]
    durable: NotRequired[Backlog]


class VoteTold(TypedDict):
    """A vote as it is kept, with the ids of its jobs: `counted` says of how many of them routing learned, and `why` not of the
    others."""

    jobs: list[str]
    winner: str | None
    kept: Literal[True]
    counted: int
    why: NotRequired[str]


VoteSums = TypeAliasType("VoteSums", votes.Votes)


class ExperimentListed(TypedDict):
    """A run of the lab in short; of one that can't be read only its `name` below the folder, and in `broken` why."""

    id: str
    name: str
    kind: NotRequired[Kind]
    title: NotRequired[str]
    made_unix_s: NotRequired[float]
    drover: NotRequired[str]
    simulated: NotRequired[bool]
    n: NotRequired[int]
    repeats: NotRequired[int]
    arms: NotRequired[list[str]]
    rows: NotRequired[int]
    broken: NotRequired[str]


class ExperimentPage(TypedDict):
    """Runs of the lab, the newest first; `more` tells that some are left out, and `hint` how to make one where there is none."""

    experiments: list[ExperimentListed]
    more: bool
    hint: NotRequired[str]


class _ExperimentNamed(TypedDict):
    """A run of the lab: its figures side by side, and its plots as points."""

    id: str
    name: str


ExperimentTold = TypeAliasType("ExperimentTold", Annotated[_ExperimentNamed | Manifest, Together()])


class JobCancelled(TypedDict):
    id: str
    cancelled: bool


# -- conversations -------------------------------------------------------------------------------------------------------------

ConversationPage = TypeAliasType("ConversationPage", conversations.Page)
ConversationTurns = TypeAliasType("ConversationTurns", conversations.Turns)
ConversationsForgotten = TypeAliasType("ConversationsForgotten", conversations.Deleted)


class ConversationExport(TypedDict):
    """A conversation with all its turns."""

    conversation: Conversation
    turns: list[Turn]


class TurnsKept(TypedDict):
    """The conversation as it is now, and the ids of the turns that are new."""

    conversation: Conversation
    turns: list[str]


# -- keys and what they use ----------------------------------------------------------------------------------------------------

KeyPage = TypeAliasType("KeyPage", key_requests.Listed)


class KeyIssued(TypedDict):
    """A key with its secret, which is shown this once."""

    key: Grant
    secret: str


DeviceHistoryTold = TypeAliasType("DeviceHistoryTold", history.DeviceHistory)
LatencyTold = TypeAliasType("LatencyTold", latency.Latency)


class PriceTold(TypedDict):
    """What a model costs that savings are reckoned against, as its device tells it now."""

    name: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float


class SavingsReckoned(TypedDict):
    """What `saved_usd` and `cloud_usd` stand on: `assumption` in words, and the prices of the models that rows name, of those that
    are there."""

    assumption: str
    prices: list[PriceTold]


class EnergySums(TypedDict):
    """Sums over jobs; `total` is of the rows that are told, `more` tells that some are left out, `step_s` is of sums by time."""

    by: By
    step_s: NotRequired[int]
    rows: list[EnergyRow]
    total: EnergyRow
    more: bool
    savings: SavingsReckoned


class _OfTenant(TypedDict):
    """What all keys of a tenant have used together."""

    tenant: str


TenantUsage = TypeAliasType("TenantUsage", Annotated[_OfTenant | EnergyRow, Together(without=("key",))])


class UsageTold(TypedDict):
    """What your key has left, and what your tenant has used: `used` is null where that is nothing. Without keys there are neither
    `key` nor `budgets`."""

    tenant: str
    used: TenantUsage | None
    key: NotRequired[Annotated[str, Field(description="your key's name")]]
    budgets: NotRequired[list[Budget]]
    as_of_unix_s: NotRequired[Annotated[float, Field(description="when the ledger said so of the budgets")]]
