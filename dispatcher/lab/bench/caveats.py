"""What a reader of a bench must know before its figures: sentences for the page and the terminal; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from dispatcher.lab.bench.order import BenchOrder, of_this
from dispatcher.lab.bench.plan import CacheMode
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.summary import Summary
from dispatcher.lab.bench.versus import FEW, number

LATE_SHARE = 0.05
"""From this share of the latency on it is worth a word that the bench itself was late."""

TOO_FAST = 1.5
"""How many times longer than the wall a device may say that it worked before the clocks can't be the same."""


def notes(order: BenchOrder, rows: Sequence[BenchRow], summaries: Sequence[Summary]) -> list[str]:
    """Give the sentences, the weightiest first."""
    return [
        *order.notes,
        *_other_clock(order, rows),
        *_simulated(order, rows),
        *_small(order, rows, summaries),
        *_late(summaries),
        *_estimated(summaries),
        *_cached(rows, summaries),
        *(f"{one.name} lacked something: {one.lacks}" for one in summaries if one.lacks),
    ]


def _other_clock(order: BenchOrder, rows: Sequence[BenchRow]) -> Iterator[str]:
    """A simulated device tells its engine's seconds in its own time: more of them than the wall had give it away."""
    ratios = [
        worked_s / row.latency_s for row in rows if row.simulated and row.latency_s and (worked_s := row.worked_s)
    ]
    if ratios and (factor := median(ratios)) > TOO_FAST:
        yield (
            f"The devices say that they worked {factor:.0f} times longer than was waited for them: they are simulated, and faster "
            f"than --time-factor {order.time_factor:g} has it. Seconds are those of the wall, tokens/s and joules those of the "
            "devices; give the fleet's own --time-factor."
        )


def _simulated(order: BenchOrder, rows: Sequence[BenchRow]) -> Iterator[str]:
    if not any(row.simulated for row in rows):
        return
    told = "The devices are simulated: their speeds and watts are those of profiles, and their answers are filler text."
    if order.time_factor == 1.0:
        yield told
        return
    told += f" Time ran {order.time_factor:g} times faster than life, and all is told as in life"
    overheads = [row.overhead_s for row in rows if row.overhead_s is not None]
    latencies = [row.latency_s for row in rows if row.success and row.latency_s]
    if not overheads or not latencies:
        yield f"{told}."
        return
    extra_s = median(overheads)
    yield (
        f"{told}; what Drover itself and this machine take is magnified by as much: at the median "
        f"{1000 * extra_s / order.time_factor:.0f} ms a question, which count as {number(extra_s)} s here, "
        f"{100 * extra_s / median(latencies):.0f} % of the median latency."
    )


def _small(order: BenchOrder, rows: Sequence[BenchRow], summaries: Sequence[Summary]) -> Iterator[str]:
    if (done := len(of_this(order, rows))) < order.plan.total:
        yield f"This is a part: {done} of {order.plan.total} questions. The same command goes on."
    if (fewest := min((one.conversations for one in summaries), default=FEW)) < FEW:
        yield f"{fewest} conversations are too few to compare by: intervals of so few are too narrow."
    if order.plan.repeat == 1 and len(summaries) > 1:
        yield (
            "Each strategy ran once, one after the other, on one fleet that remembers: --repeat 3 or more changes their order each "
            "time."
        )


def _late(summaries: Sequence[Summary]) -> Iterator[str]:
    for one in summaries:
        if one.lag_p95_s and one.lag_p95_s > LATE_SHARE * (one.latency_p50_s or 0.0):
            yield (
                f"{one.name}: the bench itself was up to {number(one.lag_p95_s)} s late (p95), which is part of the latency, "
                "since whoever asks would have waited: take a lower --rate or --time-factor."
            )


def _estimated(summaries: Sequence[Summary]) -> Iterator[str]:
    if any(one.energy == "estimated" for one in summaries):
        yield "Joules are estimated, not all of them by a sensor: each answer's receipt says how (energy.source)."


def _cached(rows: Sequence[BenchRow], summaries: Sequence[Summary]) -> Iterator[str]:
    on = [row for row in rows if row.success and row.arm.cache is CacheMode.ON]
    if not on:
        return
    if not any(row.cache_outcome for row in on):
        yield "With cache on, the fleet told of none: its DROVER_CACHE is off for who asked, and these figures are without one."
        return
    if any(one.cache_by_likeness for one in summaries):
        yield "Answers by likeness were given to other questions: nothing here says whether they were right."
    yield (
        "With cache on, each repeat began with an empty cache, unless it says otherwise here: the hit rate is that of these "
        "questions, and people who ask others have another."
    )
