"""What became of a file of questions: one row per question, and the table over all; pure, it asks and prints nothing."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from common.chat_stream import Answer
from common.errors import FleetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question and its answer, or its error. The names are the columns of the CSV file.

    `attempts` counts the devices that the dispatcher tried; `asked` counts how often the question was put to it.
    `tokens_per_s` is what the function of that name gives. `joules` are those of the receipt, and `energy` says whether all of
    them were `measured`, or are `estimated`.
    """

    id: str
    category: str
    turn: int
    job: str = ""
    device: str = ""
    model: str = ""
    reason: str = ""
    attempts: int = 0
    asked: int = 1
    queue_s: float | None = None
    first_token_s: float | None = None
    total_s: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tokens_per_s: float | None = None
    joules: float | None = None
    energy: str = ""
    finish: str = ""
    error: str = ""
    text: str = ""


MEASURED, ESTIMATED = "measured", "estimated"

COLUMNS = tuple(field.name for field in fields(Row))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All answers of one model on one device. Percentiles are nearest-rank; absent without an answer. `measured` tells that sensors
    saw all its joules."""

    device: str
    model: str
    answers: int
    errors: int
    first_token_p50_s: float | None
    first_token_p95_s: float | None
    total_p50_s: float | None
    total_p95_s: float | None
    tokens_per_s: float | None
    joules_per_token: float | None = None
    measured: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The whole run."""

    groups: tuple[Group, ...]
    reasons: tuple[tuple[str, int], ...]
    answered: int
    asked: int


def answered(where: Row, answer: Answer, *, asked: int) -> Row:
    """Give the row of an answer; `where` says which question it was."""
    timings = answer.route.get("timings") or {}
    first_s, total_s = timings.get("first_token_s"), timings.get("total_s")
    return Row(
        id=where.id,
        category=where.category,
        turn=where.turn,
        job=answer.job,
        device=answer.device,
        model=answer.model,
        reason=answer.reason,
        attempts=len(answer.route.get("attempts") or ()),
        asked=asked,
        queue_s=timings.get("queue_s"),
        first_token_s=first_s,
        total_s=total_s,
        prompt_tokens=answer.usage.prompt_tokens,
        completion_tokens=answer.usage.completion_tokens,
        tokens_per_s=tokens_per_s(answer),
        joules=None if answer.energy is None else answer.energy.joules,
        energy="" if answer.energy is None else MEASURED if answer.energy.measured else ESTIMATED,
        finish=answer.finish,
        text=answer.text,
    )


def tokens_per_s(answer: Answer) -> float | None:
    """Give the speed of decoding, the same wherever an answer is shown: completion tokens per second as the device's engine
    measured it, or, where it does not say, from the first token to the end as the dispatcher saw it. What comes from the cache was
    not decoded."""
    if (answer.route.get("cache") or {}).get("outcome") == "hit":
        return None
    timings = answer.route.get("timings") or {}
    if measured := timings.get("decode_tps"):
        return float(measured)
    decoded_s = (timings.get("total_s") or 0.0) - (timings.get("first_token_s") or 0.0)
    return answer.usage.completion_tokens / decoded_s if decoded_s > 0 and answer.usage.completion_tokens else None


def failed(where: Row, error: FleetError, *, asked: int, device: str = "", model: str = "") -> Row:
    """Give the row of a question that got no answer, and where it was tried last."""
    return Row(
        id=where.id,
        category=where.category,
        turn=where.turn,
        device=device,
        model=model,
        asked=asked,
        error=f"{error.code}: {error.message}",
    )


def to_csv(rows: Sequence[Row]) -> str:
    """Write the rows with a head of column names; seconds with milliseconds, absent values empty."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([f"{cell:.3f}" if isinstance(cell, float) else cell for cell in astuple(row)])
    return out.getvalue()


def summarise(rows: Sequence[Row]) -> Summary:
    """Group the rows by device and model, the busiest first."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.device, row.model].append(row)
    good = [row for row in rows if not row.error]
    return Summary(
        groups=tuple(
            sorted(
                (_group(*key, group) for key, group in groups.items()), key=lambda g: (-g.answers, g.device, g.model)
            )
        ),
        reasons=tuple(Counter(cause(row.reason) for row in good).most_common()),
        answered=len(good),
        asked=len(rows),
    )


def cause(reason: str) -> str:
    """Give the part of a reason that is one of few: the dispatcher says it first, and after a semicolon what was measured."""
    return reason.partition(";")[0]


def percentile(values: Sequence[float], share: float) -> float | None:
    """Give the nearest-rank percentile: the smallest value that `share` of all values don't exceed."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _group(device: str, model: str, rows: Sequence[Row]) -> Group:
    good = [row for row in rows if not row.error]
    firsts = [row.first_token_s for row in good if row.first_token_s is not None]
    totals = [row.total_s for row in good if row.total_s is not None]
    timed = [(row.completion_tokens, row.tokens_per_s) for row in good if row.tokens_per_s]
    decoded_s = sum(tokens / speed for tokens, speed in timed)
    metered = [(row.joules, row) for row in good if row.joules is not None and row.completion_tokens]
    tokens = sum(row.completion_tokens for _, row in metered)
    return Group(
        device=device,
        model=model,
        answers=len(good),
        errors=len(rows) - len(good),
        first_token_p50_s=percentile(firsts, 0.5),
        first_token_p95_s=percentile(firsts, 0.95),
        total_p50_s=percentile(totals, 0.5),
        total_p95_s=percentile(totals, 0.95),
        tokens_per_s=sum(tokens for tokens, _ in timed) / decoded_s if decoded_s > 0 else None,
        joules_per_token=sum(joules for joules, _ in metered) / tokens if tokens else None,
        measured=bool(metered) and all(row.energy == MEASURED for _, row in metered),
    )
