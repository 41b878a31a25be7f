"""From rows to figures: one summary for each arm, with bootstrap intervals; pure, and the same for the same rows."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from dispatcher.cli.results import percentile
from dispatcher.lab.bench.plan import Arm, CacheMode
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.table import safe
from dispatcher.lab.intervals import Interval, interval, mean, median


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One arm; the names are the columns of the summary CSV. Latency is the producer's.

    Percentiles are nearest-rank over all that was asked: a question without an answer counts as one that takes for ever, and where
    so many failed that there is no figure it is absent. Means, tokens and joules are of answers. Intervals draw whole
    conversations, with all their turns and repeats. `energy` is `measured`, `estimated` or `mixed`; `devices` and `models` are
    shares of the answers; `prediction_error` is the median of |predicted - actual| / actual over the total seconds.
    `tokens_per_s` is completion tokens over the time of decoding, over all answers. `overhead_p50_s` is what is left of the latency
    when queue, load, prefill and decoding are taken off. `cache_hit_rate` is hits of answers, absent where the cache is off;
    `cache_saved_` is what the hits say that they spared, and a hit counts as 0 J. `lag_p95_s` is how much later than due the bench
    itself asked. `versus` is the first arm, and what follows it is paired: this arm less that one, over the questions that both
    answered.
    """

    strategy: str
    threshold: int | None
    cache: str
    n: int
    conversations: int
    success_rate: float
    success_rate_low: float
    success_rate_high: float
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
    cache_hits: int
    cache_by_likeness: int
    cache_hit_rate: float | None
    cache_hit_rate_low: float | None
    cache_hit_rate_high: float | None
    cache_saved_s: float | None
    cache_saved_j: float | None
    prediction_error: float | None
    overhead_p50_s: float | None
    lag_p95_s: float | None
    versus: str
    pairs: int
    latency_diff_s: float | None
    latency_diff_low_s: float | None
    latency_diff_high_s: float | None
    energy_diff_j: float | None
    energy_diff_low_j: float | None
    energy_diff_high_j: float | None
    devices: str
    models: str
    errors: str
    lacks: str

    @property
    def name(self) -> str:
        """Say which arm it is, to people."""
        return Arm(self.strategy, CacheMode(self.cache)).name


COLUMNS = tuple(field.name for field in fields(Summary))


def summarise(rows: Sequence[BenchRow], arms: Sequence[Arm] = (), *, seed: int = 0) -> list[Summary]:
    """Give a summary for each arm that has rows, those of `arms` first and in that order."""
    by_arm: dict[Arm, list[BenchRow]] = {arm: [] for arm in arms}
    for row in rows:
        by_arm.setdefault(row.arm, []).append(row)
    found = {arm: mine for arm, mine in by_arm.items() if mine}
    first = next(iter(found), None)
    return [
        _summary(arm, mine, seed, {} if first is None or arm == first else _versus(first, found[first], mine, seed))
        for arm, mine in found.items()
    ]


def _summary(arm: Arm, rows: Sequence[BenchRow], seed: int, versus: Mapping[str, Any]) -> Summary:
    good = [row for row in rows if row.success]
    columns = _seconds(rows, seed) | _joules(good, seed) | _cached(arm, good, seed) | {**_NO_OTHER, **versus}
    succeeded = interval([float(row.success) for row in rows], [row.talk for row in rows], mean, seed=seed)
    return Summary(
        strategy=arm.strategy,
        threshold=arm.threshold,
        cache=str(arm.cache),
        n=len(rows),
        conversations=len({row.talk for row in rows}),
        success_rate=len(good) / len(rows),
        success_rate_low=succeeded.low if succeeded else 0.0,
        success_rate_high=succeeded.high if succeeded else 1.0,
        tokens_in=sum(row.prompt_tokens for row in good),
        tokens_out=sum(row.completion_tokens for row in good),
        tokens_per_s=_speed(good),
        cost_usd=_cost(good),
        escalations=sum(row.escalated for row in good),
        replayed=sum(row.replayed for row in good),
        prediction_error=_prediction_error(good),
        devices=said(shares(row.device for row in good)),
        models=said(shares(row.model for row in good)),
        errors=" ".join(f"{code}={count}" for code, count in Counter(row.error for row in rows if row.error).items()),
        lacks="; ".join(sorted({row.lacks for row in good if row.lacks})),
        **columns,
    )


