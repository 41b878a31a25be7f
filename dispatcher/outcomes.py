"""What the steps hand on to one another, and what is left at the end; it knows no step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, overload

from common import frames
from common.codec import Encoding
from common.energy import Energy
from common.errors import FleetError
from common.messages import EMBED, ChatRequest, EngineTimings, Message, Priority, Usage
from common.tracing import OFF, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request that passed intake. Times: `received_s` on the monotonic clock, the deadline on both.

    `model` is a full name or `auto`; `device` is the one that the request is pinned to. `messages` are what a model is to read: of
    a job that embeds, its texts.
    """

    id: str
    tenant: str
    kind: str
    request: ChatRequest
    messages: tuple[Message, ...]
    model: str
    device: str | None
    reply: str
    encoding: Encoding
    received_s: float
    received_unix_s: float
    deadline_s: float
    deadline_unix_s: float
    priority: Priority = Priority.NORMAL
    given: bool = False
    """True when the producer chose the id, and so may send the job again."""
    logprobs: bool = False
    """True when the answer is to be checked, and how sure the model was helps."""
    fingerprint: str = ""
    """What was asked, in short; only of a job with a given id."""
    trace: Span = field(default=OFF, compare=False, repr=False)

    @property
    def embeds(self) -> bool:
        """True when embeddings are asked for, and no text."""
        return self.kind == EMBED

    @property
    def asker(self) -> str:
        """Name on whose behalf it is asked: what is remembered for one is not for another, also of one tenant."""
        return self.tenant if self.request.user is None else f"{self.tenant}\0{self.request.user}"


@dataclass(frozen=True, slots=True)
class Admitted:
    """The job may go on."""


@dataclass(frozen=True, slots=True)
class Joins:
    """The job is here already: its party hears that one."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The job may not go on, and why."""

    error: FleetError


Admission = Admitted | Joins | Rejected


@dataclass(frozen=True, slots=True)
class Terms:
    """The three terms of the hybrid score, each in [0, 1]."""

    tokens: float
    topic: float
    health: float


@dataclass(frozen=True, slots=True)
class Price:
    """What a model on a device costs, in US dollars per million tokens."""

    model: str
    device: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Give what so many tokens cost."""
        return (prompt_tokens * self.input_usd_per_mtok + completion_tokens * self.output_usd_per_mtok) / 1e6

    def saved_usd(self, usage: Usage, paid_usd: float | None) -> float:
        """Give what an answer would have cost here, less what it did cost; below 0 when it cost more."""
        return self.usd(usage.prompt_tokens, usage.completion_tokens) - (paid_usd or 0.0)


class CacheOutcome(StrEnum):
    """What the cache did for a job."""

    HIT = "hit"  # the answer comes from there
    MISS = "miss"  # it had none
    REFUSED = "refused"  # it had one to a question that looks alike, or would not look for one
    BYPASS = "bypass"  # it was not asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """What the cache did for a job, and why: `why` is for whoever asked, and may quote words; `reason` is one of a few.

    The rest is of hits: `kind` is `exact`, `semantic` or `attached`; `similarity` the cosine of the two questions, `chance` the
    calibrated probability that the answer is right; `source` whose answer it was, `saved` what giving it again saved. `shadow` is
    what would have been given, had likeness been on.
    """

    outcome: CacheOutcome
    why: str = ""
    reason: str = ""
    kind: str = ""
    id: str = ""
    similarity: float | None = None
    chance: float | None = None
    age_s: float | None = None
    source: Mapping[str, str] = field(default_factory=dict)
    saved: Mapping[str, Any] = field(default_factory=dict)
    shadow: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hit(self) -> bool:
        return self.outcome is CacheOutcome.HIT

    def brief(self) -> dict[str, Any]:
        """Tell it to whoever asked."""
        return _known({**self._told(), "why": self.why, "shadow": dict(self.shadow)})

    def account(self) -> dict[str, Any]:
        """Tell it to whoever watches: no word of what was asked."""
        return _known({**self._told(), "reason": self.reason})

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = {"outcome": str(self.outcome), "kind": self.kind, "id": self.id}
        for name, digits in (("similarity", 4), ("chance", 4), ("age_s", 1)):
            value = getattr(self, name)
            told[name] = None if value is None else round(value, digits)
        return told | {"source": dict(self.source), "saved": dict(self.saved)}


def _known(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value not in ("", None, {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A device and a model that could answer, with the score and what it is made of. `details` are what the strategy adds to the
    three terms."""

    device: str
    model: str
    score: float
    terms: Terms
    reason: str
    warm: bool
    warm_tokens: int = 0
    """What its model has read of the prompt before, as far as is known."""
    simulated: bool = False
    predicted_load_s: float = 0.0
    predicted_first_token_s: float
    predicted_total_s: float
    predicted_wait_s: float = 0.0
    predicted_energy_j: float | None = 0.0
    """None where nobody knows: the model runs elsewhere."""
    predicted_cost_usd: float | None = 0.0
    """None where nobody knows: the provider's price is not told."""
    most_cost_usd: float = 0.0
    """What it may cost at most, by a careful estimate of the prompt and with `most_tokens`; 0 where no price is known."""
    most_tokens: int | None = None
    """What the answer's tokens are limited to, where the job's `max_cost_usd` pays for no more."""
    remote: bool = False
    strain: tuple[str, ...] = ()
    """What lowers the device's health for heat or for want of power, the gravest first."""
    details: Mapping[str, float] = field(default_factory=dict)
    cached: Cached | None = None
    """Of an answer that no device gives now."""

    @property
    def predicted_work_s(self) -> float:
        """What the device itself will be busy with the job."""
        return self.predicted_total_s - self.predicted_wait_s


