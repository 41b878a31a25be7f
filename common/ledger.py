"""What operators ask the ledger for, and what it answers, over the bus; it knows no database.

Verbs are `jobs`, `devices`, `energy`, `latency` and `history` under `llm.v1.ledger.`; an answer is one object, or
`{"error": …}`. Of `jobs` it is `{"jobs": [JobEntry, …], "next": ID}`, of `energy` `{"rows": [EnergyRow, …]}`, of `devices`
`{"events": [DeviceEntry, …], "power": [PowerEntry, …]}`, of `latency` a `Latency`, of `history` a `DeviceHistory`, each as
`codec.plain` writes it. `more` tells that rows are left out: no answer is larger than the bus carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le, MaxLen
from pydantic import ConfigDict

from common import codec, frames
from common.bus import Bus
from common.errors import BusTimeout, GarbledReply, LedgerUnavailable, NoResponders
from common.history import HistoryQuery
from common.latency import LatencyQuery
from common.messages import MOST_PATTERNS, Count, Number, Texts, Token
from common.subjects import Subjects

ASK_S = 10.0
MOST_ROWS = 1000

STEP_S = 3600
LEAST_STEP_S, MOST_STEP_S = 60, 31 * 86_400
"""Of sums by time: devices tell their power by the minute."""

WAY_OUT = (
    "below `drover up` it comes back by itself within half a minute (unless DROVER_LEDGER=off), elsewhere start one with "
    "`drover ledger serve`"
)
"""What to do where no ledger answers: `drover up` waits so long before it starts one again that keeps dying."""


class By(StrEnum):
    """What energy is summed by."""

    DEVICE = "device"
    MODEL = "model"
    TENANT = "tenant"
    DAY = "day"  # of UTC
    SITE = "site"
    TIME = "time"  # in steps that begin with 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From when to when, in seconds since 1970; absent is open."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    since_unix_s: Number | None = None
    until_unix_s: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsQuery(Span):
    """Asks for job records, newest first. `before` is the `next` of the page before, `ending` how the jobs' ids end. A decision
    is told only of one `job` that is named: it is most of a record."""

    limit: Annotated[int, Ge(1), Le(MOST_ROWS)] = 20
    before: Annotated[str, MaxLen(64)] | None = None
    job: Token | None = None
    ending: Token | None = None
    tenant: Token | None = None
    device: Token | None = None
    model: Annotated[str, MaxLen(200)] | None = None
    state: Annotated[str, MaxLen(16)] | None = None
    strategy: Annotated[str, MaxLen(64)] | None = None
    error: Annotated[str, MaxLen(64)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyQuery(Span):
    """Asks for sums over job records, of one tenant's or all; `step_s` is of those by time. With `allow_devices` or `allow_models`
    what came of devices and models that fit these patterns is counted alone, and no job that none was chosen for."""

    by: By = By.DEVICE
    step_s: Annotated[int, Ge(LEAST_STEP_S), Le(MOST_STEP_S)] = STEP_S
    tenant: Token | None = None
    allow_devices: Annotated[Texts, MaxLen(MOST_PATTERNS)] = ()
    allow_models: Annotated[Texts, MaxLen(MOST_PATTERNS)] = ()
    limit: Annotated[int, Ge(1), Le(MOST_ROWS)] = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesQuery(Span):
    """Asks for what devices went through, newest first, and for their power by interval."""

    device: Token | None = None
    limit: Annotated[int, Ge(1), Le(MOST_ROWS)] = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyRow:
    """Sums of one group. `measured_share` is the part of `joules` that comes from sensors; of simulated devices those are the
    simulator's. `energy_tokens` are those of `completion_tokens` that the joules were drawn for: answers from the cache and of
    models elsewhere have none, and `joules_per_token` is by these, as `joules_per_answer` is by `energy_answers`; what was lost
    is in both; `cancelled_joules` are those of `lost_joules` whose jobs were cancelled. `cost` and `co2e_g` are of the jobs
    that had a tariff. `cost_usd` is what models elsewhere were paid, `cloud_usd` what the answers would have cost at the model
    `saved_against`, which is told where it is one for all, and `saved_usd` the difference; none of them where nothing in the
    fleet costs. `from_unix_s` is where a step begins: sums by time have it."""

    key: str
    from_unix_s: Number | None = None
    jobs: Count
    answered: Count = 0
    cache_hits: Count = 0
    simulated_jobs: Count = 0
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    joules: Number = 0.0
    idle_joules: Number = 0.0
    lost_joules: Number = 0.0
    cancelled_joules: Number = 0.0
    energy_tokens: Count = 0
    joules_per_token: Number | None = None
    energy_answers: Count = 0
    joules_per_answer: Number | None = None
    measured_share: Number | None = None
    cost: Number | None = None
    currency: str | None = None
    co2e_g: Number | None = None
    cost_usd: Number | None = None
    saved_usd: Number | None = None
    cloud_usd: Number | None = None
    saved_against: str | None = None
    mean_total_s: Number | None = None
    mean_first_token_s: Number | None = None


Question = Span | LatencyQuery | HistoryQuery


async def ask(bus: Bus, subjects: Subjects, verb: str, query: Question) -> dict[str, Any]:
    """Ask the ledger. Raises `NoResponders` when none runs, and what it answers with."""
    return await exchange(bus, subjects.ledger(verb), codec.plain(query), timeout_s=ASK_S)


async def exchange(
    bus: Bus,
    subject: str,
    wire: Mapping[str, Any],
    *,
    timeout_s: float,
    absent: str | None = None,
    late: str | None = None,
) -> dict[str, Any]:
    """Ask something under any subject of the ledger's. Raises as `ask`, and `BusTimeout`; in their place `LedgerUnavailable`, which
    says what to do, where `absent` and `late` do."""
    try:
        answer = await bus.request(subject, codec.encode_request(wire), timeout_s=timeout_s)
    except NoResponders as error:
        if absent is None:
            raise
        raise LedgerUnavailable(absent) from error
    except BusTimeout as error:
        if late is None:
            raise
        raise LedgerUnavailable(late) from error
    said = codec.decode(answer.data)
    if "error" in said:
        told = frames.from_wire(said)
        raise told.error if isinstance(told, frames.Err) else GarbledReply("the ledger's error could not be read")
    return said
