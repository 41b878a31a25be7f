"""What is told of a decision, and of what was said of an answer; a dispatcher writes it, and `seeing` leaves parts of it out."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants this one of Pythons before 3.12

from dispatcher.bridge.openai.shapes import CacheTold, CascadeTold


class Chosen(TypedDict):
    device: str
    model: str
    reason: NotRequired[str]


class Predicted(TypedDict):
    """What is expected of a device, in seconds, joules and dollars; null where nobody knows."""

    wait_s: float | None
    load_s: float | None
    first_token_s: float | None
    total_s: float | None
    energy_j: float | None
    cost_usd: float | None


class RouteOption(TypedDict):
    """A device and a model that could answer: `score` is the sum of `parts`, each a term times its weight, where it is a sum."""

    device: str
    model: str
    score: float | None
    terms: dict[str, float | None]
    parts: dict[str, float]
    predicted: Predicted
    warm: bool
    simulated: bool
    details: NotRequired[dict[str, float]]
    warm_tokens: NotRequired[int]
    remote: NotRequired[bool]
    strain: NotRequired[list[str]]


class RouteRemoved(TypedDict):
    """A device, or a model of it, that can't answer, and why; `for_now` tells that it could later."""

    device: str
    filter: str
    reason: str
    for_now: bool
    model: NotRequired[str]


class RouteError(TypedDict):
    code: str
    message: str


class RouteTold(TypedDict):
    """A decision, as far as its asker may see the fleet; of a job that got a kept answer only what the cache did."""

    options: list[RouteOption]
    job: NotRequired[str]
    tenant: NotRequired[str]
    strategy: NotRequired[str]
    rule: NotRequired[str]
    weights: NotRequired[dict[str, float]]
    formula: NotRequired[Annotated[str, Field(description="the score as a sum, where it is one of the three terms")]]
    remembered: NotRequired[
        Annotated[bool, Field(description="the dispatcher has forgotten it: it is told as the ledger has kept it")]
    ]
    features: NotRequired[
        Annotated[dict[str, Any], Field(description="what was read off the request; strategies add theirs")]
    ]
    chosen: NotRequired[
        Annotated[
            Chosen | None, Field(description="of a job, which had it: null where none did, whichever was the best")
        ]
    ]
    options_in_all: NotRequired[int]
    removed: NotRequired[list[RouteRemoved]]
    removed_in_all: NotRequired[int]
    devices_out: NotRequired[
        Annotated[dict[str, int], Field(description="how many are out, by the filter, where all would be too many")]
    ]
    power: NotRequired[PowerTold]
    strategies: NotRequired[Annotated[dict[str, str], Field(description="whom each strategy would choose")]]
    changes: NotRequired[Annotated[list[str], Field(description="what would bring another device in front")]]
    error: NotRequired[RouteError]
    feedback: NotRequired[Learned]
    cache: NotRequired[CacheTold]
    cascade: NotRequired[CascadeTold]


class Tariff(TypedDict):
    per_kwh: float | None
    currency: str
    g_co2e_per_kwh: float | None


class PowerLimit(TypedDict):
    """A limit of the owner's on watts; `holds` tells whether it keeps any device out now."""

    name: str
    on: str
    watts: float
    drawn_w: float | None
    when: str
    holds: bool


class DeviceDraw(TypedDict):
    device: str
    site: str | None
    now_w: float
    with_job_w: float


class PowerTold(TypedDict):
    """What the fleet draws, and what the owner says of it."""

    drawn_w: float
    tariff: Tariff | None
    limits: list[PowerLimit]
    devices: list[DeviceDraw]


class KindLiked(TypedDict):
    rated: int
    liked: float


class Learned(TypedDict):
    """The weights that the tenant's feedback has taught, beside the owner's."""

    mode: str
    configured: dict[str, float]
    learned: dict[str, float]
    strong_share_moved: float
    outcomes: int
    kinds: dict[str, KindLiked]


class FeedbackTold(TypedDict):
    """Whether what was said of an answer is learned from, and `why` not, in which `mode`; of what is taken back whether it is
    `unlearned`; and whether the ledger has kept it, for the sums of votes, and `why_not_kept`."""

    job: str
    tenant: str
    counted: bool
    kept: bool
    mode: NotRequired[str]
    why: NotRequired[str]
    why_not_kept: NotRequired[str]
    unlearned: NotRequired[bool]