@dataclass(frozen=True, slots=True)
class Removed:
    """A device (or one model on it) that a filter took out. `for_now` tells that waiting may help."""

    device: str
    filter: str
    reason: str
    for_now: bool
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What the quickest of some candidates would be busy with a job: all that is predicted, and what is sure, which is nothing
    where one of them has measured no speed, and never a load."""

    likely_s: float
    sure_s: float


LEADERS = 4
"""Devices whose best candidate is kept of a decision: among them is nearly always one that the chosen can be compared with."""


class Ranking(Sequence[Candidate]):
    """Candidates, best first, each made when it is looked at: of a thousand a job needs one or two. What else there is to ask
    needs none to be made."""

    @abstractmethod
    def names(self) -> Iterator[tuple[str, str]]:
        """Give device and model of each, in order."""

    @abstractmethod
    def devices(self) -> Iterator[str]:
        """Give the devices, each once, in the order of their best."""

    @abstractmethod
    def on(self, device: str) -> Candidate | None:
        """Give the best on a device."""

    @abstractmethod
    def roomy(self) -> Iterator[int]:
        """Give the places of those whose device had a free slot."""

    @abstractmethod
    def work(self) -> Work | None:
        """Say how long the quickest would be busy; None for nobody."""

    @abstractmethod
    def above(self, detail: str, bound: float) -> Ranking:
        """Give those of which a strategy's detail is above a bound."""

    @abstractmethod
    def at_hand(self) -> Ranking:
        """Give those whose model is in memory, and not elsewhere."""

    @abstractmethod
    def picked(self, places: Sequence[int]) -> Ranking:
        """Give those at some places, in that order."""

    def leaders(self) -> tuple[Candidate, ...]:
        """Give the best of each of the first few devices."""
        return tuple(one for device in islice(self.devices(), LEADERS) if (one := self.on(device)) is not None)


class Deferred(Sequence[Removed]):
    """Who is out and why, worked out when somebody asks: most jobs never do."""

    def __init__(self, work_out: Callable[[], tuple[Removed, ...]]) -> None:
        self._work_out = work_out
        self._known: tuple[Removed, ...] | None = None

    def _all(self) -> tuple[Removed, ...]:
        if self._known is None:
            self._known = self._work_out()
        return self._known

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, place: int) -> Removed: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Removed]: ...
    def __getitem__(self, place: int | slice) -> Removed | Sequence[Removed]:
        return self._all()[place]