def _seconds(rows: Sequence[BenchRow], seed: int) -> dict[str, Any]:
    latencies, talks = [row.latency_s if row.success else None for row in rows], [row.talk for row in rows]
    endless = [math.inf if value is None else value for value in latencies]
    first_token = _with_failures(rows, "first_token_s")
    queued = _known(row.queue_s for row in rows if row.success)
    return {
        **_columns("latency_mean", "s", interval(endless, talks, mean, seed=seed)),
        **_columns("latency_p50", "s", interval(endless, talks, median, seed=seed)),
        "latency_p95_s": _finite(percentile(endless, 0.95)),
        "first_token_p50_s": _finite(percentile(first_token, 0.5)),
        "first_token_p95_s": _finite(percentile(first_token, 0.95)),
        "queue_mean_s": sum(queued) / len(queued) if queued else None,
        "queue_p95_s": percentile(queued, 0.95),
        "overhead_p50_s": percentile(_known(row.overhead_s for row in rows), 0.5),
        "lag_p95_s": percentile(_known(row.lag_s for row in rows), 0.95),
    }


def _joules(good: Sequence[BenchRow], seed: int) -> dict[str, Any]:
    told = [(row.energy_j, row) for row in good if row.energy_j is not None]
    joules = [value for value, _ in told]
    tokens = sum(row.completion_tokens for _, row in told)
    return {
        "energy_j": sum(joules) if joules else None,
        **_columns("energy_per_answer", "j", interval(joules, [row.talk for _, row in told], mean, seed=seed)),
        "energy_per_token_j": sum(joules) / tokens if tokens else None,
        "energy": _source(good),
    }


def _cached(arm: Arm, good: Sequence[BenchRow], seed: int) -> dict[str, Any]:
    hits = [row for row in good if row.hit]
    rate = interval([float(row.hit) for row in good], [row.talk for row in good], mean, seed=seed)
    known = rate if arm.cache is CacheMode.ON else None
    saved_s, saved_j = _known(row.saved_s for row in hits), _known(row.saved_j for row in hits)
    return {
        "cache_hits": len(hits),
        "cache_by_likeness": sum(row.cache_kind == "semantic" for row in hits),
        "cache_hit_rate": known.value if known else None,
        "cache_hit_rate_low": known.low if known else None,
        "cache_hit_rate_high": known.high if known else None,
        "cache_saved_s": sum(saved_s) if saved_s else None,
        "cache_saved_j": sum(saved_j) if saved_j else None,
    }


def _versus(first: Arm, theirs: Sequence[BenchRow], mine: Sequence[BenchRow], seed: int) -> dict[str, Any]:
    """Pair each question with the same one under the first arm, in the same repeat."""
    before = {row.question: row for row in theirs if row.success}
    pairs = [(row, before[row.question]) for row in mine if row.success and row.question in before]
    return {
        "versus": first.name,
        "pairs": len(pairs),
        **_columns("latency_diff", "s", _difference(pairs, "latency_s", seed)),
        **_columns("energy_diff", "j", _difference(pairs, "energy_j", seed)),
    }


def _difference(pairs: Sequence[tuple[BenchRow, BenchRow]], name: str, seed: int) -> Interval | None:
    known = [
        (row.talk, getattr(row, name) - getattr(other, name))
        for row, other in pairs
        if getattr(row, name) is not None and getattr(other, name) is not None
    ]
    return interval([value for _, value in known], [talk for talk, _ in known], mean, seed=seed)


def _columns(name: str, unit: str, found: Interval | None) -> dict[str, float | None]:
    value, low, high = (None, None, None) if found is None else (found.value, found.low, found.high)
    return {
        f"{name}_{unit}": _finite(value),
        f"{name}_low_{unit}": _finite(low),
        f"{name}_high_{unit}": _finite(high),
    }


def _with_failures(rows: Sequence[BenchRow], name: str) -> list[float]:
    """Give a clock of the answers that have it, and infinity for each question without an answer."""
    return _known(getattr(row, name) if row.success else math.inf for row in rows)


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value


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
        writer.writerow({name: _cell(value) for name, value in asdict(one).items()})
    return out.getvalue()


def _cell(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else safe(value) if isinstance(value, str) else value


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


_NO_OTHER = {"versus": "", "pairs": 0, **_columns("latency_diff", "s", None), **_columns("energy_diff", "j", None)}
