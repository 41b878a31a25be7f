"""From rows to figures: one summary for each arm, with bootstrap intervals; pure, and the same for the same rows."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from dispatcher.cli.results import percentile
from dispatcher.lab.bench.plan import Arm
from dispatcher.lab.bench.rows import BenchRow

DRAWS = 1000
Numbers = NDArray[np.float64]
Statistic = Callable[[Numbers], float]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One arm; the names are the columns of the summary CSV. Latency is the producer's; percentiles are nearest-rank over
    answers, and absent without one. `energy` is `measured`, `estimated` or `mixed`; `devices` and `models` are shares of the
    answers; `prediction_error` is the median of |predicted - actual| / actual over the total seconds.
    `tokens_per_s` is completion tokens over the time of decoding, over all answers.
    """

    strategy: str
    threshold: int | None
    cache: str
    n: int
    success_rate: float
    latency_mean_s: float | None
    latency_mean_low_s: float | None
    latency_mean_high_s: float | None
    latency_p50_s: float | None
    latency_p50_low_s: float | None
    latency_p50_high_s: float | None
    latency_p95_s: float | None
    first_token_p50_s: float | None
    first_token_p95_s: float | None
    queue_mean_s: float | None
    queue_p95_s: float | None
    tokens_in: int
    tokens_out: int
    tokens_per_s: float | None
    energy_j: float | None
    energy_per_answer_j: float | None
    energy_per_answer_low_j: float | None
    energy_per_answer_high_j: float | None
    energy_per_token_j: float | None
    energy: str
    cost_usd: float | None
    escalations: int
    replayed: int
    prediction_error: float | None
    devices: str
    models: str
    errors: str
    lacks: str


COLUMNS = tuple(field.name for field in fields(Summary))


def summarise(rows: Sequence[BenchRow], arms: Sequence[Arm] = (), *, seed: int = 0) -> list[Summary]:
    """Give a summary for each arm that has rows, those of `arms` first and in that order."""
    by_arm: dict[Arm, list[BenchRow]] = {arm: [] for arm in arms}
    for row in rows:
        by_arm.setdefault(row.arm, []).append(row)
    return [_summary(arm, found, seed) for arm, found in by_arm.items() if found]


def _summary(arm: Arm, rows: Sequence[BenchRow], seed: int) -> Summary:
    good = [row for row in rows if row.success]
    latencies = _known(row.latency_s for row in good)
    joules = _known(row.energy_j for row in good)
    mean = _parts(bootstrap(latencies, _mean, seed=seed))
    middle = _parts(bootstrap(latencies, _median, seed=seed))
    each_j = _parts(bootstrap(joules, _mean, seed=seed))
    counted = sum(row.completion_tokens for row in good if row.energy_j is not None)
    return Summary(
        strategy=arm.strategy,
        threshold=arm.threshold,
        cache=str(arm.cache),
        n=len(rows),
        success_rate=len(good) / len(rows),
        latency_mean_s=mean[0],
        latency_mean_low_s=mean[1],
        latency_mean_high_s=mean[2],
        latency_p50_s=middle[0],
        latency_p50_low_s=middle[1],
        latency_p50_high_s=middle[2],
        latency_p95_s=percentile(latencies, 0.95),
        first_token_p50_s=percentile(_known(row.first_token_s for row in good), 0.5),
        first_token_p95_s=percentile(_known(row.first_token_s for row in good), 0.95),
        queue_mean_s=_mean_of(_known(row.queue_s for row in good)),
        queue_p95_s=percentile(_known(row.queue_s for row in good), 0.95),
        tokens_in=sum(row.prompt_tokens for row in good),
        tokens_out=sum(row.completion_tokens for row in good),
        tokens_per_s=_speed(good),
        energy_j=sum(joules) if joules else None,
        energy_per_answer_j=each_j[0],
        energy_per_answer_low_j=each_j[1],
        energy_per_answer_high_j=each_j[2],
        energy_per_token_j=sum(joules) / counted if counted else None,
        energy=_source(good),
        cost_usd=_cost(good),
        escalations=sum(row.escalated for row in good),
        replayed=sum(row.replayed for row in good),
        prediction_error=_prediction_error(good),
        devices=said(shares(row.device for row in good)),
        models=said(shares(row.model for row in good)),
        errors=" ".join(f"{code}={count}" for code, count in Counter(row.error for row in rows if row.error).items()),
        lacks="; ".join(sorted({row.lacks for row in good if row.lacks})),
    )


def bootstrap(values: Sequence[float], statistic: Statistic, *, seed: int, draws: int = DRAWS) -> Interval | None:
    """Give a figure and the 2.5 % and 97.5 % quantiles of it over so many samples with replacement; None without values."""
    if not values:
        return None
    column = np.array(values, dtype=np.float64)
    chance = np.random.default_rng(seed)
    drawn = [statistic(column[chance.integers(0, len(column), len(column))]) for _ in range(draws)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(statistic(column), float(low), float(high))


def _parts(found: Interval | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if found is None else (found.value, found.low, found.high)


def shares(names: Iterable[str]) -> dict[str, float]:
    """Give each name's share, the largest first."""
    counted = Counter(names)
    return {name: count / counted.total() for name, count in counted.most_common()}


def said(parts: Mapping[str, float]) -> str:
    """Write shares in one cell: `orin=0.625 pi5=0.375`."""
    return " ".join(f"{name}={share:.3f}" for name, share in parts.items())


def to_csv(summaries: Sequence[Summary]) -> str:
    """Write the summary CSV; absent values are empty, numbers keep six digits."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for one in summaries:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in asdict(one).items()})
    return out.getvalue()


def _mean(values: Numbers) -> float:
    return float(values.mean())


def _median(values: Numbers) -> float:
    """Give the nearest-rank median, as `percentile` does."""
    middle = (len(values) + 1) // 2 - 1
    return float(np.partition(values, middle)[middle])


def _mean_of(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _speed(rows: Sequence[BenchRow]) -> float | None:
    timed = [(row.completion_tokens, row.decode_tps) for row in rows if row.decode_tps]
    decoded_s = sum(tokens / tps for tokens, tps in timed)
    return sum(tokens for tokens, _ in timed) / decoded_s if decoded_s > 0 else None


def _source(rows: Sequence[BenchRow]) -> str:
    found = {row.energy for row in rows if row.energy}
    return "mixed" if len(found) > 1 else next(iter(found), "")


def _cost(rows: Sequence[BenchRow]) -> float | None:
    paid = _known(row.cost_usd for row in rows)
    return sum(paid) if paid else None


def _prediction_error(rows: Sequence[BenchRow]) -> float | None:
    """Give the median of |predicted - actual| / actual over the total seconds."""
    off = [
        abs(row.predicted_total_s - row.total_s) / row.total_s
        for row in rows
        if row.predicted_total_s is not None and row.total_s
    ]
    return percentile(off, 0.5)