class Once:
    """What is worked out when somebody asks for it, and then kept."""

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self._make = make
        self._known: Mapping[str, Any] | None = None

    def __call__(self) -> Mapping[str, Any]:
        if self._known is None:
            self._known = self._make()
        return self._known


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who could answer, best first, and who could not; every term is kept for explain."""

    strategy: str
    candidates: Ranking
    removed: Sequence[Removed]
    weights: Mapping[str, float]
    features: Mapping[str, Any] = field(default_factory=dict)
    rule: str = ""
    """What decides beside scores, in words; empty where scores alone do."""
    reference: Callable[[], Price | None] = lambda: None
    """Gives what savings are reckoned against; None where the fleet has nothing that costs."""
    brief: Callable[[], Mapping[str, Any]] = dict
    """All of it in short, for the record; made once, and only when it is asked for."""
    wants_memory: Callable[[], bool] = lambda: False
    """Tells whether somebody is out only for as long as other models are in its memory."""
    held: Callable[[], frozenset[str]] = frozenset
    """Names the devices that are out only for as long as limits on heat and watts keep them."""

    def settled(self) -> Settled:
        """Give what the record needs: a decision over a thousand devices holds the figures of them all."""
        brief, reference = self.brief(), self.reference()
        return Settled(
            strategy=self.strategy,
            leaders=self.candidates.leaders(),
            weights=self.weights,
            features=self.features,
            reference=reference,
            brief=brief,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What is left of a decision when its job has its seat, or waits for one: see `Decision`. `leaders` are the best of each of
    the first few devices."""

    strategy: str
    leaders: tuple[Candidate, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    features: Mapping[str, Any] = field(default_factory=dict)
    reference: Price | None = None
    brief: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt as it went: seconds on the monotonic clock, relative to its publish.

    `outcome` is `ok`, `cancelled`, `outrun` (another one of the job spoke first), or the code of the error. `beside` tells that
    it began while another one ran: a hedge, or a second try beside a silent device. `cost_usd` is what one has cost that did not
    end well, as far as the device told; of one that did, it stands in the end.
    """

    number: int
    device: str
    model: str
    outcome: str
    detail: str | None = None
    beside: bool = False
    queued_s: float = 0.0
    accept_s: float | None = None
    first_token_s: float | None = None
    total_s: float = 0.0
    cost_usd: float | None = None
    cost_estimated: bool = False
    continues: bool = False
    """Whether it went on with text that another device had begun."""
    energy: Energy | None = None
    """What it took, as far as the device told, and else estimated; None where nobody knows: a model elsewhere. What of it was lost
    is known when the job has ended; see `dispatcher.record.energy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascaded:
    """How a weak answer fared that was checked before anybody saw it. `why` is the check in words, `faults` are its doubts; `given`
    tells which answer the producer got, and `instead` why it was the weak one though the strong was wanted.

    `usage` is what the weak answer took when the strong one was given: `Delivered.end` counts both.
    """

    weak: Candidate
    escalated: bool
    score: float
    threshold: float
    by: str
    why: str
    faults: Mapping[str, float] = field(default_factory=dict)
    given: str = "weak"
    instead: str = ""
    usage: Usage = Usage()
    weak_s: float = 0.0
    strong: Candidate | None = None

    def brief(self) -> dict[str, Any]:
        """Tell both tiers, for the record and for whoever asks why; the joules are predictions, as all are that a decision is made
        from."""
        told: dict[str, Any] = {
            "given": self.given,
            "escalated": self.escalated,
            "score": round(self.score, 4),
            "threshold": round(self.threshold, 4),
            "by": self.by,
            "why": self.why,
            "faults": {name: round(doubt, 3) for name, doubt in self.faults.items()},
            "weak": {**_tier(self.weak), "s": round(self.weak_s, 3)},
        }
        if self.given == "strong":
            told["weak"]["usage"] = frames.usage_to_wire(self.usage)
        if self.strong is not None:
            told["strong"] = _tier(self.strong)
        if self.instead:
            told["instead"] = self.instead
        return told


def _tier(one: Candidate) -> dict[str, Any]:
    joules = one.predicted_energy_j
    return {
        "device": one.device,
        "model": one.model,
        "predicted_energy_j": None if joules is None else round(joules, 3),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """How delivery ended: `end` or `error`, and all attempts. `chosen` is the candidate whose answer was given, or of the last one.

    `queue_s` is what the job waited for slots, all attempts together; `first_token_s` is from the job's receipt.
    """

    attempts: tuple[Attempt, ...] = ()
    decision: Settled | None = None
    chosen: Candidate | None = None
    end: frames.End | None = None
    error: FleetError | None = None
    queue_s: float = 0.0
    first_token_s: float | None = None
    cascaded: Cascaded | None = None
    cached: Cached | None = None
    spent_usd: float = 0.0
    """What it may have cost at most, as far as the job has a limit."""
    energy: Energy | None = None
    """What all attempts took, priced, when that is worked out; None where no attempt ran on a device of ours."""

    @property
    def answer_usage(self) -> Usage:
        """The tokens of the answer that was given, without those of a weak one that nobody saw."""
        if self.end is None:
            return Usage()
        both, unseen = self.end.usage, Usage() if self.cascaded is None else self.cascaded.usage
        return Usage(
            prompt_tokens=both.prompt_tokens - unseen.prompt_tokens,
            completion_tokens=both.completion_tokens - unseen.completion_tokens,
        )


class JobState(StrEnum):
    """How a job ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """The one record of one job, however it ended."""

    record: str
    """Of this record alone: a job's id may come again, and a record must never be kept twice."""
    job: str
    tenant: str
    kind: str
    state: JobState
    received_unix_s: float
    total_s: float
    priority: Priority | None = None
    """None when the request was refused before anybody read it."""
    asked_model: str = ""
    device: str | None = None
    model: str | None = None
    reason: str | None = None
    strategy: str | None = None
    score: float | None = None
    terms: Terms | None = None
    attempts: tuple[Attempt, ...] = ()
    usage: Usage = Usage()
    engine: EngineTimings = EngineTimings()
    """What the backend itself spent on the answer."""
    cost_usd: float | None = None
    """What all attempts have cost, as far as their devices told; None where nothing costs."""
    cost_estimated: bool = False
    """Whether not all of it is a provider's own count."""
    energy: Energy | None = None
    """What all attempts took; None where nobody knows: a model elsewhere."""
    saved_usd: float | None = None
    """Against the dearest model of the fleet, or the one that the owner names; None where nothing costs."""
    saved_against: str | None = None
    """That model, as `model@device`."""
    cloud_usd: float | None = None
    """What the answer would have cost there."""
    finish: str | None = None
    queue_s: float | None = None
    first_token_s: float | None = None
    error: str | None = None
    error_message: str | None = None
    simulated: bool = False
    escalated: bool | None = None
    """Whether a checked answer went up to a stronger model; None where none was checked."""
    decision: Mapping[str, Any] | None = None
    """The route in short, as `routing.brief` gives it."""
    cached: Cached | None = None
    """What the cache did; None where there is none."""
