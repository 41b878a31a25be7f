"""How a replay came out, beside what happened: the figures of each run over the same jobs; pure, it prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from common.energy import JOULES_PER_KWH
from dispatcher.cli.results import percentile
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.replay.plan import Arm, Due
from dispatcher.lab.replay.reckoning import Board, Work, joules
from dispatcher.lab.replay.records import Recorded

HAPPENED = "what happened"


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One job as it went on a simulated fleet; `row` tells seconds of the fleet's own, `ended_s` counts them from the first job."""

    due: Due
    row: BenchRow
    ended_s: float
    joules: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """One arm over all jobs. `unfinished` had no answer when time was up; `boards` is what the devices draw."""

    arm: Arm
    played: tuple[Played, ...]
    unfinished: int
    boards: Mapping[str, Board]
    models: frozenset[str]
    devices: frozenset[str]
    simulated: bool
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a kilowatt-hour costs."""

    per_kwh: float
    currency: str

    def of(self, joules: float | None) -> float | None:
        return None if joules is None else joules / JOULES_PER_KWH * self.per_kwh


@dataclass(frozen=True, slots=True)
class Spread:
    """Nearest-rank percentiles in seconds."""

    p50_s: float | None
    p95_s: float | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What answers took above idle: those of which it is known, and their tokens."""

    answers: int
    joules: float | None
    tokens: int

    @property
    def per_token(self) -> float | None:
        return self.joules / self.tokens if self.joules is not None and self.tokens else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The figures of one run, in the devices' own time. `idle_w` is what the fleet draws without any job."""

    name: str
    strategy: str
    jobs: int
    answered: int
    queue: Spread
    first: Spread
    total: Spread
    taken: Taken
    measured: bool = False
    cost: float | None = None
    currency: str = ""
    idle_w: float | None = None
    devices: tuple[tuple[str, int], ...] = ()
    overhead_share: float | None = None

    @property
    def label(self) -> str:
        """Name it, to people."""
        return f"{self.name}: {self.strategy}" if self.strategy else self.name


def metered(lap: Lap) -> Lap:
    """Add what each job took."""
    works = [
        Work(device=one.row.device, from_s=one.ended_s - (one.row.worked_s or 0.0), to_s=one.ended_s)
        for one in lap.played
    ]
    taken = joules(works, lap.boards)
    return replace(
        lap,
        played=tuple(
            replace(one, joules=joule if one.row.success and one.row.worked_s else None)
            for one, joule in zip(lap.played, taken, strict=True)
        ),
    )


def happened(jobs: Sequence[Recorded]) -> Outcome:
    """Give what was recorded of the same jobs."""
    taken = [(job.joules, job.completion_tokens) for job in jobs if job.joules is not None]
    paid = [job.cost for job in jobs if job.cost is not None]
    currencies = {job.currency for job in jobs if job.cost is not None}
    return Outcome(
        name=HAPPENED,
        strategy="",
        jobs=len(jobs),
        answered=len(jobs),
        queue=spread([job.queue_s for job in jobs]),
        first=spread([job.first_token_s for job in jobs]),
        total=spread([job.total_s for job in jobs]),
        taken=_taken(taken),
        measured=bool(taken) and all(job.measured for job in jobs if job.joules is not None),
        cost=sum(paid) if paid and len(currencies) == 1 else None,
        currency=next(iter(currencies)) if len(currencies) == 1 else "",
        devices=_counted([job.device for job in jobs]),
    )


def outcome(lap: Lap, price: Price | None) -> Outcome:
    """Give the figures of a run."""
    good = [one for one in lap.played if one.row.success]
    taken = [(one.joules, one.row.completion_tokens) for one in good if one.joules is not None]
    return Outcome(
        name=lap.arm.fleet,
        strategy=lap.arm.strategy,
        jobs=len(lap.played) + lap.unfinished,
        answered=len(good),
        queue=spread([one.row.queue_s for one in good]),
        first=spread([one.row.first_token_s for one in good]),
        total=spread([one.row.latency_s for one in good]),
        taken=_taken(taken),
        cost=None if price is None else price.of(_taken(taken).joules),
        currency="" if price is None else price.currency,
        idle_w=sum(board.idle_w for board in lap.boards.values()) if lap.boards else None,
        devices=_counted([one.row.device for one in good]),
        overhead_share=overhead(good),
    )


def price_of(jobs: Sequence[Recorded]) -> Price | None:
    """Give the price that the records were made with; None where they tell of none, or of several currencies."""
    paid = [(job.joules, job.cost, job.currency) for job in jobs if job.joules and job.cost is not None]
    currencies = {currency for _, _, currency in paid}
    joule = sum(value for value, _, _ in paid if value)
    if len(currencies) != 1 or not joule:
        return None
    return Price(per_kwh=sum(cost for _, cost, _ in paid if cost) / joule * JOULES_PER_KWH, currency=currencies.pop())


def spread(values: Sequence[float | None]) -> Spread:
    """Give the percentiles of what is known."""
    known = [value for value in values if value is not None]
    return Spread(percentile(known, 0.5), percentile(known, 0.95))


def _taken(known: Sequence[tuple[float, int]]) -> Taken:
    joule = sum(value for value, _ in known) if known else None
    return Taken(len(known), joule, sum(tokens for _, tokens in known))


def _counted(devices: Sequence[str]) -> tuple[tuple[str, int], ...]:
    counts = {device: devices.count(device) for device in dict.fromkeys(devices)}
    return tuple(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def overhead(good: Sequence[Played]) -> float | None:
    """Give which part of the median latency is neither queue nor device: what compressing time has magnified."""
    extra = [one.row.overhead_s for one in good if one.row.overhead_s is not None]
    total = percentile([one.row.latency_s for one in good if one.row.latency_s], 0.5)
    half = percentile(extra, 0.5)
    return half / total if half is not None and total else None
